#!/bin/bash
# clip_data as a person runs it: results on stdout, sentences on stderr, exit codes.
. tests/shell.sh

# writes TEXT COMMAND...: succeeds, and stdout is the text, no more.
writes() {
    local wanted=$1 said
    shift
    said=$("$@") || { echo "exit status $?"; return 1; }
    [ "$said" = "$wanted" ] || { printf 'printed: %s\n' "$said"; return 1; }
}
fits_a_screen() { [ "$(clip_data "$@" --help | wc -l)" -le 24 ]; }
tokenize() { printf '%b' "$1" | clip_data tokenize --tokenizer "$folder/t.txt" "${@:2}"; }

printf 'a red dog\r\na red cat\n\na big red dog\n' >"$folder/captions.txt"
printf 'filepath\ttitle\nx.png\ta red dog\ny.png\ta red cat\nz.png\ta big red dog\n' \
    >"$folder/captions.csv"

for command in "" check pack tokenize "tokenizer train" preprocess shapes emoji; do
    # shellcheck disable=SC2086
    check "help of '$command' fits a screen" fits_a_screen $command
done
check "an unknown command is wrong usage" says 2 nonsense clip_data nonsense
check "a missing option is wrong usage" says 2 --output clip_data shapes

check "a tokenizer is trained" json '"captions":3,"skipped":0,"vocab_size":518,"merges":4' \
    clip_data tokenizer train --input "$folder/captions.txt" --vocab-size 518 \
    --output "$folder/t.txt" --json
check "a csv's captions give the same tokenizer" clip_data tokenizer train \
    --input "$folder/captions.csv" --vocab-size 518 --output "$folder/t2.txt"
check "byte for byte" cmp "$folder/t.txt" "$folder/t2.txt"
check "another column's name is asked for" says 1 '"caption"' clip_data tokenizer train \
    --input "$folder/captions.csv" --column caption --vocab-size 518 --output "$folder/t3.txt"
: >"$folder/empty.txt"
check "an empty file has no captions" says 1 "holds no caption" clip_data tokenizer train \
    --input "$folder/empty.txt" --vocab-size 518 --output "$folder/t3.txt"
check "a file that is not there is named" says 1 "$folder/none" clip_data tokenizer train \
    --input "$folder/none" --vocab-size 518 --output "$folder/t3.txt"
check "too small a vocabulary is wrong usage" says 2 --vocab-size clip_data tokenizer train \
    --input "$folder/captions.txt" --vocab-size 5 --output "$folder/t3.txt"

a=$((256 + 64)) # 'a' with the end of a word: the bytes '!' to '~' come first
check "a line gives a list with both ends" writes "[516,$a,517]" tokenize 'a\n'
check "also without a newline at the end" writes "[516,$a,517]" tokenize 'a'
check "an empty line gives the two ends" writes "[516,517]" tokenize '\n'
check "no line gives nothing" writes "" tokenize ''
check "one list per line" writes "[516,$a,517]
[516,$a,$a,517]" tokenize 'a\na a\n'
check "a long one is cut when asked" writes "[516,$a,517]" tokenize 'a a a a\n' --context-length 3
check "--json gives one object" writes "{\"ids\":[[516,$a,517],[516,517]]}" tokenize 'a\n\n' --json
check "what is not UTF-8 is named by its line" says 1 "line 2" tokenize 'a\n\xff\n'
check "a cut tokenizer is refused" says 1 cut.txt bash -c \
    "head -c 40 '$folder/t.txt' >'$folder/cut.txt'
     echo a | clip_data tokenize --tokenizer '$folder/cut.txt'"

check "the shapes set is drawn" json '"train_images":30,"train_pairs":120' clip_data shapes \
    --output "$folder/shapes" --count 30 --image-size 16 --quiet --json
check "its csv is good" json '"samples":120,"good":120' clip_data check \
    "$folder/shapes/train.csv" --tokenizer "$folder/shapes/tokenizer.txt" --json
check "an image size that cannot be is wrong usage" says 2 --image-size clip_data shapes \
    --output "$folder/s" --image-size 4

png=$folder/shapes/images/train_000/000000.png
check "images are preprocessed" json '"count":2,"image_size":8' clip_data preprocess \
    --image-size 8 --output "$folder/p.safetensors" --json "$png" "$png"
