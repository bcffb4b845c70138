#!/bin/sh
# Fine-tuning against training from scratch at equal time, and WiSE-FT between before and after: a
# model of drawn shapes tuned to emoji, and one of CIFAR-10's captions tuned to Flickr8k: all
# weights (gentle: at a lower lr), LiT with the last blocks unlocked, LoRA, and with old pairs mixed
# in, a quarter of all.
# Each training goes on where it stopped; each task takes less than half an hour on two cores.
# docs/fine-tuning.md
#   tools/finetune_demo.sh shapes|cifar [SEED [TRAINING]]    (seed 0; by name, else all of them)
set -eu
cd "$(dirname "$0")/.."
build=${BUILD:-build}
task=${1:-shapes}
seed=${2:-0}
only=${3:-}
data=${CLIP_DATA:-../shared/data}
runs=runs/finetune-$task
mkdir -p "$runs"

train() { "$build/clip_train" "$@" --resume --quiet; }
field() { sed -n "s/.*\"$1\": *\([0-9.e-]*\).*/\1/p"; }
percent() { awk -v x="$1" 'BEGIN {printf "%.1f", 100 * x}'; }
# One line per validation: step, recall@1 and @10 of images by captions.
curve() {
    while read -r line; do
        step=$(printf '%s' "$line" | field step)
        at1=$(printf '%s' "$line" | field image_retrieval_recall@1)
        at10=$(printf '%s' "$line" | field image_retrieval_recall@10)
        printf '  step %4s  %5s %%  %5s %%\n' "$step" "$(percent "$at1")" "$(percent "$at10")"
    done <"$1/metrics.jsonl"
}

# One line per mix: its scores, and how much that is of the old task's score before and of what the
# new one gained by tuning, in recall@1 and @10.
trades() {
    tr '{' '\n' | awk '
    function value(key) {
        if (!match($0, "\"" key "\": *[0-9.e-]+")) return -1
        return substr($0, RSTART + length(key) + 3, RLENGTH - length(key) - 3)
    }
    function share(now, before, after) {
        return after == before ? 0 : 100 * (now - before) / (after - before)
    }
    value("new") >= 0 {alpha[++n] = value("alpha")}
    value("image_retrieval_recall@10") >= 0 {
        at1[n] = value("image_retrieval_recall@1")
        at10[n] = value("image_retrieval_recall@10")
    }
    value("acc1") >= 0 {old[n] = value("acc1")}
    END {
        print "  alpha       @1      @10      old |  kept  gained, @1   @10"
        for (i = 1; i <= n; i++)
            printf "  %5.2f  %5.1f %%  %5.1f %%  %5.1f %% | %3.0f %%       %3.0f %% %3.0f %%\n",
                alpha[i], 100 * at1[i], 100 * at10[i], 100 * old[i], share(old[i], 0, old[1]),
                share(at1[i], at1[1], at1[n]), share(at10[i], at10[1], at10[n])
    }'
}

common="--set train.batch_size=128 --set train.val_every=25% --set train.save_every=50%
    --set train.best_metric=image_retrieval_recall@1 --set train.multi_positive=true
    --set optim.lr=1e-3 --set optim.warmup=10% --set train.report=false
    --set train.seed=$seed"
case $task in
shapes)
    # The older model's vocabulary has to know the new captions' words, as CLIP's own would.
    before=runs/finetune-shapes-before
    words=runs/finetune-words.txt
    [ -e runs/shapes/train.csv ] || "$build/clip_data" shapes --output runs/shapes
    [ -e runs/emoji/train.csv ] || "$build/clip_data" emoji --output runs/emoji
    if [ ! -e "$words" ]; then
        cut -f2 runs/shapes/train.csv runs/emoji/train.csv >runs/finetune-captions.txt
        "$build/clip_data" tokenizer train --input runs/finetune-captions.txt --vocab-size 4096 \
            --output "$words"
    fi
    sizes="--config configs/small.ini --set data.tokenizer=$words --set model.vocab_size=4096"
    # shellcheck disable=SC2086
    train $sizes --output "$before"
    new=runs/emoji/val.csv
    config="$sizes --set data.train_data=runs/emoji/train.csv --set data.val_data=$new
        --set data.aug_scale_min=0.8"
    old="--images runs/shapes/zeroshot_seen --classes runs/shapes/classes_48.txt
        --templates runs/shapes/templates.txt"
    mixed=$runs/mixed.tsv # every ninth of the shapes' 80,000 pairs beside the emoji's 26,664
    [ -e "$mixed" ] || {
        sed 's|^train/|../emoji/train/|' runs/emoji/train.csv
        awk 'NR > 1 && NR % 9 == 0 {print "../shapes/" $0}' runs/shapes/train.csv
    } >"$mixed"
    ;;
