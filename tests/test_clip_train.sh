#!/bin/bash
# clip_train from the command line: stopping, resuming and what a run's folder holds; every wrong
# input ends in one sentence. The models are tiny and trained on the reference images.
. tests/shell.sh

# train CODE PLACE [OPTION...]: trains in $folder/PLACE/run, so that two runs' files differ only by
# what was trained; the file $config says what.
config=$folder/tiny.ini
train() {
    mkdir -p "$folder/$2"
    here=$folder/$2 run "$1" clip_train --config "$config" --output run --quiet "${@:3}"
}
train_prints() { train "$1" "${@:3}" && out_has "$2"; } # CODE TEXT PLACE [OPTION...]
train_says() { train "$1" "${@:3}" && err_has "$2"; }

# wrong CODE TEXT [OPTION...]: nothing is trained, and stderr is one sentence that holds TEXT.
wrong() {
    rm -rf "$folder/wrong"
    train_says "$1" "$2" wrong "${@:3}" || return 1
    [ "$(wc -l <"$folder/err")" -eq 1 ] && [[ $err == "clip_train: "* ]] &&
        [ ! -e "$folder/wrong/run/last.h5" ] && return
    echo "# not one sentence, or something was trained: \"$err\""
    return 1
}

check "docs/config.md is what the table of keys writes" cmp docs/config.md \
    <("$build/clip_train" --help-config-markdown)

# The weights of PLACE's last checkpoint are in $folder/PLACE.safetensors.
weights() {
    "$build/clip_export" --model "$folder/$1/run/last.h5" --format safetensors \
        --output "$folder/$1.safetensors" >/dev/null 2>"$folder/err" && return
    cat "$folder/err"
    return 1
}
same_weights() { weights "$1" && weights "$2" && cmp "$folder/$1.safetensors" \
    "$folder/$2.safetensors"; }
same_run() { # model, moving average, moments, state and configuration to the byte
    cmp "$folder/$1/run/last.h5" "$folder/$2/run/last.h5"
}

# log_is_whole PLACE STEPS: each step is in log.jsonl once, in order.
log_is_whole() {
    sed 's/.*"step": *\([0-9]*\).*/\1/' "$folder/$1/run/log.jsonl" | cmp - <(seq "$2")
}

