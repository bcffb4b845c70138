#!/bin/sh
# Fine-tuning against training from scratch at equal steps of one size (so at equal time), and
# WiSE-FT between before and after: a model of drawn shapes tuned to emoji, and one of CIFAR-10's
# captions tuned to Flickr8k. Each training goes on where it stopped. docs/fine-tuning.md
#   tools/finetune_demo.sh shapes|cifar [STEPS]        (STEPS: 200)
set -eu
cd "$(dirname "$0")/.."
build=${BUILD:-build}
task=${1:-shapes}
steps=${2:-200}
data=${CLIP_DATA:-../shared/data}
runs=runs/finetune-$task-$steps
mkdir -p "$runs"

train() { "$build/clip_train" "$@" --resume --quiet; }
# Recall@1 and @10 of a run's best checkpoint.
recall() { sed "s/.*\"image_retrieval_recall@$1\": *\([0-9.]*\).*/\1/" "$runs/recall.json"; }
best() {
    "$build/clip_eval" retrieval --model "$1" --data "$new" --json --quiet >"$runs/recall.json"
    echo "$(recall 1) $(recall 10)"
}

common="--set train.steps=$steps --set train.batch_size=128 --set train.val_every=50%
    --set train.save_every=50% --set train.best_metric=image_retrieval_recall@1
    --set train.multi_positive=true --set optim.lr=1e-3 --set optim.warmup=10%
    --set train.report=false"
case $task in
shapes)
    before=runs/small
    [ -e runs/shapes/done ] || { "$build/clip_data" shapes --output runs/shapes &&
        touch runs/shapes/done; }
    [ -e runs/emoji/train.csv ] || "$build/clip_data" emoji --output runs/emoji
    train --config configs/small.ini --output $before
    new=runs/emoji/val.csv
    config="--config configs/small.ini --set data.train_data=runs/emoji/train.csv
        --set data.val_data=$new --set data.aug_scale_min=0.8"
    old="--images runs/shapes/zeroshot_seen --classes runs/shapes/classes_48.txt
        --templates runs/shapes/templates.txt"
    ;;
cifar)
    before=runs/finetune-cifar10
    clip=$data/clip/bpe_simple_vocab_16e6.txt.gz
    sizes="--config configs/cifar10.ini --set data.tokenizer=$clip --set model.vocab_size=49408
        --set model.context_length=40 --set model.vision_width=128 --set model.vision_layers=4
        --set model.vision_heads=4 --set model.vision_mlp_ratio=2 --set model.text_heads=4
        --set model.text_mlp_ratio=2 --set train.patch_dropout=0.5"
    # shellcheck disable=SC2086
    train $sizes --set train.epochs=3 --set optim.warmup=10% --output $before
    new=$data/flickr8k/val_en.tsv
    config="$sizes --set data.train_data=$data/flickr8k/train_en.tsv --set data.val_data=$new
        --set data.class_templates= --set data.aug_pad=0 --set data.aug_scale_min=0.5
        --set zeroshot.images="
    old="--images $data/cifar10_test.tar --classes configs/cifar10_classes.txt
        --templates configs/cifar10_templates.txt"
    ;;
*)
    echo "tools/finetune_demo.sh: the task is shapes or cifar, not $task" >&2
    exit 2
    ;;
esac

# shellcheck disable=SC2086
{
    train $config $common --output "$runs/scratch"
    train $config $common --init $before --output "$runs/tuned"
    echo "== recall@1 and @10 of pictures by captions, after $steps steps of 128 pairs"
    echo "from scratch  $(best "$runs/scratch")"
    echo "fine-tuned    $(best "$runs/tuned")"
    "$build/clip_eval" interpolate --model $before --model "$runs/tuned" --data "$new" $old \
        --picture "$runs/trade.svg" --output "$runs/mix.h5" --quiet
}
echo "picture $runs/trade.svg, the chosen mix $runs/mix.h5"
