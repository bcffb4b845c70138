#!/bin/bash
# Folders of photographs as people have them: links that lead back up, closed folders, pipes, files
# of other kinds.
. tests/shell.sh
images=$PWD/tests/reference/preprocess/images
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
    timeout 60 "$build/clip_search" index --model run --quiet --json \
        --output a.index --images photos
rm "$photos"/a "$photos"/b "$photos/sub/up" "$photos/before"
mkfifo "$photos/pipe.jpg" "$folder/pipe.tar" "$folder/pipe.csv"
mkdir -p "$photos/$(printf 'd/%.0s' {1..70})"
check "a pipe is named" says 1 'pipe.jpg is no regular file' index b.index --images photos
check "a folder that is too deep is named, and the rest is indexed" \
    run 1 index b.index --images photos
check "both are counted" out_has '"count":5,"added":0,"skipped":2'
check "clip_embed passes over the same" says 1 '2 images or folders could not be read' \
    clip_embed --model run --images photos --output photos.npy
check "a shard that is a pipe" says 1 'pipe.tar is not a regular file' \
    timeout 60 "$build/clip_embed" --model run --images pipe.tar --output x.npy
check "a csv that is a pipe" says 1 'pipe.csv is not a regular file' \
    timeout 60 "$build/clip_embed" --model run --images pipe.csv --output x.npy
(cd "$folder" && tar -cf good.tar -C photos 1.bmp && mkfifo pipe.{safetensors,pt,h5,gguf})
for set in pipe.tar '{good,pipe}.tar' '*.tar' good.tar::pipe.tar; do
    check "data check of $set" says 1 'pipe.tar is not a regular file' \
        timeout 60 "$build/clip_data" check "$set"
    check "training on $set" says 1 'pipe.tar is not a regular file' \
        timeout 60 "$build/clip_train" --config tiny.ini --output other \
        --set "data.train_data=$set"
done
check "packing shards" says 1 'pipe.tar is not a regular file' \
    timeout 60 "$build/clip_data" pack '{good,pipe}.tar' --output packed.h5
check "an index of shards" says 1 'pipe.tar is not a regular file' \
    timeout 60 "$build/clip_search" index --model run --images '{good,pipe}.tar' --output x.index
for model in pipe.safetensors pipe.gguf pipe.h5 pipe.pt; do
    check "a model that is a pipe, $model" says 1 "$model" \
        timeout 60 "$build/clip_embed" --model "$model" --images photos --output x.npy
done
rm "$folder/good.tar" "$folder"/pipe.*
rm -r "$photos/pipe.jpg" "$photos/d"
if [ "$(id -u)" -ne 0 ]; then
    mkdir "$photos/closed"
    mv "$photos/3.bmp" "$photos/closed"
    check "an index of all" json '"count":5' index c.index --images photos
    chmod 0 "$photos/closed"
    check "a closed folder is named" says 1 'closed could not be listed' \
        index c.index --images photos
    check "what it holds stays in the index" \
        out_has '"count":5,"added":0,"skipped":1,"changed":0,"removed":0'
    chmod 755 "$photos/closed"
    mv "$photos/closed/3.bmp" "$photos"
    rmdir "$photos/closed"
fi

# ---- which reading was taken ----
mkdir "$folder/kohya"
for i in 1 2; do cp "$photos/$i.bmp" "$folder/kohya"; echo "image $i" >"$folder/kohya/$i.txt"; done
check "training says as what its data was read" says 0 'pairs.csv: 8 pairs, csv' \
    clip_train --config tiny.ini --output said --dry-run
check "so does an evaluation, of captions beside images" \
    says 0 'kohya: 2 pairs, captions beside images (.txt)' \
    clip_eval retrieval --model run --data kohya
check "so does an index" says 0 'photos: 5 images' \
    clip_search index --model run --images photos --output said.index
check "nothing is said if it is to be quiet" silent 0 'pairs, csv' \
    clip_train --config tiny.ini --output said --dry-run --quiet

