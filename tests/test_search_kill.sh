#!/bin/bash
# Kills clip_search index again and again (kill -9, at moments that a fixed seed draws) and looks
# each time: the index is whole, nothing that was in it is lost, and the next run goes on where the
# last list stands. In the end the index answers as one that was never interrupted.
#     KILLS=100 tests/test_search_kill.sh          (make test-kill)
. tests/shell.sh
kills=${KILLS:-4}
program() {
    "$build/$1" "${@:2}" --quiet 2>"$folder/err" && return
    echo "# $*: $(<"$folder/err")"
    return 1
}
number() { sed -n "s/.*\"$1\":\([0-9]*\).*/\1/p"; }

# ---- a model and images ----
mkdir "$folder/photos"
total=160
for ((i = 0; i < total; i++)); do
    bitmap "image $i, and its number again: $((i * 7919))" >"$folder/photos/$i.bmp"
done
printf 'a dog\na red circle\na blue square\na cat\n' >"$folder/texts.txt"
printf 'filepath,title\n' >"$folder/pairs.csv"
find "$folder/photos" -name '*.bmp' | sort | head -n 8 |
    awk '{print $0 ",a red circle " NR}' >>"$folder/pairs.csv"
{
    tiny_model
    printf 'image_size = 32\nvision_width = 64\nvision_layers = 2\n'
    tiny_run "$folder/pairs.csv" "$folder/run"
} >"$folder/tiny.ini"
program clip_data tokenizer train --input "$folder/texts.txt" --vocab-size 520 \
    --output "$folder/tokenizer.txt" >/dev/null || exit 1
program clip_train --config "$folder/tiny.ini" >/dev/null || exit 1

index() { # index FILE: as JSON
    program clip_search index --model "$folder/run" --images "$folder/photos" --output "$1" \
        --segment-size 4 --json
}
whole=$folder/whole.index killed=$folder/killed.index
start=${EPOCHREALTIME/[^0-9]/}
index "$whole" >/dev/null || exit 1
duration=$(((${EPOCHREALTIME/[^0-9]/} - start) / 1000)) # milliseconds

# ---- killing ----
# A killed index may be none yet; one that is there is whole, and holds no less than before.
count() {
    [ -e "$killed" ] || { echo 0; return; }
    program clip_search check --index "$killed" --json | number count
}
RANDOM=1
last=0 damaged=0 lost=0 landed=0
for ((k = 0; landed < kills && k < 4 * kills; k++)); do # some end before they are killed
    "$build/clip_search" index --model "$folder/run" --images "$folder/photos" --quiet \
        --output "$killed" --segment-size 4 >/dev/null 2>&1 &
    job=$!
    ms=$((RANDOM % (duration / 2 + 1)))
    sleep "$(printf '0.%03d' $((ms < 1000 ? ms : 999)))"
    kill -9 $job 2>/dev/null && landed=$((landed + 1))
    wait $job 2>/dev/null
    now=$(count)
    if [ -z "$now" ]; then damaged=$((damaged + 1)); continue; fi
    [ "$now" -lt "$last" ] && lost=$((lost + 1))
    last=$now
    # When all are in, begin again.
    if [ "$now" -eq "$total" ]; then rm -rf "$killed" "$killed.d"; last=0; fi
done
check "the index was whole after each of $landed killings" test "$damaged" -eq 0
check "... and nothing was lost" test "$lost" -eq 0
rest=$((total - last))
index "$killed" >"$folder/result"
check "the next run embeds only what is missing" test "$(number embedded <"$folder/result")" \
    -eq "$rest"
check "all images are there" test "$(number count <"$folder/result")" -eq "$total"
for which in whole killed; do
    program clip_search query --index "$folder/$which.index" --text 'a red circle' --top 1000 \
        >"$folder/$which.txt"
done
check "it answers as an index that was never interrupted" cmp "$folder/whole.txt" \
    "$folder/killed.txt"
left=$(find "$folder" -name '*.tmp-*' | wc -l)
listed=$(grep -o '"file"' "$killed" | wc -l)
check "no temporary file is left" test "$left" -eq 0
check "no segment is left that the list does not name" test \
    "$(find "$killed.d" -name 'seg_*' | wc -l)" -eq "$listed"
plan
