#!/bin/bash
# Every call may fail: each program of a list is run again and again while tests/faults/shim.c makes
# the n-th allocation, open, read, write, fsync, rename ... fail, once or from then on, or kills the
# program there. After each:
#   - it ended with 0 and the whole result, or with 1 and a sentence, what was there before intact
#     (killed: with 137);
#   - the same command again, or --resume, ends in the bits of an undisturbed run;
#   - no temporary file is left then.
#     tests/faults/run.sh [SCENARIO...]     FAULTS=N: at most N places per kind of call and mode
#                                           (default 20; 0: every one), SEED: which ones are drawn
# Prints one TAP line per scenario and kind; what went wrong stands above it with the command that
# shows it again. Run by `make faults`.
. tests/shell.sh
faults=${FAULTS:-20} seed=${SEED:-1}
shim=$build/faults/shim.so
export OMP_WAIT_POLICY=passive OMP_NUM_THREADS=1 # the same calls in the same order each time
unset OPENBLAS_CORETYPE OPENBLAS_L2_SIZE
kinds='alloc open read write fsync rename link unlink ftruncate mmap close fopen fwrite mkdir'
disk='open read write fsync rename link unlink ftruncate close fopen fwrite mkdir'
cases=0 kills=0 findings=0

# ---- what the scenarios stand on: $folder/base, copied for each case ----
base=$folder/base
mkdir "$base" && photos "$base/photos"
cd "$here" || exit 1
pairs photos a >"$base/pairs.csv"
printf 'photos/none.png,an image that is not there\n' >>"$base/pairs.csv"
printf 'a dog\na red circle\nthe blue square\nan image of a cat\n' >"$base/texts.txt"
clip_data tokenizer train --input "$base/texts.txt" --vocab-size 520 \
    --output "$base/tokenizer.txt" >/dev/null 2>&1 || exit 1
{
    tiny_model
    printf '[data]\ntrain_data = pairs.csv\ntokenizer = tokenizer.txt\nworkers = 0\n'
    printf 'max_bad_fraction = 0.5\nval_data = pairs.csv\n'
    printf '[train]\nsteps = 4\nbatch_size = 4\noutput = run\nsave_every = 1\nval_every = 2\n'
    printf 'keep = 1\n[optim]\nwarmup = 1\n'
} >"$base/tiny.ini"
(cd "$base" && clip_train --config tiny.ini --quiet) >/dev/null 2>&1 || exit 1
mv "$base/run" "$base/model"
sed -i 's/^output.*/output = run/' "$base/model/config.ini"

image=$(cd "$base" && find photos -name '*.png' | sort | head -n 1)