# ---- a folder that is passed over is in the exit status ----
mkdir -p "$folder/kohya/$(printf 'd/%.0s' {1..70})"
passed_over() { says 1 'could not be read and was passed over' "$@"; }
check "of a check" passed_over clip_data check kohya --tiny 4
check "of packing" passed_over clip_data pack kohya --output kohya.h5
check "... and the rest is packed" json '"samples":2' clip_data check kohya.h5 --tiny 4 --json
check "of retrieval" passed_over clip_eval retrieval --model run --data kohya
check "of a loss" passed_over clip_eval loss --model run --data kohya --batch-size 2
check "of training, which is done" passed_over clip_train --config tiny.ini --output deep \
    --set data.train_data=kohya --set train.steps=1 --set train.batch_size=2
check "... with the rest" test -s "$folder/deep/last.h5"
rm -r "$folder/kohya/d"

# ---- what is passed over ----
touch "$photos"/IMG_{1,2}.MOV "$photos/sub/IMG_3.mov" "$photos/r.psd" \
    "$photos/.hidden" "$photos/README"
check "what is passed over is counted" says 0 \
    'photos: passed over: 3 .mov, 1 .psd, 1 without a suffix' \
    index d.index --images photos
rm "$photos"/{IMG_*,r.psd,README} "$photos/sub/IMG_3.mov"
check "nothing is said where all is read" silent 0 'passed over' index d.index --images photos

# ---- HEIC is read, or counted with a word on how it is read ----
seeds=$PWD/tests/fuzz/seeds/fuzz_image
mkdir "$folder/heics"
cp "$seeds/gradient.heic" "$folder/heics/IMG_4.HEIC"
cp "$photos/1.bmp" "$folder/heics"
heic() {
    run 0 index h.index --images heics || return
    grep -q '"count":2,"added":2' "$folder/out" && return
    grep -q '"count":1,"added":1' "$folder/out" && grep -q '1 .heic (.*libheif-dev' "$folder/err"
}
check "a HEIC is read or counted" heic
rm -r "$folder/heics"

# ---- raw files of cameras ----
mkdir "$folder/raws"
cp "$seeds"/camera.{arw,cr2,cr3,dng,nef,orf,raf,rw2} "$folder/raws"
check "raw files give their preview" json '"count":8,"added":8,"skipped":0' \
    index raw.index --images raws
cp "$seeds/camera.dng" "$folder/raws/small.dng"
printf '\003' | dd of="$folder/raws/small.dng" bs=1 seek=92 conv=notrunc status=none # 768 high
check "one whose preview is small is named" says 1 'small.dng: its embedded preview is 8 x 768' \
    index raw.index --images raws
rm "$folder/raws/small.dng"
check "... and the rest is there" json '"count":8,"added":0' index raw.index --images raws
rm -r "$folder/raws"

# ---- one path, one image ----
check "an index of a folder" json '"count":5,"added":5' index e.index --images photos
for spelling in ./photos photos/ photos//sub/.. photos/../photos "$photos" "$folder/./photos//"; do
    check "$spelling is the same" json '"count":5,"added":0,.*"removed":0,"unchanged":5' \
        index e.index --images "$spelling"
done
mkdir "$folder/away"
here=$folder/away
check "from elsewhere too" json '"count":5,"added":0,.*"unchanged":5' \
    index "$folder/e.index" --images ../photos
check "query prints paths that are there" run 0 clip_search query --index ../e.index --text dog \
    --model "$folder/run" --top 9
shown=$(awk '{print $2}' "$folder/out" | (cd "$here" && xargs ls) | sort -u | wc -l)
check "all five of them, each once" test "$shown" -eq 5
here=$photos
check "paths from within the folder" prints 0 ' 1.bmp' clip_search query --index ../e.index \
    --text dog --model "$folder/run" --top 9
check "--images . is the same" json '"count":5,"added":0,.*"unchanged":5' \
    index ../e.index --images .
under() { # under COUNT FOLDER...
    run 0 clip_search query --index "$folder/e.index" --model "$folder/run" --text dog --top 9 \
        --under "${@:2}" && [ "$(wc -l <"$folder/out")" -eq "$1" ]
}
check "--under a folder from here" under 1 sub
check "--under ." under 5 .
here=$folder
for spelling in photos/sub ./photos/sub photos//sub/ "$photos/sub" photos/sub/../sub; do
    check "--under $spelling" under 1 "$spelling"
