#!/bin/bash
# The table of docs/performance.md, measured: this program and its peers in turns, so that a machine
# that drifts slows all of them; medians of ROUNDS rounds, and what counts are the ratios.
#   tests/bench_table.sh PEERS_VENV PEER_STEP.py CAPTIONS.tsv [ROUNDS [PRECISIONS]]
# prints Markdown. PRECISIONS: "fp32 bf16"; without bfloat16 instructions a peer's step
# takes minutes in bf16.
# PEER_STEP.py times open_clip's step for a configuration and prints JSON as clip_bench step does.
set -euo pipefail
unset OPENBLAS_CORETYPE OPENBLAS_L2_SIZE OPENBLAS_NUM_THREADS OMP_NUM_THREADS
[ $# -ge 3 ] || { sed -n '2,8s/^# \{0,1\}//p' "$0" >&2; exit 2; }
python=$1/bin/python peer_step=$2 captions=$3 rounds=${4:-3} precisions=${5:-fp32 bf16}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
printf '[model]\npreset = vit-b-32\n' >"$folder/vit-b-32.ini"
{
    cat "$folder/vit-b-32.ini"
    printf '[train]\nrecompute = block\n[optim]\nmoments = bf16\n'
} >"$folder/vit-b-32-lean.ini"
cat >"$folder/small-64.ini" <<'INI'
[model]
embed_dim = 256
image_size = 64
patch_size = 8
vision_width = 256
vision_layers = 6
vision_heads = 4
context_length = 77
vocab_size = 8192
text_width = 256
text_layers = 6
text_heads = 4
INI

# field KEY FILE: the median of a key over the file's lines.
field() {
    "$python" -c '
import json, statistics, sys
rows = [json.loads(line) for line in open(sys.argv[2])]
values = [r[sys.argv[1]] for r in rows if sys.argv[1] in r]
print(statistics.median(values) if values else "nan")' "$1" "$2"
}
# row WHAT OURS THEIRS NOTE
row() {
    awk -v what="$1" -v ours="$2" -v theirs="$3" -v note="$4" 'BEGIN {
        printf "| %s | %.4g | %.4g | %.2f | %s |\n", what, ours, theirs, ours / theirs, note }'
}

step() { # CONFIG BATCH PRECISION [THE PEER'S CONFIG]
    local ours=$folder/ours theirs=$folder/theirs of i
    rm -f "$ours" "$theirs"
    for ((i = 0; i < rounds; i++)); do
        build/clip_bench step --config "$folder/$1.ini" --batch-size "$2" --precision "$3" \
            --steps 3 --data "$captions" --json >>"$ours"
        "$python" "$peer_step" --config "$folder/${4:-$1}.ini" --batch-size "$2" --precision "$3" \
            --steps 3 >>"$theirs"
    done
    of=$(awk -v a="$(field flops_per_second "$ours")" \
        -v b="$(field peak_flops_per_second "$ours")" 'BEGIN { printf "%.0f", 100 * a / b }')
    row "step, $1, batch $2, $3: pairs/s" "$(field pairs_per_second "$ours")" \
        "$(field pairs_per_second "$theirs")" "open_clip; $of % of the measured peak"
    row "step, $1, batch $2, $3: MB" "$(field peak_rss_bytes "$ours" | awk '{print $1 / 1e6}')" \
        "$(field peak_rss_bytes "$theirs" | awk '{print $1 / 1e6}')" "open_clip; less is better"
}

embed() { # PRECISION
    local ours=$folder/ours theirs=$folder/theirs i what
    rm -f "$ours" "$theirs"
    for ((i = 0; i < rounds; i++)); do
        build/clip_bench embed --precision "$1" --json >>"$ours"
        "$python" tests/peer_embed.py --precision "$1" >>"$theirs"
    done
    for what in images_alone images texts_alone texts; do
        row "embed ${what/_/ }, ViT-B/32, $1: a second" "$(field ${what}_per_second "$ours")" \
            "$(field ${what}_per_second "$theirs")" open_clip
    done
    [ "$1" = fp32 ] || return 0
    for what in images_alone images; do
        row "embed ${what/_/ }, ViT-B/32, fp32: a second" "$(field ${what}_per_second "$ours")" \
            "$(field onnxruntime_${what}_per_second "$theirs")" onnxruntime
    done
}

loss() {
    local out=$folder/loss
    build/clip_bench loss --json >"$out"
    row "InfoNCE, N 32,768, D 512: GF/s" \
        "$(field flops_per_second "$out" | awk '{print $1 / 1e9}')" \
        "$(field gemm_flops_per_second "$out" | awk '{print $1 / 1e9}')" \
        "its products alone; $(field peak_rss_bytes "$out" | awk '{printf "%.0f", $1 / 1e6}') MB"
}

echo '| what | here | beside | ratio | beside what |'
echo '|---|---|---|---|---|'
for precision in $precisions; do
    step vit-b-32 32 $precision
    step vit-b-32-lean 32 $precision vit-b-32
    step small-64 128 $precision
    embed $precision
done
loss
