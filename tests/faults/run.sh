#!/bin/bash
# Every call may fail: each program of a list is run again and again while tests/faults/shim.c makes
# the n-th allocation, open, read, write, fsync, rename ... fail, once or from then on, or kills the
# program there. After each:
#   - it ended with 0 and the whole result, or with 1 and a sentence, what was there before intact
#     (killed: with 137);
#   - the same command again, or --resume, ends in the bits of an undisturbed run;
#   - no temporary file is left then.
#     tests/faults/run.sh [SCENARIO...]
#         FAULTS=N    at most N places per kind of call (default 20; 0: every one)
#         SEED=N      which ones are drawn
#         JOBS=N      so many scenarios at a time (default 1)
#         LOG=FILE    one line "SCENARIO FAULT OUTCOME" is added for each case; one that stands
#                     there already is not run again, so a campaign may be broken off, go on, and
#                     be made of several seeds
#         FAULT="CALL:N:MODE..."    only these
# Prints one TAP line per scenario and kind; what went wrong stands above it with the command that
# shows it again. The last line is "N passed, N failed". Run by `make faults`.
. tests/shell.sh
faults=${FAULTS:-20} seed=${SEED:-1} jobs=${JOBS:-1}
export LOG=${LOG:-$folder/faults.log} FAULT_SHIM=$build/faults/shim.so
export OMP_WAIT_POLICY=passive OMP_NUM_THREADS=1 # the same calls in the same order each time
unset OPENBLAS_CORETYPE OPENBLAS_L2_SIZE
# What a library does that we cannot prevent: "What is left to libraries" in docs/reliability.md.
libraries='^faults: (signal [0-9]*|exit -1) in (libhdf5|libmicrohttpd)'
kinds='alloc open read write fsync rename link unlink ftruncate mmap close fopen fwrite mkdir'
disk='open read write fsync rename link unlink ftruncate close fopen fwrite mkdir'

# ---- what the scenarios stand on: $FAULT_BASE, copied for each case ----
make_base() {
    local base=$FAULT_BASE
    mkdir "$base" && photos "$base/photos"
    cd "$here" || exit 1
    pairs photos a >"$base/pairs.csv"
    printf 'photos/none.png,an image that is not there\n' >>"$base/pairs.csv"
    printf '%s\n' 'a dog' 'a red circle' 'the blue square' 'an image of a cat' 'a red dog' \
        >"$base/texts.txt"
    clip_data tokenizer train --input "$base/texts.txt" --vocab-size 520 \
        --output "$base/tokenizer.txt" >/dev/null 2>&1 || exit 1
    {
        tiny_model
        printf '[data]\ntrain_data = pairs.csv\ntokenizer = tokenizer.txt\nworkers = 0\n'
        printf 'max_bad_fraction = 0.5\nval_data = pairs.csv\n'
        printf '[train]\nsteps = 4\nbatch_size = 4\noutput = run\nsave_every = 1\n'
        printf 'val_every = 2\nkeep = 1\n[optim]\nwarmup = 1\n'
    } >"$base/tiny.ini"
    (cd "$base" && clip_train --config tiny.ini --quiet) >/dev/null 2>&1 || exit 1
    mv "$base/run" "$base/model"
    sed -i 's/^output.*/output = run/' "$base/model/config.ini"
}

# scenario NAME: sets `command` (an array), `again` (the same command unless it says otherwise),
# `results` (what counts as its result) and `before` (run once in the copied folder).
scenario() {
    before=true again=() results=() preload=$FAULT_SHIM
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
        again=("${command[@]}" --resume) results=(run/last.h5 run/adapter)
        ;;
    classify)
        command=(clip_eval classify --model model --image photos/gray_30x22.png dog cat)
        results=(stdout)
        ;;
    classify-json)
        command=(clip_eval classify --model model --image photos/gray_30x22.png dog cat --json)
        results=(stdout)
        ;;
    check-json)
        command=(clip_data check pairs.csv --json --quiet) results=(stdout)
        ;;
    html)
        command=(clip_data check pairs.csv --html out.html --quiet)
        results=(out.html)
        ;;
    report)
        command=(clip_train --compare model --output out.html)
        results=(out.html)
        ;;
    serve) # its start, and a question
        before='clip_search index --model model --images photos --output x.index --quiet'
        command=("$here/tests/faults/serve.sh" x.index) results=(stdout) preload=
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
classify classify-json check-json report
serve'

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
    outcome=finding
    [ "$((bad += 1))" -gt 3 ] && return
    echo "# FAULT=$fault tests/faults/run.sh $scenario: $1"
    echo "#     ${command[*]}"
    tail -n 3 stderr | cut -c -400 | sed 's/^/#     | /'
}