done
for spelling in . ./photos "$photos" photos/../photos/; do
    rm "$photos/2.bmp"
    check "a deletion is noticed under $spelling" json '"count":[0-9]*,.*"removed":1,' \
        index e.index --images "$spelling"
    bitmap "image 2" >"$photos/2.bmp"
    check "and what came back" run 0 index e.index --images photos
done
here=$photos
check "an index begun within" json '"count":5,"added":5' index ../f.index --images .
check "./ is the same" json '"added":0,.*"unchanged":5' index ../f.index --images ./
rm "$photos/1.bmp" "$photos/sub/4.bmp"
check "deletions are noticed in ." json '"count":3,.*"removed":2' index ../f.index --images .
bitmap "image 1" >"$photos/1.bmp"
bitmap "image 4" >"$photos/sub/4.bmp"
here=$folder

# ---- upright ----
# The same JPEG with orientation 6 and with 1: as stored they are one image, upright they are not.
phone=$folder/phone
mkdir "$phone"
cp "$images/jpeg_exif6_45x37.jpg" "$phone/o6.jpg"
{ head -c 49 "$phone/o6.jpg"; printf '\1'; tail -c +51 "$phone/o6.jpg"; } >"$phone/o1.jpg"
rows() { # rows OPTION...: are the rows of both files equal?
    local file
    for file in o1 o6; do
        "$build/clip_embed" --model "$folder/run" --images "$phone/$file.jpg" --quiet \
            --output "$folder/$file.npy" "$@" >/dev/null || return 2
    done
    cmp -s "$folder/o1.npy" "$folder/o6.npy"
}
check "as stored they are equal" rows
check "also where that is said" rows --as-stored
check "upright they are not" run 1 rows --upright
check "one of both" says 2 'not both' clip_embed --model run --images phone --output x.npy \
    --upright --as-stored
printf 'filepath,title\n' >"$folder/turned.csv"
for i in 1 2 3 4; do echo "$images/jpeg_exif6_45x37.jpg,image $i" >>"$folder/turned.csv"; done
trained() { # trained NAME ARGUMENTS...: the losses of a short run
    clip_train --config "$folder/tiny.ini" --output "$folder/$1" --quiet "${@:2}" \
        --set data.train_data="$folder/turned.csv" --set train.steps=1 --set train.batch_size=2 \
        2>"$folder/err" && grep -o '"loss":[0-9.]*' "$folder/$1/log.jsonl"
}
differ() { [ -n "$1" ] && [ -n "$2" ] && [ "$1" != "$2" ]; }
check "a model is trained on other pixels if they are upright" differ "$(trained lying)" \
    "$(trained standing --upright)"
check "clip_data takes both options, one at a time" run 0 clip_data preprocess --as-stored \
    --output p.safetensors "$images/jpeg_exif6_45x37.jpg"
check "... and check too" says 2 'not both' clip_data check turned.csv --upright --as-stored
check "an index is upright" json '"count":2,.*"upright":true' index u.index --images phone
check "and stays so" json '"unchanged":2,.*"upright":true' index u.index --images phone --upright
check "an image of it finds itself" prints 0 '1.0000  phone/o6.jpg' clip_search query \
    --index u.index --model run --image phone/o6.jpg --top 1
check "it takes no others" says 1 'turned upright; leave --as-stored out' \
    index u.index --images phone --as-stored
check "as stored where that is said" json '"count":2,.*"upright":false' \
    index s.index --images phone --as-stored
check "which it remembers" json '"unchanged":2,.*"upright":false' index s.index --images phone
sed -i 's/"upright": *false, *//' "$folder/s.index"
check "an index from before is as stored" json '"unchanged":2,.*"upright":false' \
    index s.index --images phone
check "it takes no upright ones" says 1 'as they are stored; leave --upright out' \
    index s.index --images phone --upright
check "unless it is started over" json '"count":2,.*"upright":true' \
    index s.index --images phone --upright --force

plan
