#!/bin/bash
# One run on one process, two and four, in the ordinary build and in that for many: the same bytes.
# And stopped, killed, resumed by another number of them; a failure of one is everybody's. Run by
# `make test-many`, which builds both.
. tests/shell.sh

many=$(realpath "${BUILD_MPI:-build-mpi}") || exit 1
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMP_NUM_THREADS=1
export OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_btl_vader_single_copy_mechanism=none
export PRTE_MCA_rmaps_default_mapping_policy=:oversubscribe
export KILLS=${KILLS:-6}

# processes N COMMAND...
processes() { mpirun --bind-to none -n "$@"; }

"$build/clip_data" shapes --output "$folder/shapes" --count 96 --image-size 16 >/dev/null 2>&1 ||
    exit 1
config=$folder/many.ini
set_config() { # LINE...: further lines
    tiny_model >"$config"
    cat >>"$config" <<END
vocab_size = 1000
[data]
train_data = ../shapes/train.csv
val_data = ../shapes/val.csv
tokenizer = ../shapes/tokenizer.txt
[train]
steps = 8
batch_size = 24
world_size = 4
val_every = 4
save_every = 4
log_every = 1
report = false
[optim]
warmup = 2
ema_decay = 0.9
END
    printf '%s\n' "$@" >>"$config"
}

# train PLACE N [OPTION...]: N processes; 0: the ordinary build. The run is $folder/PLACE/run.
train() {
    local place=$1 count=$2
    shift 2
    mkdir -p "$folder/$place" && cd "$folder/$place" || return 1
    if [ "$count" -eq 0 ]; then
        clip_train --config "$config" --output run --quiet "$@"
    else
        processes "$count" "$many/clip_train" --config "$config" --output run --quiet "$@"
    fi
}

# What a run knows, without its times: the last checkpoint's bytes and the logs.
same_run() { # PLACE PLACE
    cmp "$folder/$1/run/last.h5" "$folder/$2/run/last.h5" &&
        cmp "$folder/$1/run/metrics.jsonl" "$folder/$2/run/metrics.jsonl" &&
        cmp <(timeless "$1") <(timeless "$2")
}
timeless() { sed 's/,"pairs_per_second.*//' "$folder/$1/run/log.jsonl"; }

# alike NAME LINE...: 1, 2 and 4 processes make the bytes of the ordinary build.
alike() {
    local name=$1 count
    shift
    set_config "$@"
    rm -rf "${folder:?}"/p?
    (train p0 0) >"$folder/first" 2>&1 || { cat "$folder/first"; return 1; }
    for count in 1 2 4; do
        (train "p$count" "$count" --threads $((3 - count / 2))) || return 1
        same_run p0 "p$count" || { echo "$name: $count processes"; return 1; }
    done
}

for size in 1 2 3 4; do
    check "processes exchange and sum: $size" processes "$size" "$many/tests/test_comm"
done
check "InfoNCE in fp32" alike infonce
check "the sigmoid loss in bf16, gradients and moments as bf16" alike siglip \
    '[train]' 'loss = siglip' 'precision = bf16' 'wire = bf16' '[optim]' 'moments = bf16'
check "micro-batches of half a slice, several positives, patches dropped" alike micro \
    '[train]' 'micro_batch = 3' 'multi_positive = true' 'patch_dropout = 0.3' \
    'recompute = block'
check "slices computed twice, a locked tower" alike locked \
    '[data]' 'aug_scale_min = 1' '[train]' 'micro_batch = 6' 'lock_image = true'

negatives() {
    awk 'NR == 1 {print $0 "\twrong"} NR > 1 {print $0 (NR % 3 ? "\tnot so" : "\t")}' \
        "$folder/shapes/train.csv" >"$folder/shapes/negatives.csv"
    alike negatives '[data]' 'train_data = ../shapes/negatives.csv' 'csv_negative_key = wrong'
}
check "hard negatives, of some samples" negatives

mixture() {
    head -n 8 "$folder/shapes/train.csv" >"$folder/shapes/few.csv"
    alike mixture '[data]' 'train_data = ../shapes/few.csv::../shapes/train.csv' \
        'train_data_weights = 1::2' 'samples_per_epoch = 100' '[train]' 'patch_dropout = 0.3'
}
check "sets mixed by weights" mixture

stream() {
    local i n=0
    for ((i = 0; i < 5; i++)); do
        mkdir -p "$folder/shard$i"
        while IFS=$'\t' read -r image caption; do
            n=$((n + 1))
            cp "$folder/shapes/$image" "$folder/shard$i/$n.png" &&
                printf '%s' "$caption" >"$folder/shard$i/$n.txt" || return 1
        done < <(tail -n "+$((2 + 12 * i))" "$folder/shapes/train.csv" | head -n 12)
        tar -C "$folder/shard$i" --sort=name -cf "$folder/shapes/s$i.tar" . || return 1
    done
    head -c 12000 "$folder/shapes/s3.tar" >"$folder/shapes/cut" &&
        mv "$folder/shapes/cut" "$folder/shapes/s3.tar" &&
        echo none >"$folder/shapes/s5.tar" || return 1
    alike stream '[data]' 'train_data = ../shapes/s{0..5}.tar' 'stream = on' 'shard_group = 2' \
        'max_bad_fraction = 0.9'
}
check "a stream of shards, two of them damaged" stream