# under FAULT: is the status, stdout and stderr that the command gives then right? A call that was
# never made is no case.
under() {
    local status now
    rm -rf "$folder/work" "$folder/hit"
    cp -r "$folder/start" "$folder/work"
    cd "$folder/work" || exit 1
    timeout -s KILL 120 env CLIP_FAULT="$1" CLIP_FAULT_HIT="$folder/hit" LD_PRELOAD="$preload" \
        "${command[@]}" >stdout 2>stderr
    status=$?
    [ -e "$folder/hit" ] || return 1
    case $1:$status in
    *:kill:137) outcome=killed ;;
    *:kill:*) problem "exit status $status after SIGKILL" ;;
    *:"$usual")
        # A failure that changes nothing is none: the result is whole.
        now=$(fingerprint)
        [ "$now" = "$undisturbed" ] ||
            { [ "$status" -eq 1 ] && { [ "$now" = "$untouched" ] || [ -n "$partial" ]; }; } ||
            problem "exit status $status, and another result"
        ;;
    *:1)
        grep -q "^clip_[a-z]*[a-z -]*: ." stderr || problem "exit status 1 without a sentence"
        now=$(fingerprint)
        [ "$now" = "$undisturbed" ] || [ "$now" = "$untouched" ] || [ -n "$partial" ] ||
            problem "exit status 1, and what was there before is not intact"
        ;;
    *)
        outcome=library
        grep -qE "$libraries" stderr || problem "exit status $status"
        ;;
    esac
    return 0
}

# one FAULT: the command under it in a fresh copy, and again without.
one() {
    local status outcome=ok
    fault=$1
    grep -qs "^$scenario $fault " "$LOG" && return
    if under "$fault"; then
        timeout -s KILL 120 "${again[@]}" >stdout 2>stderr
        status=$?
        if [ "$status" -ne "$usual" ]; then
            problem "the next run ends with $status"
        elif [ "$(fingerprint)" != "$undisturbed" ]; then
            problem "the next run ends in other bits"
        elif [ -n "$(left_behind)" ]; then
            problem "left behind after the next run: $(left_behind | head -n 1)"
        fi
    else
        outcome=missed
    fi
    echo "$scenario $fault $outcome" >>"$LOG"
}

# places COUNT: at most $faults numbers from 1 to COUNT, a quarter of them the first ones.
places() {
    if [ "$faults" -eq 0 ] || [ "$1" -le "$faults" ]; then
        seq "$1"
    else
        awk -v count="$1" -v most="$faults" -v seed="$seed$scenario" 'BEGIN {
            for (i = 1; i <= length(seed); i++)
                hash = (hash * 31 + index("0123456789abcdefghijklmnopqrstuvwxyz-_",
                                          substr(seed, i, 1))) % 1000003
            srand(hash)
            first = int(most / 4)
            for (i = 1; i <= first; i++) print i
            step = (count - first) / (most - first)
            for (i = 0; i < most - first; i++) print first + 1 + int((i + rand()) * step)
        }'
    fi
}

# of_log PATTERN: how many lines of the log match.
of_log() { grep -cE "$1" "$LOG"; }

# campaign SCENARIO: its cases, one check for each kind of call.
campaign() {
    scenario=$1
    scenario "$scenario"
    partial=
    case $scenario in
    train | resume | adapter | packed | index | update) partial=yes ;;
    query | classify* | check-json | serve) partial=yes ;; # a part of stdout may have been written
    esac
    cp -r "$FAULT_BASE" "$folder/start"
    (cd "$folder/start" && eval "$before") >"$folder/log" 2>&1 || { cat "$folder/log"; exit 1; }
    cp -r "$folder/start" "$folder/work"
    cd "$folder/work" || exit 1
    : >stdout
    untouched=$(fingerprint)
    CLIP_FAULT_COUNTS=$folder/counts LD_PRELOAD=$preload "${command[@]}" >stdout 2>stderr
    usual=$? # 1 where bad samples are counted
    undisturbed=$(fingerprint)
    if [ -n "${FAULT:-}" ]; then
        for place in $FAULT; do
            bad=0
            one "$place"
            cd "$here" || exit 1
            check "$scenario: $place" test "$bad" -eq 0
        done
        return
    fi
    for kind in $kinds; do
        count=$(awk -v kind="$kind" '$1 == kind {n = $2} END {print n + 0}' "$folder/counts")
        [ "$count" -gt 0 ] || continue
        bad=0
        for place in $(places "$count"); do
            one "$kind:$place:once"
            one "$kind:$place:always"
            [[ " $disk " == *" $kind "* ]] && one "$kind:$place:kill"
        done
        cd "$here" || exit 1
        check "$scenario: $kind ($(of_log "^$scenario $kind:.* (ok|killed|library|finding)") cases of \
$count calls)" test "$(of_log "^$scenario $kind:.* finding")" -eq 0
    done
}

exec 2>/dev/null # the shell's own word of each killed child
if [ -n "${FAULT_BASE:-}" ]; then # one of those below
    campaign "$1"
    exit
fi
export FAULT_BASE=$folder/base
make_base
touch "$LOG"
# A scenario's lines are printed when it is done, so that those of several do not mix.
export FAULT_OUT=$folder/out
printf '%s\n' ${*:-$all} | xargs -P "$jobs" -I {} bash -c \
    "bash tests/faults/run.sh {} >$FAULT_OUT.{} 2>&1; cat $FAULT_OUT.{}"
cat "$FAULT_OUT".* >"$FAULT_OUT"
echo "# $(of_log ' (ok|killed|library|finding)$') cases, $(of_log ' killed$') of them killed,\
 $(of_log ' library$') in libraries, $(of_log ' finding$') findings, $SECONDS s"
plan_of=$(grep -cE '^(not )?ok ' "$FAULT_OUT") failed=$(grep -c '^not ok ' "$FAULT_OUT")
[ "$plan_of" -gt 0 ] || failed=1
echo "1..$plan_of"
echo "$((plan_of - failed)) passed, $failed failed"
[ "$failed" -eq 0 ]
