#!/bin/bash
# Runs the commands of docs/search.md and docs/zero-shot.md as they stand there, in a folder that
# has what they name: models, pictures, captions.
. tests/shell.sh

# ---- what the commands name --------------------------------------------------------------------
mkdir -p "$folder/photos/2019" "$folder/classes"
cp -r configs "$folder/configs"
pictures=(tests/reference/preprocess/images/*.png)
for picture in "${pictures[@]}"; do cp "$picture" "$folder/photos/2019"; done
cp "${pictures[0]}" "$folder/a.png"
cp "${pictures[1]}" "$folder/b.png"
cp "${pictures[2]}" "$folder/photos/dog.png"
cp "${pictures[2]}" "$folder/dog.jpg" # told by its content
printf 'filepath\ttitle\n' >"$folder/val_en.tsv"
for name in "$folder"/photos/2019/*.png; do
    printf '%s\ta picture of %s\n' "$name" "$(basename "$name" .png)" >>"$folder/val_en.tsv"
done
tail -n +2 "$folder/val_en.tsv" | cut -f2 >"$folder/captions.txt"
printf 'cat\ndog\n' >"$folder/words.txt"
cut -f2 "$folder/configs/cifar10_classes.txt" | while read -r class; do
    mkdir -p "$folder/classes/$class"
    cp "${pictures[0]}" "$folder/classes/$class/1.png"
done
tar -C "$folder/classes" -cf "$folder/cifar10_test.tar" . || exit 1
{
    tiny_model
    cat <<END
[data]
train_data = $folder/val_en.tsv
tokenizer = $folder/tokenizer.txt
[train]
steps = 1
batch_size = 4
output = $folder/runs/small
[optim]
warmup = 1
END
} >"$folder/tiny.ini"
"$build/clip_data" tokenizer train --input "$folder/captions.txt" --vocab-size 520 --quiet \
    --output "$folder/tokenizer.txt" >/dev/null || exit 1
"$build/clip_train" --config "$folder/tiny.ini" --quiet >/dev/null || exit 1
ln -s small "$folder/runs/cifar10"
ln -s small "$folder/runs/flickr8k"

# ---- the commands ------------------------------------------------------------------------------
# Indented lines that begin with a program's name; a backslash at the end goes on.
commands() {
    awk '/^    clip_[a-z]+ / || on {sub(/^ +/, ""); on = sub(/\\$/, ""); printf "%s", $0
                                    if (!on) print ""}' "$1"
}
run() { # run COMMAND LINE, in the folder; serve until it listens, then SIGTERM
    local line=$build/$1
    cd "$folder" || return 1
    if [[ $1 != *" serve "* ]]; then
        eval "$line" >out 2>err
        return
    fi
    eval "${line/--port 8080/--port 0} --json >out 2>err &"
    for ((i = 0; i < 100; i++)); do
        grep -q '"url"' out && break
        sleep 0.1
    done
    kill $!
    wait $!
    [ $? -eq 143 ] || grep -q 'without libmicrohttpd' err
}
for page in docs/search.md docs/zero-shot.md; do
    while read -r line; do
        n=$((n + 1))
        if (run "$line"); then
            echo "ok $n - $line"
        else
            echo "not ok $n - $page: $line"
            sed 's/^/# /' "$folder/err"
        fi
    done < <(commands "$page")
done
if [ "$n" -lt 15 ]; then echo "not ok $((n += 1)) - the pages have commands"; fi
plan