# back_at STEP FROM TO: TO is what FROM was when it had just saved STEP.
back_at() {
    rm -rf "${folder:?}/$3"
    cp -r "$folder/$2" "$folder/$3"
    local run=$folder/$3/run file
    for file in "$run"/checkpoints/step_*.h5; do
        file=${file##*_}
        if [ "${file%.h5}" -gt "$1" ]; then rm "$run/checkpoints/step_$file"; fi
    done
    ln -f "$run/checkpoints/step_$1.h5" "$run/last.h5"
}

# stopped SIGNAL CODE PLACE: a run that is sent the signal once it has a checkpoint; and again at
# once, as timeout sends it to the program and then to its group.
stopped() {
    local place=$folder/$3 pid status
    mkdir -p "$place"
    (cd "$place" && exec env --default-signal=HUP "$build/clip_train" --config "$long" \
        --output run --quiet) >"$folder/out" 2>"$folder/err" </dev/null &
    pid=$!
    for ((i = 0; i < 3000; i++)); do
        if [ -e "$place/run/last.h5" ]; then break; fi
        sleep 0.01
    done
    kill "-$1" "$pid"
    while grep -q '^ShdPnd:.*[1-9]' "/proc/$pid/status"; do :; done
    kill "-$1" "$pid"
    wait "$pid" 2>/dev/null
    status=$?
    err=$(<"$folder/err")
    [ "$status" -eq "$2" ] && return
    echo "# exit status $status instead of $2; \"$err\""
    return 1
}

# ---- data and configuration ----
photos "$folder/photos"
pairs photos >"$folder/pairs.csv"
tail -n +2 "$folder/pairs.csv" | cut -d, -f2 >"$folder/texts.txt"
tokenizer() {
    "$build/clip_data" tokenizer train --input "$folder/texts.txt" --vocab-size 520 --output \
        "$folder/tokenizer.txt" >/dev/null 2>&1
}
check "a tokenizer is trained" tokenizer
{
    tiny_model
    cat <<END
[data]
train_data = $folder/pairs.csv
val_data = $folder/pairs.csv
tokenizer = $folder/tokenizer.txt
aug_scale_min = 0.5
aug_flip = true
[train]
steps = 12
batch_size = 4
val_every = 5
save_every = 4
keep = 5
log_every = 1
patch_dropout = 0.25
[optim]
lr = 1e-3
warmup = 2
ema_decay = 0.9
END
} >"$config"
long=$folder/long.ini
sed 's/^steps = .*/steps = 400/; s/^keep = .*/keep = 100/; s/^val_every = .*/val_every = 200/' \
    "$config" >"$long"

# ---- a run, and going on ----
check "--dry-run forecasts" train_prints 0 'forecast peak memory' dry --dry-run
check "... on one line of JSON too" train_prints 0 '"peak_rss_bytes":' dry --dry-run --json
check "... and writes nothing" test ! -e "$folder/dry/run"
check "a run ends well" train_prints 0 'finished after 12 steps, 48 pairs' a
check "... with every step in its log" log_is_whole a 12
check "... and its files" ls "$folder"/a/run/{config.ini,metrics.jsonl,best.h5,last.h5} \
    "$folder"/a/run/checkpoints/step_{4,8,12}.h5
cp "$folder/a/run/last.h5" "$folder/before.h5"
check "a finished run is told by --resume" train_prints 0 'was finished already' a --resume
check "... and stays as it is" cmp "$folder/a/run/last.h5" "$folder/before.h5"
check "... with its log" log_is_whole a 12
# As a kill between writing a checkpoint and naming it leaves a run: the names are made again.
mv "$folder/a/run/best.h5" "$folder/best.h5"
ln -f "$folder/a/run/checkpoints/step_4.h5" "$folder/a/run/last.h5"
printf x >"$folder/a/run/.last.h5.tmp-1-0"
check "--resume makes the names that a killed run did not" train 0 a --resume
check "... last.h5" cmp "$folder/a/run/last.h5" "$folder/before.h5"
check "... best.h5" cmp "$folder/a/run/best.h5" "$folder/best.h5"
check "... and removes what it left behind" test ! -e "$folder/a/run/.last.h5.tmp-1-0"
check "a run that is there is not overwritten" train_says 2 'give --resume' a
check "... and stays as it is" cmp "$folder/a/run/last.h5" "$folder/before.h5"
check "--force starts it anew" train 0 a --force
check "... to the same bytes" cmp "$folder/a/run/last.h5" "$folder/before.h5"
check "... and the same log" log_is_whole a 12
check "another seed ends elsewhere" train 0 seed --set train.seed=1
check "... as the option --seed too" train 0 seed-option --seed 1 --resize-mode=shortest
check "... to the same bytes" same_run seed seed-option
check "the last of options counts" train_prints 0 '"steps":7,' dry --steps 5 \
    --set train.steps=6 --steps 7 --dry-run --json
check "a flag alone means true" train_prints 0 '"trained_parameters":12145,' dry --lock-image \
    --dry-run --json
differ() { ! same_weights a seed >/dev/null; }
check "... in its weights" differ

check "0 steps between checkpoints: at the end alone" train 0 once --set train.save_every=0 \
    --set train.val_every=0
check "... and so one validation" test "$(wc -l <"$folder/once/run/metrics.jsonl")" -eq 1
check "... one checkpoint" test "$(ls "$folder/once/run/checkpoints")" = step_12.h5
check "... of the same weights" same_weights a once

# The moving average still warms up then: its decay is (1 + 9) / (10 + 9), not 0.9.
back_at 8 a b
check "a run goes on from step 8" train_prints 0 'finished after 12 steps' b --resume
check "... to the same bytes" same_run a b
check "... with each step once in the log" log_is_whole b 12
check "... and each validation once" cmp "$folder/a/run/metrics.jsonl" "$folder/b/run/metrics.jsonl"
back_at 4 a b
check "... from step 4, in the middle of an epoch's batches" train 0 b --resume --threads 1 \
    --set data.workers=2
check "... with other threads and workers to the same weights" same_weights a b

# ---- sets mixed by weights ----
head -n 4 "$folder/pairs.csv" >"$folder/few.csv"
head -n 2 "$folder/pairs.csv" >"$folder/one.csv"
mixed="--set data.train_data=$folder/few.csv::$folder/pairs.csv --set data.train_data_weights=1::2
    --set data.samples_per_epoch=18"
# shellcheck disable=SC2086
{
    check "a mixture of two sets" train_prints 0 'finished after 12 steps' mixed $mixed
    back_at 8 mixed mix
    check "... goes on from step 8" train 0 mix --resume $mixed
    check "... to the same bytes" same_run mixed mix
    check "... and not with other weights" train_says 2 \
        '[data] train_data_weights was 1::2 and is 2::1' mix --resume $mixed \
        --set data.train_data_weights=2::1
    check "an epoch has the samples that the configuration says" train_prints 0 \
        '"steps_per_epoch":4,' dry $mixed --dry-run --json
    # by relative names, whose hashes decide what validation takes
    check "... with a part of both sets for validation too" train_prints 0 '"steps_per_epoch":4,' \
        dry $mixed --set data.val_data= --set data.val_share=0.4 \
        --set data.train_data=../pairs.csv::../pairs.csv --dry-run --json
    check "a set that validation takes whole is refused" train_says 1 'set 1 has no samples' dry \
        $mixed --set data.val_data= --set data.val_share=0.5 \
        --set data.train_data=../one.csv::../pairs.csv --dry-run
    check "too few weights are refused" train_says 2 \
        'train_data_weights = 1 has 1 weight, but train_data has 2 sets joined by "::"' dry $mixed \
        --set data.train_data_weights=1 --dry-run
    check "... and what is no weight" train_says 2 'the weight of set 2 is not a number above 0' \
        dry $mixed --set data.train_data_weights=1::0 --dry-run
    check "... or almost none" train_says 2 'less than a ten-thousandth of their sum' dry $mixed \
        --set data.train_data_weights=1::1e-6 --dry-run
    check "an epoch smaller than a batch is refused" train_says 2 \
        'batch_size 4 is larger than [data] samples_per_epoch = 3' dry $mixed \
        --set data.samples_per_epoch=3 --dry-run
}

# ---- streams of shards ----
for ((i = 0; i < 5; i++)); do
    mkdir "$folder/shard$i"
    tail -n +2 "$folder/pairs.csv" | while IFS=, read -r image caption; do
        name=$(basename "$image")
        cp "$folder/photos/$name" "$folder/shard$i/$i$name"
        printf '%s' "$caption" >"$folder/shard$i/$i${name%.*}.txt"
    done
    tar -C "$folder/shard$i" --sort=name -cf "$folder/s$i.tar" .
done
pairs=$(find "$folder/shard0" -name '*.txt' | wc -l)
stream="--set data.stream=on --set data.shard_group=2 --set data.train_data=$folder/s{0..4}.tar"
pipe="pipe:cat $folder/s{0..5}.tar"
piped=(--set data.allow_pipe=true --set data.cache_folder="$folder" --set data.retries=0
    --set data.shard_group=2 --set data.max_bad_fraction=0.3)
# shellcheck disable=SC2086
{
    check "a stream of shards" train_prints 0 'finished after 12 steps' stream $stream
    back_at 8 stream streamed
    check "... goes on from step 8" train 0 streamed --resume $stream
    check "... to the same bytes" same_run stream streamed
    back_at 4 stream streamed
    check "... and from step 4, with workers" train 0 streamed --resume $stream \
        --set data.workers=3
    check "... to the same weights" same_weights stream streamed
    check "its epoch is that of its shards" train_prints 0 \
        "\"steps_per_epoch\":$((5 * pairs / 4))," dry $stream --dry-run --json
    check "... or as long as the configuration says" train_prints 0 '"steps_per_epoch":3,' dry \
        $stream --set data.samples_per_epoch=15 --dry-run --json
    check "what needs an index is refused" train_says 2 '[data] val_share needs an index' dry \
        $stream --set data.val_data= --set data.val_share=0.3 --dry-run
    check "... and what is no shard" train_says 2 'only tar shards can be read as a stream' dry \
        --set data.stream=on --dry-run
}
check "commands write shards" train_prints 0 'finished after 12 steps' pipe "${piped[@]}" \
    --set "data.train_data=$pipe"
check "... one of which may fail, or not" train_says 1 's5.tar ended with status 1' \
    pipe --force "${piped[@]}" --set "data.train_data=$pipe" --set data.max_bad_fraction=0.1
check "... if they are allowed" train_says 2 'allow_pipe = true' pipe --force \
    --set "data.train_data=$pipe"
check "... and leave nothing behind" test -z "$(ls "$folder" | grep clip-shard)"

narrow='--set train.precision=bf16 --set optim.moments=bf16 --set train.recompute=block'
# shellcheck disable=SC2086
check "a run in bfloat16" train 0 narrow $narrow
back_at 8 narrow n
# shellcheck disable=SC2086
check "... goes on from step 8" train 0 n --resume $narrow --threads 1
check "... to the same bytes" same_run narrow n
back_at 8 narrow n
# shellcheck disable=SC2086
check "... and keeping what it had built again" train 0 n --resume $narrow \
    --set train.recompute=none
check "... to the same weights" same_weights narrow n
check "... and not in float32 unasked" train_says 2 '[optim] moments was bf16 and is f32' n \
    --resume --set train.precision=bf16
printf '{"step":99,"lo' >>"$folder/b/run/log.jsonl"
check "half a line at the log's end" train 0 b --resume
check "... goes" log_is_whole b 12

for how in '--threads 1' '--threads 2' '--set data.workers=0' '--set data.workers=2'; do
    # shellcheck disable=SC2086
    check "a run with $how" train 0 "how$how" $how
    check "... has the same weights" same_weights a "how$how"
done
check "a run with micro_batch" train 0 micro --set train.micro_batch=2
losses() { sed 's/.*"loss": *\([0-9.]*\).*/\1/' "$folder/$1/run/log.jsonl"; }
close_losses() { paste <(losses a) <(losses micro) |
    awk '{d = $1 - $2; if (d * d > 1e-8) exit 1; n++} END {exit n != 12}'; }
check "... has losses within 1e-4" close_losses

# ---- what is seen of a run ----
check "a run has a page" grep -q '>12 of 12<' "$folder/a/run/report.html"
check "... unless it is not wanted" train 0 unseen --set train.report=false
check "... and there is none" test ! -e "$folder/unseen/run/report.html"
check "... and no events" test ! -e "$folder/unseen/run/events.out.tfevents.0.clip"
check "a run with events" train 0 board --set train.tensorboard=true
back_at 8 board again
check "... that goes on from step 8" train 0 again --resume --set train.tensorboard=true
events() { stat -c %s "$folder/$1/run/events.out.tfevents.0.clip"; }
check "... has each of them once" test "$(events board)" = "$(events again)"
check "a run knows how it was started" train 0 typed --set "zeroshot.templates=it's none"
check "... by a command that can be pasted" grep -qF \
    "\"command\":\"clip_train --config $config --output run --quiet --set $(
        printf '%s' "'zeroshot.templates=it'\\\\''s none'")\"" "$folder/typed/run/starts.jsonl"
