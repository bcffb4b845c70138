#!/bin/bash
# Fine-tuning from the command line: more than pairs to learn from, what is watched on the way, and
# mixing the weights afterwards. The models are tiny and trained on the reference pictures.
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
silent_of() { # silent_of TEXT CODE PROGRAM...: not on stderr
    run "${@:2}" || return 1
    [[ $err != *"$1"* ]] && return
    echo "# \"$err\" with \"$1\""
    return 1
}
train() { echo clip_train --config tiny.ini --quiet; }
losses() { sed 's/.*"loss": *\([0-9.]*\).*/\1/' "$folder/$1/log.jsonl"; }
close_losses() { paste <(losses "$1") <(losses "$2") |
    awk '{d = $1 - $2; if (d * d > 1e-8) exit 1; n++} END {exit n < 3}'; }
other_losses() { ! close_losses "$1" "$2"; }

# ---- data and configuration --------------------------------------------------------------------
mkdir "$folder/photos"
cp tests/reference/preprocess/images/*.png "$folder/photos" || exit 1
printf 'filepath,title,wrong\n' >"$folder/pairs.csv"
for picture in "$folder"/photos/*.png; do
    name=$(basename "$picture" .png)
    printf 'photos/%s.png,a picture of a %s,no %s at all\nphotos/%s.png,the %s one,\n' "$name" \
        "${name%_*}" "${name%_*}" "$name" "${name%_*}" >>"$folder/pairs.csv"
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
context_length = 16
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
steps = 6
batch_size = 4
val_every = 3
save_every = 3
log_every = 1
[optim]
lr = 1e-3
warmup = 2
END
check "a tokenizer is trained" run 0 clip_data tokenizer train --input texts.txt --vocab-size 520 \
    --output tokenizer.txt
check "a model to start from" run 0 $(train) --output base
base=base/last.h5

# ---- hard negatives ----------------------------------------------------------------------------
negatives='--set data.csv_negative_key=wrong'
check "hard negatives are trained on" run 0 $(train) $negatives --output negatives
check "... and change the loss" other_losses base negatives
check "... which pieces leave as it is" run 0 $(train) $negatives --set train.micro_batch=3 \
    --output negatives-micro
check "... to 1e-4" close_losses negatives negatives-micro
check "... with the sigmoid loss too" run 0 $(train) $negatives --set train.loss=siglip \
    --output negatives-siglip
check "a column that is not there" says 'set csv_negative_key' 1 $(train) --output none \
    --set data.csv_negative_key=right

# ---- a teacher ---------------------------------------------------------------------------------
teacher='--set train.teacher_embeddings=teacher.h5'
check "a teacher's embeddings are written" prints '"rows":10' 0 clip_embed --model $base \
    --pairs pairs.csv --output teacher.h5 --json
check "a student learns from them" run 0 $(train) $teacher --output student
check "... by more than its pairs" other_losses base student
check "... in pieces too" run 0 $(train) $teacher --set train.micro_batch=3 --output student-micro
check "... with the same losses" close_losses student student-micro
check "... as .safetensors too" run 0 clip_embed --model $base --pairs pairs.csv \
    --output teacher.safetensors
check "... and read" run 0 $(train) --output student-safetensors \
    --set train.teacher_embeddings=teacher.safetensors
check "... to the same losses" cmp <(losses student) <(losses student-safetensors)
check "without captions there is no teacher" run 0 clip_embed --model $base --images pairs.csv \
    --output pictures.h5
check "... which is said" says 'has no text_embeds' 1 $(train) --output none \
    --set train.teacher_embeddings=pictures.h5
head -n 5 "$folder/pairs.csv" >"$folder/fewer.csv"
check "a teacher of other data" says 'is not next among the 4 samples' 1 $(train) --output none \
    $teacher --set data.train_data=fewer.csv
check "pairs in one matrix" says 'write a .h5' 2 clip_embed --model $base --pairs pairs.csv \
    --output pairs.npy
