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

# ---- the lines of Python that convert what is not read ----
awk -v to="$folder/convert-" '/^```python$/ {n++; on = 1; next} /^```$/ {on = 0}
                              on {print > (to n ".py")}' docs/data.md
check "docs/data.md has lines that convert" test -s "$folder/convert-7.py"
sections() { # each section that a refusal names is there
    local section
    while IFS= read -r section; do grep -qx "### $section" docs/data.md || return 1; done < \
        <(sed -n '/formats\[\] = {/,/^static const struct format saved/p
                  /^static const struct format saved/,/;/p' data/sets/dataset_foreign.c |
            grep -oE '"[A-Z][^"]*"(, *is_|, NULL)' | cut -d'"' -f2 | sort -u)
}
check "each section that a refusal names is there" sections
for lines in "$folder"/convert-*.py; do
    if command -v python3 >/dev/null; then
        check "${lines##*/} is Python" run 0 python3 -c \
            'import sys; compile(open(sys.argv[1]).read(), sys.argv[1], "exec")' "$lines"
    else
        skip "${lines##*/} is Python" "python3 is missing"
    fi
done
# those that need nothing else are run
if command -v python3 >/dev/null; then
    check "a pickle is made" run 0 python3 -c \
        'import pickle; pickle.dump([("a.jpg", "one, two")], open("pairs.pkl", "wb"))'
    check "... refused by name" says 1 'is a Python pickle' clip_data check pairs.pkl
    check "... and converted" run 0 python3 convert-2.py
    check "... to a csv" prints 0 'a.jpg,"one, two"' cat pairs.csv
    check "a database is made" run 0 python3 -c 'import sqlite3; c = sqlite3.connect("pairs.db")
c.execute("CREATE TABLE pairs(path, caption)")
c.execute("INSERT INTO pairs VALUES (?, ?)", ("b.jpg", "three")); c.commit()'
    check "... refused by name" says 1 'is an SQLite database' clip_data check pairs.db
    check "... and converted" run 0 python3 convert-6.py
    check "... to a csv" prints 0 'b.jpg,three' cat pairs.csv
    check "an archive is made" run 0 python3 -c \
        'import shutil; shutil.make_archive("set", "zip", "clean")'
    check "... refused by name" says 1 'is a zip archive' clip_data check set.zip
    check "... and unpacked" run 0 python3 convert-7.py
    check "... to a folder" json '"samples":3,' clip_data check --images-only --json set
else
    skip "a pickle, a database and an archive are converted" "python3 is missing"
fi
page docs/demo-sets.md 4
page docs/fine-tuning.md 4
plan