compare() { "$build/clip_train" --compare "$@" --output "$folder/compare.html" >"$folder/out" \
    2>"$folder/err"; }
check "runs side by side" compare "$folder/a/run" "$folder/seed/run"
check "... with what differs" grep -q '\[train\] seed</th>' "$folder/compare.html"
refused() { ! compare "$folder/a/run" "$folder/none" && grep -q 'none holds no log.jsonl' \
    "$folder/err"; }
check "a folder that holds no run is named" refused

# ---- signals ----
cp "$config" "$folder/short.ini"
config=$long
check "a run of 400 steps" train 0 whole
for signal in TERM:143 HUP:129 INT:130 KILL:137; do
    code=${signal#*:} signal=${signal%:*}
    if [ "$signal" = INT ]; then set -m; fi # else bash starts it deaf to SIGINT
    check "SIG$signal ends a run with $code" stopped "$signal" "$code" "$signal"
    set +m
    if [ "$signal" != KILL ]; then
        check "... which says what it saved" grep -q 'after saving step [0-9]*; .*--resume' \
            "$folder/err"
    fi
    check "... and it goes on to its end" train 0 "$signal" --resume
    check "... to the same bytes" same_run whole "$signal"
    check "... with each step once in the log" log_is_whole "$signal" 400
done
config=$folder/short.ini

# ---- the forecast ----
# A model of some size, whose activations are most of its memory.
{
    head -n 1 "$folder/pairs.csv"
    for ((i = 0; i < 16; i++)); do tail -n +2 "$folder/pairs.csv"; done
} >"$folder/many.csv"
sed -e 's/^image_size = .*/image_size = 64/' -e 's/^\(.*\)_width = .*/\1_width = 128/' \
    -e 's/^\(.*\)_layers = .*/\1_layers = 6/' -e 's/^batch_size = .*/batch_size = 128/' \
    -e 's/^steps = .*/steps = 2/' -e 's/^val_every = .*/val_every = 100/' \
    -e '/^patch_dropout/d' -e "s|^train_data = .*|train_data = $folder/many.csv|" \
    "$config" >"$folder/wide.ini"
peak_of() { sed -n 's/.*"peak_rss_bytes": *\([0-9]*\).*/\1/p' "$folder/out"; }
forecast_holds() { # forecast_holds OPTION...: within 5 % of what the run then takes
    local forecast real
    (cd "$folder" && "$build/clip_train" --config wide.ini --output wide --dry-run --json "$@") \
        >"$folder/out" 2>"$folder/err" || { cat "$folder/err"; return 1; }
    forecast=$(peak_of)
    (cd "$folder" && "$build/clip_train" --config wide.ini --output wide --force --json --quiet \
        "$@") >"$folder/out" 2>"$folder/err" || { cat "$folder/err"; return 1; }
    real=$(peak_of)
    [ $((forecast * 100)) -ge $((real * 95)) ] && [ $((forecast * 100)) -le $((real * 105)) ] &&
        return
    echo "# forecast $forecast bytes, taken $real"
    return 1
}
check "--dry-run forecasts the memory of a step" forecast_holds
check "... in bfloat16" forecast_holds --set train.precision=bf16 --set optim.moments=bf16
check "... with MLPs built again" forecast_holds --set train.recompute=mlp
check "... with blocks built again" forecast_holds --set train.recompute=block
check "... by pieces" forecast_holds --set train.micro_batch=48
# Weights are most of this one's memory, so that those that --init read and gave back would show.
heavy=(--set model.vision_width=256 --set model.text_width=256 --set train.batch_size=32)
check "... of heavier weights" forecast_holds "${heavy[@]}"
cp "$folder/wide/last.h5" "$folder/heavy.h5"
heavy+=(--init heavy.h5)
check "... that are tuned, by pieces" forecast_holds "${heavy[@]}" --set train.micro_batch=16
check "... by LoRA, whose frozen weights take none" forecast_holds "${heavy[@]}" --set lora.rank=4

# ---- what stands in a resumed run's way ----
back_at 8 a c
check "another lr is refused by name" train_says 2 '[optim] lr was 1e-3 and is 2e-3' c --resume \
    --set optim.lr=2e-3
check "... and nothing is trained" cmp "$folder/c/run/last.h5" "$folder/a/run/checkpoints/step_8.h5"
check "the same lr in other digits is not" train 0 c --resume --set optim.lr=0.001
for change in data.max_bad_fraction=0.5 train.best_metric=image_retrieval_recall@1; do
    back_at 8 a c
    check "a run may go on with $change" train_prints 0 'after 12 steps' c --resume --set "$change"
    check "... to the same weights" same_weights a c
done
back_at 8 a c
check "... and --force goes on with another lr" train_prints 0 'after 12 steps' c --resume --force \
    --set optim.lr=2e-3
# The data is what it was: as many samples, of the same names and captions, by the same tokenizer.
cp "$folder/pairs.csv" "$folder/pairs.before"
cp "$folder/tokenizer.txt" "$folder/tokenizer.before"
samples=$(($(wc -l <"$folder/pairs.csv") - 1))
back_at 8 a c
sed -i '$d' "$folder/pairs.csv"
check "fewer samples are refused" train_says 2 \
    "train_data had $samples samples and has $((samples - 1)), and val_data had" c --resume
check "... and nothing is trained" cmp "$folder/c/run/last.h5" "$folder/a/run/checkpoints/step_8.h5"
sed '$s/$/ indeed/' "$folder/pairs.before" >"$folder/pairs.csv"
check "another caption is refused" train_says 2 'train_data has other samples or captions' \
    c --resume
check "... and --force goes on" train_prints 0 'after 12 steps' c --resume --force
cp "$folder/pairs.before" "$folder/pairs.csv"
back_at 8 a c
printf 'zq zq zq\nxj xj zq\n' >"$folder/other.txt"
"$build/clip_data" tokenizer train --input "$folder/other.txt" --vocab-size 520 --output \
    "$folder/tokenizer.txt" >/dev/null 2>&1
check "another tokenizer is refused" train_says 2 'the tokenizer is other than before' c --resume
cp "$folder/tokenizer.before" "$folder/tokenizer.txt"
check "the same data is not" train_prints 0 'after 12 steps' c --resume
back_at 8 a c
flip() { printf '\xff\xff\xff\xff' | dd of="$1" bs=1 seek=$(($(stat -c %s "$1") / 2)) \
    conv=notrunc status=none; }
flip "$folder/c/run/checkpoints/step_8.h5"
check "a broken checkpoint falls back to the one before" train_says 0 \
    'trying an older checkpoint' c --resume
check "... to the same bytes" same_run a c
back_at 8 a c
for file in "$folder"/c/run/checkpoints/*.h5 "$folder/c/run/last.h5"; do
    head -c 1000 "$file" >"$folder/cut" && cat "$folder/cut" >"$file"
done
check "a run of broken checkpoints is told" train_says 1 'holds no whole checkpoint' c --resume
back_at 8 a c
locked() { flock "$folder/c/run/.lock" -c "true" && (
    flock -n 9 || exit 1
    train_says 1 'another process' c --resume
) 9>>"$folder/c/run/.lock"; }
check "a folder that another process holds is refused" locked
check "... and nothing is trained" cmp "$folder/c/run/last.h5" "$folder/a/run/checkpoints/step_8.h5"
full() (
    trap '' XFSZ
    ulimit -f 32
    train_says 1 'there is no room' c --resume
)
check "a disk that is full while saving is an error" full
check "... and the last checkpoint is whole" weights c
check "... and the one before" cmp "$folder/c/run/last.h5" "$folder/a/run/checkpoints/step_8.h5"
leftovers() { [ "$(find "$folder/c/run" -name '*tmp*' -o -name '.*' -type f ! -name .lock |
    wc -l)" -eq 0 ]; }
check "... with nothing half-written left" leftovers
check "... and with room it goes on" train 0 c --resume
check "... to the same bytes" same_run a c

# ---- --init ----
start=$folder/a/run/last.h5
check "a run starts from another's weights" train 0 lit --init "$start" \
    --set train.lock_image=true --set optim.ema_decay=0
# Names and offsets of the tensors stand in the header; vision tensors are named visual.
visual() { # NAME and cksum of each visual tensor
    local file=$folder/$1.safetensors size
    size=$(od -An -tu8 -N8 "$file" | tr -d ' ')
    head -c $((8 + size)) "$file" | tail -c "$size" |
        grep -o '"visual[^"]*":{[^}]*}' | sort |
        sed 's/^"\([^"]*\)".*"data_offsets":\[\([0-9]*\),\([0-9]*\)\].*/\1 \2 \3/' |
        while read -r name from to; do
            echo "$name $(tail -c +$((9 + size + from)) "$file" | head -c $((to - from)) | cksum)"
        done
}
"$build/clip_export" --model "$start" --format safetensors --output "$folder/start.safetensors" \
    >/dev/null 2>&1
