#!/bin/bash
# Folders of photographs as people have them: links that lead back up, closed folders, pipes, files
# of other kinds.
. tests/shell.sh
here=$folder
program() {
    "$build/$1" "${@:2}" --quiet 2>"$folder/err" && return
    echo "# $*: $(<"$folder/err")"
    return 1
}

# ---- a model and images ----
photos=$folder/photos
mkdir -p "$photos/sub" "$photos/album.jpg"
for i in 1 2 3; do bitmap "image $i" >"$photos/$i.bmp"; done
bitmap "image 4" >"$photos/sub/4.bmp"
bitmap "image 5" >"$photos/album.jpg/5.bmp"
printf 'filepath,title\n' >"$folder/pairs.csv"
for i in 1 2 3 1 2 3 1 2; do echo "$photos/$i.bmp,a red circle $i" >>"$folder/pairs.csv"; done
printf 'a dog\na red circle\na blue square\na cat\n' >"$folder/texts.txt"
{
    tiny_model
    printf 'image_size = 32\nvision_width = 64\nvision_layers = 2\n'
    tiny_run "$folder/pairs.csv" "$folder/run"
} >"$folder/tiny.ini"
program clip_data tokenizer train --input "$folder/texts.txt" --vocab-size 520 \
    --output "$folder/tokenizer.txt" >/dev/null || exit 1
program clip_train --config "$folder/tiny.ini" >/dev/null || exit 1
index() { # index FILE ARGUMENTS...
    clip_search index --model "$folder/run" --quiet --json --output "$@"
}

# ---- walking ----
check "a folder named like an image is a folder" json '"count":5,"added":5,"skipped":0' \
    index a.index --images photos
ln -s . "$photos/a"
ln -s . "$photos/b"
ln -s .. "$photos/sub/up"
ln -s sub "$photos/before"
check "links that lead up add nothing" json '"count":5,"added":0,.*"removed":0,"unchanged":5' \
    timeout 60 "$build/clip_search" index --model run --quiet --json --output a.index --images photos
rm "$photos"/a "$photos"/b "$photos/sub/up" "$photos/before"
mkfifo "$photos/pipe.jpg" "$folder/pipe.tar" "$folder/pipe.csv"
mkdir -p "$photos/$(printf 'd/%.0s' {1..70})"
check "a pipe is named" says 1 'pipe.jpg is no regular file' index b.index --images photos
check "a folder that is too deep is named, and the rest is indexed" run 1 index b.index --images photos
check "both are counted" out_has '"count":5,"added":0,"skipped":2'
check "clip_embed passes over the same" says 1 '2 images or folders could not be read' \
    clip_embed --model run --images photos --output photos.npy
check "a shard that is a pipe" says 1 'pipe.tar is not a regular file' \
    timeout 60 "$build/clip_embed" --model run --images pipe.tar --output x.npy
check "a csv that is a pipe" says 1 'pipe.csv is not a regular file' \
    timeout 60 "$build/clip_embed" --model run --images pipe.csv --output x.npy
rm -r "$photos/pipe.jpg" "$photos/d"
if [ "$(id -u)" -ne 0 ]; then
    mkdir "$photos/closed"
    mv "$photos/3.bmp" "$photos/closed"
    check "an index of all" json '"count":5' index c.index --images photos
    chmod 0 "$photos/closed"
    check "a closed folder is named" says 1 'closed could not be listed' index c.index --images photos
    check "what it holds stays in the index" out_has '"count":5,"added":0,"skipped":1,"changed":0,"removed":0'
    chmod 755 "$photos/closed"
    mv "$photos/closed/3.bmp" "$photos"
    rmdir "$photos/closed"
fi

# ---- what is passed over ----
touch "$photos"/IMG_{1,2}.HEIC "$photos/sub/IMG_3.heic" "$photos/r.dng" "$photos/.hidden" "$photos/README"
check "what is passed over is counted" says 0 'photos: passed over: 3 .heic, 1 .dng, 1 without a suffix' \
    index d.index --images photos
rm "$photos"/{IMG_*,r.dng,README} "$photos/sub/IMG_3.heic"
check "nothing is said where all is read" silent 0 'passed over' index d.index --images photos

plan
