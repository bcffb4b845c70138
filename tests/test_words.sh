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

# ---- names on a terminal ----
# A file's name may hold what colours a terminal, turns a line around or begins another. On a
# terminal it is spelled, on stderr always; in a pipe stdout has the name that opens the file.
red=$'a\033[31m\342\200\256\302\233.bmp' # U+202E and U+009B in UTF-8
plain='a\x1b[31m\u202e\u009b.bmp'
mkdir "$folder/odd"
cp "$folder/photos/1.bmp" "$folder/odd/$red"
printf 'no image' >"$folder/odd/bad$red"
printf 'filepath,title\n%s,red\n%s,red\n%s,red\n' "odd/$red" "odd/$red" "odd/none$red" \
    >"$folder/odd.csv"
# stderr_spells CODE COMMAND...: the names on stderr are spelled.
stderr_spells() {
    says "$1" "$plain" "${@:2}" || return 1
    local LC_ALL=C
    [[ $err != *[$'\001'-$'\011\013'-$'\037\177']* && $err != *$'\342\200\256'* ]]
}
index_odd() { clip_search index --model run --images odd --output odd.index --quiet; }
check "a warning spells a name" stderr_spells 1 index_odd
check "an error does" stderr_spells 1 clip_eval classify --model run --image "none$red" red
check "wrong usage does" stderr_spells 2 clip_eval "$red"
check "... of an option" stderr_spells 2 clip_eval classify "--$red"
check "... of an option's value" stderr_spells 2 clip_search query --index odd.index --top "$red"
check "... of a word" stderr_spells 2 clip_train "$red"
check "a pipe gets the name as it is" prints 0 "  odd/$red" \
    clip_search query --index odd.index red --quiet
check "a pipe gets a caption as it is" prints 0 "${red%.bmp}  100" clip_eval classify --model run \
    "${red%.bmp}" --image "odd/$red" --quiet

# on_terminal COMMAND...: what it prints on one, with the terminal's own ends of lines.
on_terminal() {
    local words
    printf -v words '%q ' "$@"
    (cd "$folder" && SHELL=$BASH script -qec "$words" /dev/null) </dev/null >"$folder/terminal" 2>&1
    sed -i $'s/\r$//; s/\r\033\\[K//g' "$folder/terminal" # a live line is erased
    out=$(<"$folder/terminal")
}
spells() {
    on_terminal "$@"
    out_has "${plain#a??1b}" || return 1
    local LC_ALL=C
    [[ $out != *[$'\001'-$'\011\013'-$'\037\177']* && $out != *$'\342\200\256'* ]]
}
if command -v script >/dev/null; then
    check "a query's paths are spelled on a terminal" spells clip_search query --index odd.index red
    check "... in JSON too" spells clip_search query --index odd.index red --json
    check "a check's samples are" spells clip_data check odd.csv --tiny 4
    check "labels and images are" spells clip_eval classify --model run "${red%.bmp}" \
        --image "odd/$red"
    check "a matrix is" spells clip_eval similarity --model run --image "odd/$red" --text "$red"
    check "what is passed over is" spells clip_embed --model run --images odd --output odd.npy
    check "an output's name is" spells clip_embed --model run --texts text.txt --output "$red.npy"
    check "what is read stays" spells clip_eval similarity --model run --image photos/1.bmp \
        --text "größer 中文 🙂 $red"
    check "... to the letter" out_has 'größer 中文 🙂 a'
else
    skip "names on a terminal" "no script here"
fi
plan
