#!/bin/bash
# Every command of docs/guide.md, docs/report.md and docs/debugging.md, as it stands there, in a
# folder that has what the pages name: runs/small, an image, texts. The models are tiny and are
# trained for a few steps.
. tests/shell.sh
# ---- what is there ----
mkdir -p "$folder/configs" "$folder/runs/shapes" "$folder/tools"
photos "$folder/images"
cp "$folder/images/rgb_41x23.png" "$folder/photo.png"
cp tools/guide_names.sh "$folder/tools"
ln -s "$build" "$folder/build"
printf 'a red circle\na blue star\n\n' >"$folder/prompts.txt"
printf 'red circle\tred_circle\nblue star\tblue_star\n' >"$folder/runs/shapes/classes_48.txt"
pairs images >"$folder/pairs.csv"
cp tests/reference/openclip_tiny/inside.safetensors "$folder/pairs.safetensors" || exit 1
{
    tiny_model
    cat <<END
image_size = 12
patch_size = 4
vision_layers = 2
text_layers = 2
context_length = 12
[data]
train_data = pairs.csv
val_data = pairs.csv
tokenizer = tokenizer.txt
[train]
steps = 4
batch_size = 4
val_every = 2
save_every = 2
log_every = 1
[optim]
warmup = 1
END
} >"$folder/configs/small.ini"
check "a tokenizer is trained" try 'clip_data tokenizer train --input pairs.csv --vocab-size 520 \
    --output tokenizer.txt'
check "a model is trained" try 'clip_train --config configs/small.ini --output runs/small'
check "its twin is trained" try 'clip_train --config configs/small.ini --set train.seed=1 \
    --output runs/twin'

# ---- the commands, in order ----
page docs/guide.md 6
page docs/report.md 2
page docs/debugging.md 7
check "... the two runs are equal" \
    cmp "$folder/one.safetensors" "$folder/two.safetensors"
plan