locked_image() {
    weights lit && visual lit >"$folder/after" && visual start >"$folder/initial" &&
        [ "$(wc -l <"$folder/after")" -gt 10 ] && cmp "$folder/after" "$folder/initial"
}
check "lock_image leaves the image tower alone" locked_image
trained_text() { ! cmp -s "$folder/lit.safetensors" "$folder/start.safetensors"; }
check "... and trains the rest" trained_text
check "--init of another shape is refused" wrong 2 'text_width' --init "$start" \
    --set model.text_width=32
check "--init of no model is refused" wrong 1 'pairs.csv' --init "$folder/pairs.csv"
check "--init of nothing is refused" wrong 1 'none.h5' --init "$folder/none.h5"

# ---- wrong inputs ----
config=$folder/none.ini
check "a configuration that is not there" wrong 1 'none.ini'
printf '[optim]\nlr = 1e-3\n\nlearning = 1\n[train]\nstep = 3\n' >"$folder/bad.ini"
config=$folder/bad.ini
check "an unknown key, by line" wrong 2 'bad.ini:4: [optim] learning'
sed -i /learning/d "$folder/bad.ini"
check "... with the nearest offered" wrong 2 'the nearest is [train] steps'
printf '[optim]\n\nlr = -1\n' >"$folder/bad.ini"
check "a value out of range, by line" wrong 2 'bad.ini:3: [optim] lr = -1 is out of range'
printf '[train]\nbatch_size = 4 4\n' >"$folder/bad.ini"
check "a value that is no number" wrong 2 'bad.ini:2: [train] batch_size'
printf '[train\n' >"$folder/bad.ini"
check "a line that is none" wrong 1 'bad.ini:1'
config=$folder/short.ini
check "a key as an option of its own" wrong 2 '--lr: [optim] lr = "fast" is not a number' --lr fast
check "... is none where there is no such key" train_says 2 'no option --learning-rate' wrong \
    --learning-rate 1