cifar)
    before=runs/finetune-cifar-before
    clip=$data/clip/bpe_simple_vocab_16e6.txt.gz
    sizes="--config configs/cifar10.ini --set data.tokenizer=$clip --set model.vocab_size=49408
        --set model.context_length=40 --set model.vision_width=128 --set model.vision_layers=4
        --set model.vision_heads=4 --set model.vision_mlp_ratio=2 --set model.text_heads=4
        --set model.text_mlp_ratio=2 --set train.patch_dropout=0.5"
    if [ ! -e runs/cifar10 ]; then # every fifth image: to mix in, and to measure what is kept
        mkdir -p runs/cifar10.part
        for half in train test; do
            list=runs/cifar10.part/$half.txt
            tar -tf "$data/cifar10_$half.tar" | awk -F/ 'NF == 3 && NR % 5 == 0' >"$list"
            tar -xf "$data/cifar10_$half.tar" -C runs/cifar10.part -T "$list"
        done
        mv runs/cifar10.part runs/cifar10
    fi
    # shellcheck disable=SC2086
    train $sizes --set train.steps=1170 --set train.batch_size=128 --set optim.warmup=10% \
        --set train.val_every=50% --set train.save_every=50% \
        --set zeroshot.images=runs/cifar10/test --output $before
    # A data set is of one form, so CIFAR-10's images get a row each, and one caption per class:
    # images of a class are then each other's positives, as class folders are.
    mixed=$runs/mixed.tsv # 10,000 of CIFAR-10's images beside Flickr8k's 30,000 pairs
    photos=$(cd "$data/flickr8k" && pwd)
    {
        sed "s|^images/|$photos/images/|" "$data/flickr8k/train_en.tsv"
        awk -F/ '{print "../cifar10/" $0 "\ta photo of a " $2}' runs/cifar10/train.txt
    } >"$mixed"
    new=runs/flickr8k-val.h5 # as pixels: measured some twenty times
    [ -e $new ] || "$build/clip_data" pack "$data/flickr8k/val_en.tsv" --output $new \
        --image-size 32 --quiet
    config="$sizes --set data.train_data=$data/flickr8k/train_en.tsv --set data.val_data=$new
        --set data.fast_decode=true
        --set data.class_templates= --set data.aug_pad=0 --set data.aug_scale_min=0.5
        --set zeroshot.images="
    old="--images runs/cifar10/test --classes configs/cifar10_classes.txt
        --templates configs/cifar10_templates.txt"
    ;;
*)
    echo "tools/finetune_demo.sh: the task is shapes or cifar, not $task" >&2
    exit 2
    ;;
esac

# tune NAME STEPS OPTION...: trains from the older model; then the new curve, what it costs, and
# what mixing the weights gives back. Not where another training was asked for.
tune() {
    [ -z "$only" ] || [ "$only" = "$1" ] || return 0
    after=$runs/$1-$seed steps=$2
    shift 2
    begin=$(date +%s)
    # shellcheck disable=SC2086
    train $config $common --set train.steps="$steps" --init "$before" --output "$after" "$@"
    seconds=$(($(date +%s) - begin))
    echo "== $after, $steps steps, $seconds s: recall@1, @10 of images by captions"
    curve "$after"
    # shellcheck disable=SC2086
    "$build/clip_eval" interpolate --model "$before" --model "$after" --data "$new" $old \
        --alphas 0,0.3,0.35,0.4,0.5,0.6,0.7,0.85,1 --chart "$after.svg" --output "$after.h5" \
        --quiet --json | trades
}
scratch() { # scratch STEPS
    [ -z "$only" ] || [ "$only" = scratch ] || return 0
    begin=$(date +%s)
    # shellcheck disable=SC2086
    train $config $common --set train.steps="$1" --output "$runs/scratch-$seed"
    echo "== $runs/scratch-$seed, $1 steps, $(($(date +%s) - begin)) s"
    curve "$runs/scratch-$seed"
}

# Steps of equal time on one core: without the lower blocks' gradients a step is cheaper.
case $task in
shapes)
    lock="--set train.lock_image=true --set train.unlocked_image_blocks"
    tune all 400
    # shellcheck disable=SC2086
    {
        tune two-blocks 580 $lock=2
        tune one-block 870 $lock=1
        tune text-alone 1000 $lock=0 --set data.aug_scale_min=1
    }
    # shellcheck disable=SC2086
    tune mixed-one-block 870 $lock=1 --set data.train_data="$mixed"
    tune lora 390 --set lora.rank=8 --set lora.targets=all --set optim.lr=3e-3
    tune mixed 400 --set data.train_data="$mixed"
    scratch 400
    ;;
cifar)
    tune all 120
    tune gentle 120 --set optim.lr=3e-4
    tune mixed 120 --set data.train_data="$mixed"
    scratch 120
    ;;
esac
