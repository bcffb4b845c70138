#!/bin/bash
# Does training in bfloat16 go where float32 goes? The demo's model for STEPS steps: three seeds in
# float32, the first of them in bfloat16 too, and with bfloat16 moments. The distance of two runs is
# the mean of |difference| of their losses, each a mean over fifty steps. Fails where bfloat16 is
# further from float32 than the nearest two seeds are from each other. Not part of `make test`.
#
#     tests/bf16_seeds.sh [STEPS]        (500; about a minute each of five runs)
set -eu
steps=${1:-500} build=${BUILD:-build}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$build/clip_data" shapes --output "$folder/shapes" >/dev/null 2>&1

# run NAME --set ...: losses, one per line, into NAME.
run() {
    local name=$1
    shift
    "$build/clip_train" --config configs/small.ini --output "$folder/$name.run" --quiet \
        --set "data.train_data=$folder/shapes/train.csv" --set data.val_data= \
        --set "data.tokenizer=$folder/shapes/tokenizer.txt" --set "train.steps=$steps" \
        --set train.log_every=1 --set train.save_every=1000000 "$@" >/dev/null
    sed 's/.*"loss": *\([0-9.e+-]*\).*/\1/' "$folder/$name.run/log.jsonl" >"$folder/$name"
}
run seed0 --set train.seed=0
run seed1 --set train.seed=1
run seed2 --set train.seed=2
run bf16 --set train.seed=0 --set train.precision=bf16
run moments --set train.seed=0 --set train.precision=bf16 --set optim.moments=bf16

distance() {
    paste "$folder/$1" "$folder/$2" | awk '
        { a += $1; b += $2 }
        NR % 50 == 0 { d = (a - b) / 50; sum += d < 0 ? -d : d; n++; a = b = 0 }
        END { printf "%.5f\n", sum / n }'
}
seeds=$(for pair in 'seed0 seed1' 'seed0 seed2' 'seed1 seed2'; do
    # shellcheck disable=SC2086
    distance $pair
done | sort -n | head -n 1)
bf16=$(distance seed0 bf16)
moments=$(distance seed0 moments)
echo "over $steps steps: the nearest two float32 seeds are $seeds apart, bfloat16 is $bf16 from" \
    "float32, with bfloat16 moments too $moments"
awk -v s="$seeds" -v a="$bf16" -v b="$moments" 'BEGIN { exit !(a <= s && b <= s) }'
