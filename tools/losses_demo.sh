#!/bin/sh
# What hard negatives, a teacher and the losses are for, each by two or three short trainings on the
# drawn shapes that differ in it alone. Needs runs/shapes and runs/small (make demo). Each training
# goes on where it stopped. docs/fine-tuning.md
#   tools/losses_demo.sh negatives|teacher|losses [STEPS]        (STEPS: 300)
set -eu
cd "$(dirname "$0")/.."
build=${BUILD:-build}
part=${1:-negatives}
steps=${2:-300}
shapes=${SHAPES:-runs/shapes}
small=${SMALL:-runs/small}
runs=runs/losses-$part-$steps
mkdir -p "$runs"
train() {
    "$build/clip_train" --config configs/small.ini --set train.steps="$steps" --resume --quiet \
        --set data.images_root="$shapes" --set data.val_data= --set train.report=false \
        --set data.tokenizer="$shapes/tokenizer.txt" --set train.save_every="$steps" "$@"
}
field() { sed "s/.*\"$1\": *\([0-9.e-]*\).*/\1/"; }
accuracy() { # accuracy MODEL: of 2,160 new pictures of one object among 48 names
    "$build/clip_eval" zeroshot --model "$1" --images "$shapes/zeroshot_seen" --quiet --json \
        --classes "$shapes/classes_48.txt" --templates "$shapes/templates.txt" | field acc1
}

case $part in
negatives)
    # Pairs of objects, with a caption in which they have changed sides or colours; and the same of
    # other pictures, to be asked about.
    test=$runs/test
    [ -e "$test/train.csv" ] || "$build/clip_data" shapes --output "$test" --seed 1 --count 4000
    awk -f tools/wrong_captions.awk "$test/train.csv" >"$test/relations.tsv"
    awk -f tools/wrong_captions.awk "$shapes/train.csv" >"$runs/relations.tsv"
    pairs="--init $small --set data.train_data=$runs/relations.tsv --set optim.lr=5e-4"
    # shellcheck disable=SC2086
    train $pairs --output "$runs/without"
    # shellcheck disable=SC2086
    train $pairs --set data.csv_negative_key=wrong --output "$runs/with"
    for model in "$small" "$runs/without" "$runs/with"; do
        "$build/clip_eval" retrieval --model "$model" --data "$test/relations.tsv" \
            --csv-negative-key wrong --quiet --json >"$runs/found.json"
        echo "$model: caption before its hard negative $(field negative_accuracy \
            <"$runs/found.json"), recall@10 $(field 'image_retrieval_recall@10' \
            <"$runs/found.json"), one object named $(accuracy "$model")"
    done
    ;;
teacher)
    # A student of half the teacher's width.
    [ -e "$runs/teacher.h5" ] || "$build/clip_embed" --model "$small" --pairs "$shapes/train.csv" \
        --output "$runs/teacher.h5"
    student="--set data.train_data=$shapes/train.csv --set model.vision_width=64
        --set model.vision_heads=2 --set model.text_width=64 --set model.text_heads=2"
    # shellcheck disable=SC2086
    train $student --output "$runs/alone"
    # shellcheck disable=SC2086
    train $student --set train.teacher_embeddings="$runs/teacher.h5" --output "$runs/taught"
    for model in "$small" "$runs/alone" "$runs/taught"; do
        echo "$model: named among 48 $(accuracy "$model")"
    done
    ;;
losses)
    pairs="--set data.train_data=$shapes/train.csv"
    # shellcheck disable=SC2086
    train $pairs --set train.multi_positive=false --output "$runs/one-positive"
    # shellcheck disable=SC2086
    train $pairs --output "$runs/multi-positive"
    # shellcheck disable=SC2086
    train $pairs --set train.loss=siglip --output "$runs/siglip"
    for model in "$runs/one-positive" "$runs/multi-positive" "$runs/siglip"; do
        echo "$model: named among 48 $(accuracy "$model")"
    done
    ;;
*)
    echo "tools/losses_demo.sh: the part is negatives, teacher or losses, not $part" >&2
    exit 2
    ;;
esac