check "the file holds both tensors" grep -q '"pixel_values".*"shape":\[2,3,8,8\]' \
    "$folder/p.safetensors"
check "a broken image is named" says 1 captions.txt clip_data preprocess --image-size 8 \
    --output "$folder/q.safetensors" "$png" "$folder/captions.txt"
check "and nothing is written" test ! -e "$folder/q.safetensors"
check "no image is wrong usage" says 2 image clip_data preprocess --output "$folder/q"

printf 'filepath\ttitle\n%s\ta\nnone.png\tb\n' "$png" >"$folder/bad.csv"
check "a bad sample is counted" \
    json '"samples":2,"good":1' clip_data check "$folder/bad.csv" --json --max-bad-fraction 0.5
check "more bad ones than max_bad_fraction are a failure" says 1 "1 bad" clip_data check \
    "$folder/bad.csv"
check "... above 0.4 too" says 1 "1 bad" clip_data check "$folder/bad.csv" --max-bad-fraction 0.4
check "and named" bash -c "clip_data check '$folder/bad.csv' | grep -q none.png"
check "--strict makes it a failure" says 1 "1 bad" clip_data check "$folder/bad.csv" --strict \
    --max-bad-fraction 1
check "data that is not there is named" says 1 "$folder/no.csv" clip_data check "$folder/no.csv"

mkdir -p "$folder/classes/red_dog"
cp "$png" "$folder/classes/red_dog/a.png"
check "class folders need no templates to be looked at" json '"samples":1,"good":1.*"captions":1,' \
    clip_data check "$folder/classes" --json
check "nor does a tar of them" bash -c "tar -cf '$folder/classes.tar' -C '$folder/classes' \
    red_dog &&
    clip_data check '$folder/classes.tar' --strict"

cp "$png" "$folder/copy.png"
printf 'filepath\ttitle\n%s\ta\ncopy.png\tb\n%s\t \n%s\tc\n' "$png" "$png" \
    "$folder/shapes/images/train_000/000001.png" >"$folder/faults.tsv"
printf '{"image": "%s", "caption": "c"}\n' "$folder/shapes/images/train_000/000002.png" \
    >"$folder/val.jsonl"
mkdir "$folder/lists"
check "the report is one object, with what is shared and what was written" json \
    '"duplicate_images":1.*"leaked_captions":1.*"kept":2,"bad":1,"tiny":0,"copies":1' \
    clip_data check "$folder/faults.tsv" --tiny 4 --against "$folder/val.jsonl" \
    --html "$folder/lists/report.html" --fix "$folder/lists/clean.csv" --json --max-bad-fraction 1
check "the page is there" grep -q '</html>' "$folder/lists/report.html"
check "the clean list is good" json '"samples":2,"good":2,"bad_count":0' \
    clip_data check "$folder/lists/clean.csv" --json
check "a clean list has to be a csv" says 2 ".csv or .tsv" clip_data check \
    "$folder/faults.tsv" --fix "$folder/lists/clean.txt"

check "a set is packed" json '"samples":120,"images":30,"bad":0' clip_data pack \
    "$folder/shapes/train.csv" --output "$folder/shapes.h5" --image-size 12 --quiet --json
check "and is a data set" json '"format":"packed","samples":120,"good":120' clip_data check \
    "$folder/shapes.h5" --tokenizer "$folder/shapes/tokenizer.txt" --tiny 4 --json
check "its images have no paths for a list" says 2 "(packed) have none; clip_data pack" \
    clip_data check "$folder/shapes.h5" --fix "$folder/lists/packed.csv"
tar -cf "$folder/classes.tar" -C "$folder/shapes" zeroshot_seen
check "nor have those in a tar" says 2 "(class folders) have none; clip_data pack" clip_data check \
    "$folder/classes.tar" --fix "$folder/lists/tar.csv"
unpacked() { (mkdir "$folder/images" && tar -xf "$folder/classes.tar" -C "$folder/images"); }
check "... but unpacked" unpacked
check "... they have" json '"kept":' clip_data check "$folder/images" --tiny 4 \
    --fix "$folder/lists/tar.csv" --json
