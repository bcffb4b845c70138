#!/bin/bash
# Other projects' models from the command line: training on from one, at another image size, with
# its own rules kept; SigLIP. The models are tiny and trained on the reference pictures.
build=$(realpath "${BUILD:-build}") || exit 1
export CLIP_BPE=
folder=$(mktemp -d) || exit 1
trap 'rm -rf "$folder"' EXIT
n=0
check() { # check NAME COMMAND...: ok where the command succeeds
    local name=$1
    shift
    n=$((n + 1))
    if "$@"; then echo "ok $n - $name"; else echo "not ok $n - $name"; fi
}
# run CODE PROGRAM [ARGUMENT...]: in $folder; stdout in $out, stderr in $err.
run() {
    local code=$1 program=$2 status
    (cd "$folder" && exec "$build/$program" "${@:3}") >"$folder/out" 2>"$folder/err" </dev/null
    status=$?
    out=$(<"$folder/out") err=$(<"$folder/err")
    [ "$status" -eq "$code" ] && return
    echo "# $program ${*:3}: exit status $status instead of $code; \"$err\""
    return 1
}
prints() { # prints TEXT CODE PROGRAM...: on stdout
    run "${@:2}" || return 1
    [[ $out == *"$1"* ]] && return
    echo "# \"$out\" without \"$1\""
    return 1
}
says() { # says TEXT CODE PROGRAM...: on stderr
    run "${@:2}" || return 1
    [[ $err == *"$1"* ]] && return
    echo "# \"$err\" without \"$1\""
    return 1
}
holds() { # holds FILE LINE: the file has the line
    grep -qxF -- "$2" "$folder/$1" && return
    echo "# $1 without \"$2\""
    return 1
}
train() { echo clip_train --config tiny.ini --quiet; }
same() { cmp -s "$folder/$1" "$folder/$2"; }

mkdir "$folder/photos"
cp tests/reference/preprocess/images/*.png "$folder/photos" || exit 1
printf 'filepath,title\n' >"$folder/pairs.csv"
for picture in "$folder"/photos/*.png; do
    name=$(basename "$picture" .png)
    printf 'photos/%s.png,a picture of a %s\nphotos/%s.png,the %s one\n' "$name" "${name%_*}" \
        "$name" "${name%_*}" >>"$folder/pairs.csv"
done
tail -n +2 "$folder/pairs.csv" | tr , '\n' >"$folder/texts.txt"
cat >"$folder/tiny.ini" <<END
[model]
embed_dim = 16
image_size = 16
patch_size = 8
vision_width = 16
vision_layers = 2
vision_heads = 2
context_length = 12
vocab_size = 520
text_width = 16
text_layers = 2
text_heads = 2
[data]
train_data = pairs.csv
val_data = pairs.csv
tokenizer = tokenizer.txt
aug_scale_min = 1
[train]
steps = 4
batch_size = 4
save_every = 2
val_every = 4
log_every = 1
[optim]
warmup = 1
END
check "a tokenizer" run 0 clip_data tokenizer train --input texts.txt --vocab-size 520 \
    --output tokenizer.txt

# ---- a Hugging Face folder, trained on ----
check "a model" run 0 $(train) --output base
check "as a Hugging Face folder" run 0 clip_export --model base --format huggingface \
    --output hf
sed -e '/^\[model\]/,/^text_heads/d' -e '/^tokenizer/d' "$folder/tiny.ini" >"$folder/on.ini"
on="clip_train --config on.ini --quiet --init hf"
check "training goes on from it" run 0 $on --output on
check "... with its sizes" holds on/config.ini 'vision_layers = 2'
check "... at a larger image size" run 0 $on --set model.image_size=32 --output larger
check "... which embeds" run 0 clip_embed --model larger --images photos --output larger.npy
check "... and another patch is refused" says 'has patch_size 8, but the configuration says 4' 2 \
    $on --set model.patch_size=4 --output none
check "... and another kind" says 'is a CLIP, but the configuration says architecture = siglip' 2 \
    $on --set model.architecture=siglip --set model.embed_dim=768 --output none

# Rules that transformers has and open_clip has not are kept by a run, and by one that is resumed.
sed -i -z 's/"clip_c": *{[^}]*}/"clip_c": {}/' "$folder/hf/config.json"
check "a folder of transformers' rules" run 0 $on --output rules
check "... crops as it does" holds rules/config.ini 'center_crop = huggingface'
check "... cleans as it does" holds rules/config.ini 'text_cleaning = huggingface'
cp -r "$folder/rules" "$folder/half"
rm "$folder/half/last.h5" "$folder/half/best.h5" "$folder/half/checkpoints/step_4.h5"
check "... also when resumed" run 0 $on --output half --resume
for name in rules half; do
    run 0 clip_export --model $name --format safetensors --output $name.safetensors
done
check "... to the same weights" same rules.safetensors half.safetensors

# ---- SigLIP ----
siglip="--set model.architecture=siglip --set model.gelu_tanh=true --set model.norm_eps=1e-6
    --set model.pad_id=1 --set train.loss=siglip"
check "a SigLIP is trained" run 0 $(train) $siglip --output siglip
check "... measured" prints '"loss"' 0 clip_eval loss --model siglip --data pairs.csv --json
check "... embeds texts" run 0 clip_embed --model siglip --texts texts.txt --output a.npy
check "... trained on" run 0 clip_train --config on.ini --quiet --init siglip \
    --set train.loss=siglip --output siglip2
check "... as the same kind" holds siglip2/config.ini 'architecture = siglip'
check "... in safetensors" run 0 clip_export --model siglip --format safetensors \
    --output s.safetensors
check "... which embeds" run 0 clip_embed --model s.safetensors --texts texts.txt --output b.npy
check "... the same" same a.npy b.npy
check "... in pieces" run 0 $(train) $siglip --set train.micro_batch=2 --output pieces
check "... in bfloat16" run 0 $(train) $siglip --set train.precision=bf16 --output bf16
check "a padding that is no word" says 'pad_id = 520 is no word' 2 $(train) $siglip \
    --set model.pad_id=520 --output none
echo "1..$n"