check "--set without a value" wrong 2 'SECTION.KEY=VALUE' --set optim.lr
check "--set of an unknown key" wrong 2 '[optim] lr' --set optim.lrr=1
check "a column that is missing" wrong 1 'caption' --set data.csv_caption_key=caption
data() { printf "$@" >"$folder/data.csv"; }
bad=(--set data.train_data="$folder/data.csv" --set data.val_data=)
data ''
check "an empty csv" wrong 1 'data.csv' "${bad[@]}"
data 'filepath,title\n'
check "a csv without rows" wrong 1 'data.csv' "${bad[@]}"
check "data that is not there" wrong 1 'nothing.csv' --set data.train_data="$folder/nothing.csv"
check "no data named" wrong 2 'train_data' --set data.train_data=
for ((i = 0; i < 8; i++)); do
    echo "no image" >"$folder/photos/broken_$i.jpg"
    data 'filepath,title\n'
done
rows() { for ((i = 0; i < 8; i++)); do printf '%s,%s\n' "$1" "$2"; done >>"$folder/data.csv"; }
rows photos/broken_1.jpg 'a broken one'
check "broken images only" train_says 1 'broken_1.jpg' broken "${bad[@]}" --set data.workers=2
tail -n +2 "$folder/pairs.csv" >>"$folder/data.csv"
check "too many broken images" train_says 1 'max_bad_fraction' broken "${bad[@]}"
check "... though not where they are allowed" train 0 allowed "${bad[@]}" \
    --set data.max_bad_fraction=0.9
