#!/bin/bash
# Runs the commands of docs/data.md, docs/demo-sets.md and docs/fine-tuning.md as they stand there,
# in a folder that has what they name. The models are tiny, trained for a few steps.
. tests/shell.sh
here=$folder
try() { run 0 bash -c "$1"; } # try LINE: by a shell in $folder, as a person would type it

# ---- what is there ----
mkdir -p "$folder"/{images,many,clean,runs,imagenet_val/gray,imagenet_val/rgb}
cp tests/reference/preprocess/images/*.png "$folder/images" || exit 1
cp -r configs "$folder"
images=("$folder"/images/*.png)
printf 'filepath,title\n' >"$folder/train.csv"
for i in 1 2 3; do
    bitmap "$i $((i * 7919))" >"$folder/clean/$i.bmp"
    echo "clean/$i.bmp,image number $i" >>"$folder/train.csv"
done
printf 'filepath\ttitle\n' >"$folder/pairs.tsv"
printf 'filepath\ttitle\n' >"$folder/val.tsv"
printf 'filepath,title\nimages/rgb_41x23.png,something else\n' >"$folder/val.csv"
i=0
for image in "${images[@]}"; do
    name=$(basename "$image" .png)
    i=$((i + 1))
    cp "$image" "$folder/imagenet_val/$([ $((i % 2)) = 0 ] && echo gray || echo rgb)"
    printf 'images/%s.png,an image of a %s\n' "$name" "${name%_*}" >>"$folder/train.csv"
    printf 'images/%s.png\ta image of a %s\n' "$name" "${name%_*}" >>"$folder/val.tsv"
    for ((k = 0; k < 50; k++)); do # enough for a batch of configs/finetune.ini
        ln "$image" "$folder/many/$k-$name.png"
        printf 'many/%s.png\ta image of a %s, the %sth\n' "$k-$name" "${name%_*}" "$k"
    done >>"$folder/pairs.tsv"
done
cp "$folder/pairs.tsv" "$folder/train.tsv"
printf 'gray\nrgb\n' >"$folder/classes.txt"
printf 'an image of a {}\n' >"$folder/templates.txt"
cut -f2 "$folder/pairs.tsv" >"$folder/captions.txt"
{
    tiny_model
    cat <<END
[data]
train_data = pairs.tsv
val_data = val.tsv
tokenizer = tokenizer.txt
[train]
steps = 2
batch_size = 8
[optim]
warmup = 1
END
} >"$folder/tiny.ini"
check "a tokenizer is trained" try 'clip_data tokenizer train --input captions.txt \
    --vocab-size 520 --output tokenizer.txt'
for model in MODEL TEACHER BEFORE; do
    check "a model is trained" try "clip_train --config tiny.ini --output $model"
done
check "... and trained on" try 'clip_train --config tiny.ini --init BEFORE --output AFTER'
ln -s ../MODEL "$folder/runs/small"
ln -s ../MODEL "$folder/runs/emoji-run"

# Two packages with an idea that both artists have drawn, where apt-get would put them.
package() { # package NAME FILE...: of the files below $folder/deb
    (cd "$folder/deb" && echo 2.0 >debian-binary && tar -cJf control.tar.xz debian-binary &&
        tar -cJf data.tar.xz ./usr && mkdir -p ../runs/emoji/packages &&
        ar rc "../runs/emoji/packages/$1" debian-binary control.tar.xz data.tar.xz && rm -r usr)
}
drawn() { # drawn FOLDER FILE
    mkdir -p "$folder/deb/$1" && cp "${images[0]}" "$folder/deb/$1/$2"
}
gems=usr/share/gems
drawn $gems/gemojione-3.3.0/assets/png 1F3AA.png
drawn $gems/gemojione-3.3.0/assets/png 0023-20E3.png
mkdir -p "$folder/deb/$gems/gemojione-3.3.0/config"
printf '%s' '{"circus_tent":{"unicode":"1F3AA","unicode_alternates":[],"name":"circus tent",' \
    '"category":"travel","keywords":["show"]}}' \
    >"$folder/deb/$gems/gemojione-3.3.0/config/index.json"
check "a package is made" package ruby-gemojione_3.3.0-1_all.deb
drawn $gems/tanuki_emoji-0.6.0/app/assets/images/tanuki_emoji emoji_u1f3aa.png
drawn $gems/tanuki_emoji-0.6.0/app/assets/images/tanuki_emoji emoji_u0023_20e3.png
check "... and another" package ruby-tanuki-emoji_0.6.0-2_all.deb

# ---- the commands, in order ----
# Indented lines that begin with a program's name; a backslash at the end goes on. What trains for
# minutes (tools/...) is not run here.
commands() {
    awk '/^    clip_[a-z]+ / || on {sub(/^ +/, ""); on = sub(/\\$/, ""); printf "%s", $0
                                    if (!on) print ""}' "$1"
}
page() { # page FILE LEAST: at least so many
    local line count=0
    while IFS= read -r line; do
        count=$((count + 1))
        check "$1: $line" try "${line/clip_data shapes/clip_data shapes --count 100}"
    done < <(commands "$1")
    check "$1 has commands" test "$count" -ge "$2"
}
page docs/data.md 4
page docs/demo-sets.md 4
page docs/fine-tuning.md 4
plan
