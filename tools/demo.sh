#!/bin/sh
# The demo: draws a data set, trains configs/small.ini on it, and shows what the model has learned.
# Run by `make demo`.
set -eu
cd "$(dirname "$0")/.."
build=${BUILD:-build}
set_folder=runs/shapes
run=runs/small

say() { printf '\n== %s\n' "$*"; }

# percent FOLDER CLASSES: zero-shot accuracy, with one decimal
percent() {
    "$build/clip_eval" zeroshot --model "$run" --images "$1" --classes "$2" \
        --templates "$set_folder/templates.txt" --quiet --json >"$run/zeroshot.json"
    sed -n 's/.*"acc1": *\([0-9.e-]*\).*/\1/p' "$run/zeroshot.json" |
        awk '{printf "%.1f", 100 * $1}'
}

if [ ! -f "$set_folder/done" ]; then
    say "drawing images of coloured shapes into $set_folder"
    "$build/clip_data" shapes --output "$set_folder"
    touch "$set_folder/done"
fi

say "training configs/small.ini into $run"
"$build/clip_train" --config configs/small.ini --output "$run" --resume

say "retrieval on images it has not seen"
"$build/clip_eval" retrieval --model "$run" --data "$set_folder/val.csv" --quiet

say "one new image and a few labels"
image=$(find "$set_folder/zeroshot_seen" -path '*green_circle*' -name '*.png' | sort | head -n 1)
"$build/clip_eval" classify --model "$run" --template 'a {}' --image "$image" \
    'green circle' 'red circle' 'green square' 'blue star'

say "finding images by words"
rm -f "$run/photos.index"
"$build/clip_search" index --model "$run" --images "$set_folder/zeroshot_unseen" \
    --output "$run/photos.index" --quiet
"$build/clip_search" query --index "$run/photos.index" --text 'a purple ring' --top 3

say "the run"
echo "log            $run/log.jsonl"
echo "configuration  $run/config.ini"
echo "weights        $run/best.h5 $run/last.h5"
seen=$(percent "$set_folder/zeroshot_seen" "$set_folder/classes_48.txt")
unseen=$(percent "$set_folder/zeroshot_unseen" "$set_folder/classes_12.txt")
echo "zero-shot accuracy: $seen % (48 classes)"
echo "never-seen pairs: $unseen % (12 classes)"