data 'filepath,title\n'
rows "photos/rgb_12x29.png" '   '
tail -n +2 "$folder/pairs.csv" >>"$folder/data.csv"
check "captions of spaces are bad samples" train_says 1 'max_bad_fraction' spaces "${bad[@]}"
check "a batch of one pair, which teaches nothing" wrong 2 'teaches nothing' --batch-size 1
check "... but by the sigmoid loss" train 0 one --batch-size 1 --loss siglip --steps 2
check "... and micro-batches of one pair" train 0 one --force --micro-batch 1 --steps 2
check "a configuration that fine-tunes, from nothing" wrong 2 'name one by --init' \
    --needs-init
check "... forecast" wrong 2 'name one by --init' --needs-init --dry-run
check "a batch larger than the data" wrong 2 'batch_size' --set train.batch_size=11
head -c $(($(stat -c %s "$folder/tokenizer.txt") - 3)) "$folder/tokenizer.txt" >"$folder/cut.txt"
check "a tokenizer that is cut" wrong 1 'cut.txt' --set data.tokenizer="$folder/cut.txt"
check "a vocabulary as large as the tokenizer's" train 0 fit --set model.vocab_size=0
check "... is what is written" grep -q '^vocab_size = 520$' "$folder/fit/run/config.ini"
check "... and goes on" train_prints 0 'was finished already' fit --resume --set model.vocab_size=0
check "a vocabulary larger than vocab_size" wrong 2 'vocab_size' --set model.vocab_size=300
check "a patch that does not divide the image" wrong 2 'patch_size' --set model.patch_size=7
check "an output that cannot be" wrong 1 'pairs.csv' --output "$folder/pairs.csv/run"
plan