lora() {
    set_config
    (train base 0) && cp "$folder/base/run/last.h5" "$folder/base.h5" || return 1
    set_config '[lora]' 'rank = 2'
    rm -rf "${folder:?}"/p?
    (train p0 0 --init "$folder/base.h5") || return 1
    for size in 2 4; do
        (train "p$size" "$size" --init "$folder/base.h5") && same_run p0 "p$size" || return 1
        cmp "$folder/p0/run/adapter/adapter_model.safetensors" \
            "$folder/p$size/run/adapter/adapter_model.safetensors" || return 1
    done
}
check "LoRA" lora

# A bad sample's place is taken by another one, whoever has it.
bad() {
    sed '5s/^[^\t]*/nowhere.png/' "$folder/shapes/train.csv" >"$folder/shapes/bad.csv"
    alike bad '[data]' 'train_data = ../shapes/bad.csv' 'max_bad_fraction = 0.1'
}
check "a bad sample" bad

# ---- going on ----
resumed() { # another number of processes for each half
    set_config
    rm -rf "${folder:?}"/p? "$folder/whole"
    (train whole 0) || return 1
    for pair in 1:4 4:2 2:0 0:4; do
        rm -rf "$folder/half"
        (train half "${pair%:*}") || return 1
        rm "$folder/half/run/checkpoints/step_8.h5"
        ln -f "$folder/half/run/checkpoints/step_4.h5" "$folder/half/run/last.h5"
        (train half "${pair#*:}" --resume) || return 1
        same_run whole half || { echo "$pair"; return 1; }
    done
}
check "another number of processes goes on with a run" resumed

# The world's size comes from the checkpoint where the configuration does not say it.
remembered() {
    sed -i '/^world_size/d' "$config"
    rm -rf "$folder/half"
    (train half 4) || return 1
    rm "$folder/half/run/checkpoints/step_8.h5"
    ln -f "$folder/half/run/checkpoints/step_4.h5" "$folder/half/run/last.h5"
    (train half 2 --resume) && cmp "$folder/half/run/metrics.jsonl" \
        "$folder/whole/run/metrics.jsonl"
}
check "slices are those of the run that goes on" remembered
refused() { # three cannot share four slices
    (train half 3 --resume) >"$folder/log3" 2>&1 && return 1
    grep -q 'world_size = 4 slices cannot be shared by 3 processes' "$folder/log3" ||
        { cat "$folder/log3"; return 1; }
}
check "a number that does not divide the slices is refused" refused
forced() { (train half 3 --resume --force --steps 9); }
check "or taken, with --force" forced

# kill -9 of any process ends all; the run goes on with another number of them to the same bytes.
killed() {
    local i pid victim
    set_config '[train]' 'steps = 40' 'save_every = 2' 'keep = 2' 'val_every = 20'
    rm -rf "$folder/whole" "$folder/shot"
    (train whole 0) || return 1
    for ((i = 0; i < KILLS; i++)); do
        (train shot $((1 << (RANDOM % 3))) --resume >/dev/null 2>&1) &
        sleep "$((RANDOM % 2)).$((RANDOM % 10))"
        victim=$(pgrep -f "$many/clip_train --config $config" | shuf -n 1)
        [ -n "$victim" ] && kill -9 "$victim"
        wait
        for ((pid = 0; pid < 100; pid++)); do # mpirun may be gone before the last of them is
            pgrep -f "$many/clip_train --config $config" >"$folder/left" || break
            sleep 0.2
        done
        pid=$(pgrep -f "$many/clip_train --config $config")
        [ -z "$pid" ] || { echo "left behind: $pid"; return 1; }
    done
    (train shot 2 --resume) && same_run whole shot
}
check "killed at random $KILLS times, resumed by others" killed

# SIGTERM to mpirun: saved once, and ended by the signal's number.
terminated() {
    local pid status
    set_config '[train]' 'steps = 100000' 'save_every = 0' 'val_every = 0'
    rm -rf "$folder/stop"
    mkdir -p "$folder/stop" && cd "$folder/stop" || return 1
    mpirun --bind-to none --mca odls_base_sigkill_timeout 20 -n 2 "$many/clip_train" --config \
        "$config" --output run --quiet >log 2>&1 &
    pid=$!
    while [ ! -s run/log.jsonl ] && kill -0 "$pid" 2>/dev/null; do sleep 0.2; done
    kill -TERM "$pid"
    wait "$pid"
    status=$?
    [ "$status" -ne 0 ] && [ "$(ls run/checkpoints | wc -l)" -eq 1 ] &&
        grep -q 'stopped by a signal after saving step' log && return
    cat log
    echo "exit status $status; $(ls run/checkpoints)"
    return 1
}
check "SIGTERM to mpirun saves once" terminated

# What only one process meets is said once, and ends all.
other_data() {
    set_config
    head -n 50 "$folder/shapes/train.csv" >"$folder/shapes/other.csv"
    rm -rf "$folder/other" && mkdir "$folder/other" && cd "$folder/other" || return 1
    for rank in 0 1; do mkdir "$rank" && cp "$config" "$rank/one.ini"; done
    sed -i 's|\.\./shapes|../../shapes|' ?/one.ini
    sed -i 's/train.csv/other.csv/' 1/one.ini
    processes 2 sh -c 'cd ${OMPI_COMM_WORLD_RANK:-$PMIX_RANK} && exec "$0" --config one.ini \
        --output run --quiet' "$many/clip_train" >log 2>&1 && return 1
    [ "$(grep -c '^clip_train: ' log)" -eq 1 ] && grep -q 'read different' log && return
    cat log
    return 1
}
check "other data on another host is refused" other_data
plan