mkdir "$folder/shard"
cp "$folder/shapes/images/train_000/000001.png" "$folder/shard/1.png"
echo a >"$folder/shard/1.txt"
tar -cf "$folder/shard.tar" -C "$folder/shard" 1.png 1.txt
check "of shards pack leaves the bad ones out" says 2 "clip_data pack leaves" clip_data check \
    "$folder/shard.tar" --fix "$folder/lists/shard.csv"
check "class folders want templates by the option's name" says 1 "--class-templates" \
    clip_data pack "$folder/classes.tar" --output "$folder/classes.h5"
check "a packed set ends in .h5" says 2 ".h5" clip_data pack "$folder/shapes/train.csv" \
    --output "$folder/shapes.hdf5"

check "what preparing images costs is measured" json '"images_per_second":[0-9].*"bad":0' \
    clip_bench loader --data "$folder/shapes.h5" --image-size 8 --pictures 9 \
    --rounds 1 --json

printf '[model]\npreset = vit-b-32\n' >"$folder/model.ini"
check "a precision that is none is wrong usage" says 2 "clip_bench step: --precision fp16" \
    clip_bench step --config "$folder/model.ini" --precision fp16

# ---- wrong captions of the losses' demo ----
check "images of two objects alone are drawn" json '"train_pairs":400' clip_data shapes \
    --output "$folder/two" --count 100 --image-size 16 --two-objects 100 --quiet --json
# wrong_differ KIND WORDS: of every row as many words changed, and there are rows.
wrong_differ() {
    awk -v kind="$1" -f tools/wrong_captions.awk "$folder/two/train.csv" >"$folder/wrong.tsv"
    awk -F'\t' -v want="$2" 'NR == 1 {next}
        {n = split($2, a, " "); m = split($3, b, " "); d = 0
         for (i = 1; i <= n; i++) d += a[i] != b[i]
         if (n != m || d != want) {print "# " $0; bad = 1}}
        END {if (NR < 20) {print "# " NR " rows"; bad = 1} exit bad}' "$folder/wrong.tsv"
}
check "a wrong caption has another colour" wrong_differ colour 1
check "... or another form" wrong_differ form 1
check "... or another side" wrong_differ side 1
check "... or its colours have changed places" wrong_differ swap 2
swapped() {
    ! awk -F'\t' 'NR > 1 {n = split($2, a, " "); split($3, b, " "); x = y = ""
        for (i = 1; i <= n; i++) if (a[i] != b[i]) {x = x a[i] " "; y = b[i] " " y}
        gsub(",", "", x); gsub(",", "", y); if (x != y) print "# " $0}' "$folder/wrong.tsv" | grep .
}
check "... which stay the same two" swapped
unseen='red_circle yellow_square green_triangle cyan_star blue_cross purple_ring'
unseen="$unseen blue_circle purple_square white_triangle black_star red_cross yellow_ring"
only_seen() { # no wrong caption has one of the pairs that no right one has
    local pair
    for pair in $unseen; do
        if cut -f3 "$folder/wrong.tsv" | grep "${pair/_/ }"; then return 1; fi
    done
    cut -f1 "$folder/shapes/classes_12.txt" | tr ' ' _ | sort |
        cmp - <(tr ' ' '\n' <<<"$unseen" | sort)
}
check "... and make no pair that is never drawn" only_seen

mkdir "$folder/debs"
check "emoji without its packages says what to do" says 1 "apt-get download" clip_data emoji \
    --output "$folder/emoji" --debs "$folder/debs" --quiet
check "... and leaves no folder behind" test ! -e "$folder/emoji"
printf '#!/bin/sh\nexit 100\n' >"$folder/debs/apt-get"
chmod +x "$folder/debs/apt-get"
check "... nor when they cannot be fetched" says 1 "could not be fetched" \
    env "PATH=$folder/debs:$PATH" clip_data emoji --output "$folder/emoji" --quiet
check "... none at all" test ! -e "$folder/emoji"
mkdir "$folder/emoji"
check "a folder that was there" says 1 "could not be fetched" \
    env "PATH=$folder/debs:$PATH" clip_data emoji --output "$folder/emoji" --quiet
check "... stays" test -d "$folder/emoji" -a -z "$(ls -A "$folder/emoji")"
check "a full disk is an error" says 1 "clip_data" bash -c \
    "echo a | clip_data tokenize --tokenizer '$folder/t.txt' >/dev/full"

plan
