#!/bin/bash
# The words that programs print: one of a thing is called one, and names of files say what they are
# without moving the terminal's cursor.
. tests/shell.sh
here=$folder

# ---- one of each ----
# Every program is run on one image, one pair, one text. What they print is gathered, and searched
# for a 1 before the name of several.
mkdir -p "$folder/photos" "$folder/classes/red"
bitmap one >"$folder/photos/1.bmp"
cp "$folder/photos/1.bmp" "$folder/classes/red"
printf 'filepath,title\nphotos/1.bmp,a red circle\n' >"$folder/pair.csv"
printf 'filepath,title\nnone.bmp,a red circle\nphotos/1.bmp,a red circle\n' >"$folder/bad.csv"
printf 'a red circle\n' >"$folder/text.txt"
printf 'a red circle a red circle a red circle a red circle a red circle\n' >"$folder/long.txt"
printf 'red\n' >"$folder/class.txt"
printf 'a {}\n' >"$folder/template.txt"
{
    tiny_model
    printf 'context_length = 8\n'
    tiny_run pair.csv run
    printf '[train]\nbatch_size = 1\nloss = siglip\n'
} >"$folder/tiny.ini"

# one NAME CODE COMMAND...: adds all that it prints to $folder/all.
one() {
    check "$1" run "$2" "${@:3}"
    cat "$folder/out" "$folder/err" >>"$folder/all"
}
one "a tokenizer of one caption" 0 \
    clip_data tokenizer train --input text.txt --vocab-size 520 --output tokenizer.txt
one "a check of one pair" 0 clip_data check pair.csv --tiny 4 --html check.html
one "a check with one bad sample" 1 clip_data check bad.csv --tiny 4 --fix good.csv
one "a pack of one pair" 0 clip_data pack pair.csv --output pair.h5
one "a pack with one bad sample" 0 clip_data pack bad.csv --output bad.h5 --quiet
one "one image prepared" 0 \
    clip_data preprocess --image-size 8 --output pixels.safetensors photos/1.bmp
one "a forecast" 0 clip_train --config tiny.ini --dry-run
one "one step" 0 clip_train --config tiny.ini
one "one step with validation" 0 clip_train --config tiny.ini --output other \
    --set train.val_every=1 --set data.val_data=pair.csv --set train.micro_batch=1
one "two runs compared" 0 clip_train --compare run other --output compared.html
one "one label" 0 clip_eval classify --model run --image photos/1.bmp red
one "one class" 0 clip_eval zeroshot --model run --images classes --classes class.txt \
    --templates template.txt
one "one pair retrieved" 0 clip_eval retrieval --model run --data pair.csv
one "the loss of one pair" 0 clip_eval loss --model run --data pair.csv --batch-size 1
one "one image embedded" 0 clip_embed --model run --images photos --output image.npy
one "one that cannot be read" 1 clip_embed --model run --images photos/1.bmp none.bmp \
    --output image.npy
one "one text embedded" 0 clip_embed --model run --texts text.txt --output text.npy
one "one text cut" 0 clip_embed --model run --texts long.txt --output text.npy
one "one image indexed" 0 clip_search index --model run --images photos --output a.index
one "an index with one image checked" 0 clip_search check --index a.index
one "one text indexed" 0 clip_search index --model run --texts text.txt --output b.index
one "one result" 0 clip_search query --index a.index red
one "an export" 0 clip_export --model run --format open_clip --output exported
one "a batch larger than the data" 2 clip_train --config tiny.ini --set train.batch_size=2 \
    --output none
if [ -x "$build/clip_guide" ]; then
    one "one step of painting" 0 clip_guide --model run --text red --output frames --steps 1
fi
several() {
    sed 's/<[^>]*>/|/g' "$folder"/{all,run/report.html,other/report.html,compared.html,check.html} |
        grep -nE '(^|[^0-9.,/])1 ([a-z-]+ )?[a-z-]+s( |$|[,.;:)])' |
        grep -vE '(^|[^0-9.,/])1 ([a-z]+ )?(is|was|has|as|class)( |$|[,.;:)])'
}
none() { ! several; }
check "no line says 1 of several" none
check "... of enough lines" test "$(wc -l <"$folder/all")" -ge 40
plan
