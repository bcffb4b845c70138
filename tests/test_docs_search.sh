#!/bin/bash
# Runs the commands of docs/search.md and docs/zero-shot.md as they stand there, in a folder that
# has what they name: models, images, captions.
. tests/shell.sh

# ---- what the commands name ----
mkdir -p "$folder/photos/2019" "$folder/classes"
cp -r configs "$folder/configs"
images=(tests/reference/preprocess/images/*.png)
for image in "${images[@]}"; do cp "$image" "$folder/photos/2019"; done
cp "${images[0]}" "$folder/a.png"
cp "${images[1]}" "$folder/b.png"
cp "${images[2]}" "$folder/photos/dog.png"
cp "${images[2]}" "$folder/dog.jpg" # told by its content
printf 'filepath\ttitle\n' >"$folder/val_en.tsv"
for name in "$folder"/photos/2019/*.png; do
    printf '%s\ta image of %s\n' "$name" "$(basename "$name" .png)" >>"$folder/val_en.tsv"
done
tail -n +2 "$folder/val_en.tsv" | cut -f2 >"$folder/captions.txt"
printf 'cat\ndog\n' >"$folder/labels.txt"
cut -f2 "$folder/configs/cifar10_classes.txt" | while read -r class; do
    mkdir -p "$folder/classes/$class"
    cp "${images[0]}" "$folder/classes/$class/1.png"
done
tar -C "$folder/classes" -cf "$folder/cifar10_test.tar" . || exit 1
{
    tiny_model
    tiny_run "$folder/val_en.tsv" "$folder/runs/small"
} >"$folder/tiny.ini"
"$build/clip_data" tokenizer train --input "$folder/captions.txt" --vocab-size 520 --quiet \
    --output "$folder/tokenizer.txt" >/dev/null || exit 1
"$build/clip_train" --config "$folder/tiny.ini" --quiet >/dev/null || exit 1
ln -s small "$folder/runs/cifar10"
ln -s small "$folder/runs/flickr8k"

# ---- the commands ----
page docs/search.md 8
page docs/zero-shot.md 8
plan
