#!/bin/sh
# What hard negatives, a teacher and the losses are for: short trainings on the drawn shapes that
# differ in it alone. One line per training; what it measures stands above it. Each goes on where it
# stopped. Needs runs/shapes and runs/small (make demo). docs/fine-tuning.md
#   tools/losses_demo.sh negatives|teacher|repeats|batches|data [SEED [TRAINING]]
# SEED: 0. TRAINING: one of the part's, by the name that its line begins with; else all of them.
# data: draws what all parts need and no more.
set -eu
cd "$(dirname "$0")/.."
build=${BUILD:-build}
part=${1:-negatives}
seed=${2:-0}
only=${3:-}
shapes=runs/shapes
small=${SMALL:-runs/small}
runs=runs/losses

# train NAME OPTION...: unless another one was asked for, which is status 1; the model is $model.
train() {
    [ -z "$only" ] || [ "$only" = "$1" ] || return 1
    name=$1
    model=$runs/$name-$seed
    shift
    begin=$(date +%s)
    "$build/clip_train" --config configs/small.ini --resume --quiet --set train.seed="$seed" \
        --set data.images_root="$shapes" --set data.val_data= --set train.report=false \
        --set data.tokenizer="$shapes/tokenizer.txt" --set train.save_every=50% \
        --set train.output="$model" "$@" >"$model.out" || exit 1
    seconds=$(($(date +%s) - begin))
}
percent() { sed "s/.*\"$1\": *\([0-9.e-]*\).*/\1/" | awk '{printf " %.1f %%", 100 * $1}'; }
named() { # of 2,160 new images of one object, by 48 names
    "$build/clip_eval" zeroshot --model "$1" --images "$shapes/zeroshot_seen" --quiet --json \
        --classes "$shapes/classes_48.txt" --templates "$shapes/templates.txt" | percent acc1
}
preferred() { # how often a new image's caption is preferred to its wrong one, by kinds
    for kind in swap form colour side; do
        "$build/clip_eval" retrieval --model "$1" --data "$runs/test/$kind.tsv" --quiet --json \
            --csv-negative-key wrong | percent negative_accuracy
    done
}
all() { echo "$(preferred "$1") |$(named "$1")"; }
show() { echo "$name, seed $seed:$("$1" "$model") | $seconds s"; } # show MEASURE

# Images of two objects with captions in which the colours have changed places, and others with
# wrong captions of every kind to be asked about; a teacher's embeddings of the first 1,000 and
# 4,000 images; images of 36 classes, 240 each, and phrases about them.
draw_pairs() {
    [ ! -e $runs/two/swap.tsv ] || return 0
    "$build/clip_data" shapes --output $runs/two --seed 1 --count 40000 --two-objects 100 --quiet
    "$build/clip_data" shapes --output $runs/test --seed 2 --count 2000 --two-objects 100 --quiet
    for kind in swap form colour side; do
        awk -v kind=$kind -f tools/wrong_captions.awk $runs/test/train.csv >$runs/test/$kind.tsv
    done
    awk -v kind=swap -f tools/wrong_captions.awk $runs/two/train.csv >$runs/two.tsv
    mv $runs/two.tsv $runs/two/swap.tsv
}
ask_teacher() {
    for images in 1000 4000; do
        [ ! -e $runs/teacher-$images.h5 ] || continue
        head -n $((4 * images + 1)) $shapes/train.csv >$runs/train-$images.csv
        "$build/clip_embed" --model "$small" --pairs $runs/train-$images.csv --quiet \
            --images-root $shapes --output $runs/teacher-$images.h5
    done
}
draw_classes() {
    [ ! -e $runs/classes.tar ] || return 0
    for s in 3 4 5 6; do
        "$build/clip_data" shapes --output $runs/draw$s --seed $s --count 1 --quiet
    done
    (cd $runs && tar -cf classes.part --transform 's|draw\(.\)/[^/]*/\([^/]*\)/|\2/\1-|' \
        draw?/zeroshot_seen)
    printf '%s\n' '{}' 'a {}' 'one {}' 'an image of a {}' 'a drawing of a {}' 'there is a {}' \
        'this is a {}' 'you see a {} here' >$runs/phrases.txt
    mv $runs/classes.part $runs/classes.tar
}

mkdir -p "$runs"
case $part in
data)
    draw_pairs >&2
    ask_teacher >&2
    draw_classes >&2
    ;;
negatives)
    # Captions before those whose colours have changed places; before those in which one object has
    # another form, or another colour; or stands on the other side: %. Then one object's names.
    draw_pairs >&2
    pairs="--init $small --set data.tokenizer=model --set data.train_data=$runs/two/swap.tsv
        --set data.images_root=$runs/two --set train.batch_size=16 --set train.steps=2000
        --set optim.lr=3e-4"
    wrong="--set data.csv_negative_key=wrong"
    # shellcheck disable=SC2086
    {
        if train without $pairs; then show all; fi
        if train with $pairs $wrong; then show all; fi
        if train lora $pairs $wrong --set lora.rank=8 --set lora.targets=all \
            --set optim.lr=1e-3; then show all; fi
    }
    if [ -z "$only" ]; then echo "before:$(all "$small")"; fi
    ;;
teacher)
    # A student of half the teacher's width, which sees few images: new ones named, of 48 names.
    ask_teacher >&2
    for images in 1000 4000; do
        student="--set data.train_data=$runs/train-$images.csv --set model.vision_width=64
            --set model.vision_heads=2 --set model.text_width=64 --set model.text_heads=2
            --set train.steps=600"
        # shellcheck disable=SC2086
        {
            if train alone-$images $student; then show named; fi
            if train taught-$images $student \
                --set train.teacher_embeddings=$runs/teacher-$images.h5; then
                show named
            fi
        }
    done
    ;;
repeats)
    # In a batch of 128 each of 36 classes is met three or four times, in other words and images.
    draw_classes >&2
    for loss in infonce siglip; do
        for several in false true; do
            if train $loss-$several --set train.loss=$loss --set train.multi_positive=$several \
                --set data.images_root= --set data.train_data=$runs/classes.tar \
                --set data.class_templates=$runs/phrases.txt --set train.batch_size=128 \
                --set train.steps=250 --set optim.lr=1e-3; then
                show named
            fi
        done
    done
    ;;
batches)
    # 38,400 pairs in small batches and in large ones, lr by the square root of their size.
    for batch in 16:3.5e-4 128:1e-3; do
        lr=${batch#*:} batch=${batch%:*}
        for loss in infonce siglip; do
            if train $loss-$batch --set train.loss=$loss --set train.batch_size="$batch" \
                --set train.steps=$((38400 / batch)) --set optim.lr="$lr" \
                --set data.train_data="$shapes/train.csv"; then
                show named
            fi
        done
    done
    ;;
*)
    echo "tools/losses_demo.sh: the part is negatives, teacher, repeats, batches or data, not" \
        "$part" >&2
    exit 2
    ;;
esac