# scenario NAME: sets `command` (an array), `again` (the same command unless it says otherwise),
# `results` (what counts as its result) and `before` (run once in the copied folder).
scenario() {
    before=true again=() results=()
    case $1 in
    train)
        command=(clip_train --config tiny.ini --quiet --output run)
        again=("${command[@]}" --resume) results=(run/last.h5 run/best.h5)
        ;;
    resume)
        before='clip_train --config tiny.ini --quiet --output run --set train.steps=2 &&
            sed -i "s/^steps = 2/steps = 4/" run/config.ini'
        command=(clip_train --config tiny.ini --quiet --output run --resume --force)
        again=("${command[@]}") results=(run/last.h5 run/best.h5)
        ;;
    export-*)
        command=(clip_export --model model --format "${1#export-}" --output out)
        # --force: it may have failed behind its last step
        again=("${command[@]}" --force) results=(out)
        ;;
    merge)
        before='clip_train --config tiny.ini --init model --quiet --output run --set lora.rank=2'
        command=(clip_export --model run --format huggingface --output out)
        again=("${command[@]}" --force) results=(out)
        ;;
    packed)
        before='clip_data pack pairs.csv --output pairs.h5 --quiet'
        command=(clip_train --config tiny.ini --quiet --output run --set data.train_data=pairs.h5
            --set train.tensorboard=true)
        again=("${command[@]}" --resume) results=(run/last.h5 run/best.h5)
        ;;
    index)
        command=(clip_search index --model model --images photos --output x.index --quiet)
        results=(x.index.query)
        ;;
    update)
        before='mkdir new && mv $(find photos -name "*.png" | sort | head -n 2) new/ &&
            clip_search index --model model --images photos --output x.index --quiet &&
            mv new/* photos/'
        command=(clip_search index --model model --images photos --output x.index --quiet)
        results=(x.index.query)
        ;;
    compact)
        before='clip_search index --model model --images photos --output x.index --quiet \
            --segment-size 2'
        command=(clip_search compact --index x.index --quiet)
        results=(x.index.query)
        ;;
    query)
        before='clip_search index --model model --images photos --output x.index --quiet'
        command=(clip_search query --index x.index --text 'a dog' --top 3)
        results=(stdout)
        ;;
    pack)
        command=(clip_data pack pairs.csv --output out.h5 --quiet)
        results=(out.h5)
        ;;
    fix)
        command=(clip_data check pairs.csv --fix out.csv --tiny 2 --quiet)
        results=(out.csv)
        ;;
    embed)
        command=(clip_embed --model model --images photos --output out.h5 --quiet)
        results=(out.h5)
        ;;
    texts)
        command=(clip_embed --model model --texts texts.txt --output out.npy --quiet)
        results=(out.npy)
        ;;
    tokenizer)
        command=(clip_data tokenizer train --input texts.txt --vocab-size 520 --output out.txt)
        results=(out.txt)
        ;;
    adapter)
        command=(clip_train --config tiny.ini --init model --quiet --output run
            --set lora.rank=2)
        again=("${command[@]}" --resume) results=(run/last.h5)
        ;;
    classify)
        command=(clip_eval classify --model model --image "$image" dog cat)
        results=(stdout)
        ;;
    html)
        command=(clip_data check pairs.csv --html out.html --quiet)
        results=(out.html)
        ;;
    report)
        command=(clip_train --compare model --output out.html)
        results=(out.html)
        ;;
    *)
        echo "$1 is no scenario"
        exit 2
        ;;
    esac
    [ "${#again[@]}" -gt 0 ] || again=("${command[@]}")
}
all='train resume export-huggingface export-open_clip export-hdf5 export-safetensors export-gguf
export-onnx index update compact query pack fix html embed texts tokenizer adapter merge packed
classify report'

# fingerprint: the results' sums in the folder one stands in.
fingerprint() {
    local result
    for result in "${results[@]}"; do
        case $result in
        x.index.query) # what it answers, and that it is whole
            clip_search check --index x.index --json 2>&1
            clip_search query --index x.index --text 'a red circle' --top 1000 2>&1
            ;;
        *)
            if [ -d "$result" ]; then (cd "$result" && find . -type f | sort | xargs sha256sum)
            elif [ -e "$result" ]; then sha256sum <"$result"
            else echo "no $result"; fi
            ;;
        esac
    done | sha256sum
}

left_behind() { find . -name '*.tmp-*' -o -name '.*.link-*'; }

# problem TEXT: with what it takes to see it again.
problem() {
    findings=$((findings + 1)) bad=$((bad + 1))
    [ "$bad" -gt 3 ] && return
    echo "# $scenario, CLIP_FAULT=$fault: $1"
    echo "#     ${command[*]}"
    [ -s stderr ] && head -c 600 stderr | sed 's/^/#     | /'
}

# one FAULT: the command under it in a fresh copy, and again without.
one() {
    local status now
    fault=$1
    cases=$((cases + 1))
    rm -rf "$folder/work"
    cp -r "$folder/start" "$folder/work"
    cd "$folder/work" || exit 1
    timeout -s KILL 60 env CLIP_FAULT="$fault" LD_PRELOAD="$shim" "${command[@]}" \
        >stdout 2>stderr
    status=$?
    case $fault:$status in
    *:kill:137) kills=$((kills + 1)) ;;
    *:kill:*) return ;; # it did not come that far this time
    *:"$usual")
        # A failure that changes nothing is none: the result is whole.
        now=$(fingerprint)
        [ "$now" = "$undisturbed" ] || { [ "$status" -eq 1 ] && [ "$now" = "$untouched" ]; } ||
            problem "exit status $status, and another result"
        ;;
    *:1)
        grep -q "^${command[0]}[a-z -]*: ." stderr || problem "exit status 1 without a sentence"
        now=$(fingerprint)
        [ "$now" = "$undisturbed" ] || [ "$now" = "$untouched" ] || [ -n "$partial" ] ||
            problem "exit status 1, and what was there before is not intact"
        ;;
    *) problem "exit status $status" ;;
    esac
    "${again[@]}" >stdout 2>stderr
    status=$?
    if [ "$status" -ne "$usual" ]; then
        problem "the next run ends with $status"
    elif [ "$(fingerprint)" != "$undisturbed" ]; then
        problem "the next run ends in other bits"
    elif [ -n "$(left_behind)" ]; then
        problem "left behind after the next run: $(left_behind | head -n 1)"
    fi
}

# places COUNT: at most $faults numbers from 1 to COUNT, the first ones always among them.
places() {
    if [ "$faults" -eq 0 ] || [ "$1" -le "$faults" ]; then
        seq "$1"
    else
        awk -v count="$1" -v most="$faults" -v seed="$seed" 'BEGIN {
            srand(seed)
            first = int(most / 4)
            for (i = 1; i <= first; i++) print i
            step = (count - first) / (most - first)
            for (i = 0; i < most - first; i++) print first + 1 + int((i + rand()) * step)
        }'
    fi
}

exec 2>/dev/null # the shell's own word of each killed child
for scenario in ${*:-$all}; do
    scenario "$scenario"
    partial=
    case $scenario in train | resume | adapter | packed | index | update) partial=yes ;; esac
    rm -rf "$folder/start" "$folder/work"
    cp -r "$base" "$folder/start"
    (cd "$folder/start" && eval "$before") >"$folder/log" 2>&1 || { cat "$folder/log"; exit 1; }
    cp -r "$folder/start" "$folder/work"
    cd "$folder/work" || exit 1
    untouched=$(fingerprint)
    rm -f "$folder/counts"
    CLIP_FAULT_COUNTS=$folder/counts LD_PRELOAD=$shim "${command[@]}" >stdout 2>stderr
    usual=$? # 1 where bad samples are counted
    undisturbed=$(fingerprint)
    for kind in $kinds; do
        count=$(awk -v kind="$kind" '$1 == kind {n = $2} END {print n + 0}' "$folder/counts")
        [ "$count" -gt 0 ] || continue
        bad=0 started=$cases
        for place in $(places "$count"); do
            one "$kind:$place:once"
            one "$kind:$place:always"
            [[ " $disk " == *" $kind "* ]] && one "$kind:$place:kill"
        done
        cd "$here" || exit 1
        check "$scenario: $kind ($((cases - started)) cases of $count calls)" test "$bad" -eq 0
    done
done
echo "# $cases cases, $kills of them killed, $findings findings, $SECONDS s"
plan
