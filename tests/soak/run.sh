#!/bin/bash
# Hours of use in miniature: for MINUTES (30; 0.5 is a start) all of this at once.
#   - clip_search serve answers searches, images and rubbish from several clients without a pause,
#     while `clip_search index` and `compact` change its index and are killed in between;
#   - a second server over the same index is ended and started again and again;
#   - clip_train is killed (kill -9, SIGTERM) at random moments and resumed until it is finished:
#     its last.h5 then has the bits of a run that nobody disturbed;
#   - one clip_train runs all the time.
# The server and the training that nobody ends must not grow in memory or in open descriptors once
# they are warm; nobody may crash; no temporary file may be left. Run by `make soak`. SEED draws the
# moments (1), CLIENTS (3) says how many ask.
. tests/shell.sh
minutes=${MINUTES:-30} clients=${CLIENTS:-3}
seconds=$(awk -v m="$minutes" 'BEGIN {print int(m * 60)}')
most_growth=$((24 << 10)) # KiB that a warm process may still grow by
export OMP_WAIT_POLICY=passive OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
RANDOM=${SEED:-1}
mkdir "$folder/count"
jobs_of_ours=()
finish() {
    kill "${jobs_of_ours[@]}" 2>/dev/null
    wait 2>/dev/null
    rm -rf "$folder"
}
trap finish EXIT

# tally NAME: one more of it, from whatever process. problem TEXT: something that must not happen.
tally() { echo >>"$folder/count/$1"; }
counted() { if [ -e "$folder/count/$1" ]; then wc -l <"$folder/count/$1"; else echo 0; fi; }
problem() { printf '%s\n' "$*" >>"$folder/count/problem"; }
none() { # none WORD: no problem begins with it
    [ -e "$folder/count/problem" ] && grep "^$1" "$folder/count/problem" | head -n 20 | grep . &&
        return 1
    return 0
}
pause() { # pause MOST: some milliseconds, below MOST
    local ms=$((RANDOM % $1))
    sleep "$((ms / 1000)).$(printf '%03d' $((ms % 1000)))"
}
resident() { sed -n 's/^VmRSS:[^0-9]*\([0-9]*\).*/\1/p' "/proc/$1/status"; }
descriptors() { find "/proc/$1/fd" -mindepth 1 2>/dev/null | wc -l; }

# ---- images, a model, an index ----
here=$folder
photos "$folder/photos"
for ((i = 0; i < 120; i++)); do bitmap "$i $((i * 7919))" >"$folder/photos/$i.bmp"; done
mkdir "$folder/aside"
pairs photos >"$folder/pairs.csv"
printf 'a dog\na red circle\nthe blue square\nan image of a cat\n' >"$folder/texts.txt"
{
    tiny_model
    printf 'image_size = 32\nvision_width = 64\nvision_layers = 2\n'
    tiny_run "$folder/pairs.csv" run 240
    printf '[train]\nsave_every = 20\nval_every = 60\nkeep = 2\npatch_dropout = 0.25\n'
    printf '[data]\nval_data = %s\naug_flip = true\naug_scale_min = 0.5\n' "$folder/pairs.csv"
    printf '[optim]\nema_decay = 0.9\n'
} >"$folder/tiny.ini"
sed -e 's/^steps = .*/steps = 100000000/' -e 's/^save_every = .*/save_every = 500/' \
    -e 's/^val_every = .*/val_every = 500/' "$folder/tiny.ini" >"$folder/endless.ini"
cd "$folder" || exit 1
exec 2>setup.err # warnings of no use here; later the word of each killed child
clip_data tokenizer train --input texts.txt --vocab-size 520 --output tokenizer.txt --quiet \
    >/dev/null || { cat setup.err; exit 1; }
began=${EPOCHREALTIME/[^0-9]/}
mkdir undisturbed killed
(cd undisturbed && clip_train --config ../tiny.ini --output run --quiet) >/dev/null || exit 1
whole_ms=$(((${EPOCHREALTIME/[^0-9]/} - began) / 1000))
model=$folder/undisturbed/run
indexing=(clip_search index --model "$model" --images photos --segment-size 16 --quiet --output)
index() { "${indexing[@]}" "$1"; } # index FILE: as it is now
index x.index >/dev/null || exit 1

# ---- the servers ----
# serve NAME: sets server and writes its port to NAME.port.
serve() {
    rm -f "$1.port"
    : >"$1.ready" # what the last one said
    clip_search serve --index x.index --port 0 --json --quiet >"$1.ready" 2>"$1.err" &
    server=$!
    for ((i = 0; i < 1000; i++)); do
        if grep -q '"port"' "$1.ready"; then break; fi
        kill -0 $server 2>/dev/null || break
        sleep 0.02
    done
    sed -n 's/.*"port":\([0-9]*\).*/\1/p' "$1.ready" >"$1.new"
    if [ -s "$1.new" ]; then
        mv "$1.new" "$1.port"
    else
        problem "serve did not start within $i looks: $(cat "$1.ready" "$1.err")"
    fi
}
# ask PORT TARGET [FILE]: prints the status of the answer; a file is sent as the body.
ask() {
    local line code='' body=0 method=GET
    [ $# -gt 2 ] && method=POST body=$(stat -c %s "$3")
    {
        exec 9<>"/dev/tcp/127.0.0.1/$1" || return 1
        printf '%s %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n' "$method" "$2" >&9
        printf 'Content-Length: %d\r\n\r\n' "$body" >&9
        [ $# -gt 2 ] && cat "$3" >&9
        IFS= read -r line <&9 && code=${line#* } code=${code%% *}
        cat <&9 >/dev/null
        exec 9<&-
    } 2>/dev/null
    echo "$code"
}
texts=(a+dog a+red+circle the+blue+square %E4%BD%A0 x)
some() { # some: a target that may be asked for, and a file to send or nothing
    local number=$((RANDOM % 160)) text=${texts[RANDOM % 5]}
    case $((RANDOM % 12)) in
    0 | 1 | 2) echo "/api/search?text=$text&limit=50" ;;
    3) echo "/api/search?text=$text&minus=a+cat&sort=newest&least=0.01" ;;
    4) echo "/api/images?offset=$number&limit=30" ;;
    5 | 6) echo "/thumbnail/$number" ;;
    7) echo "/image/$number" ;;
    8) echo "/api/image?image=$number" ;;
    9) echo "/api/search?limit=5 photos/$((number % 120)).bmp" ;;
    10) echo "/api/classify?label=a+dog&label=a+cat photos/$((number % 120)).bmp" ;;
    11) echo "/api/search?like=$number&$((RANDOM))=%ff%00&limit=-$number" ;;
    esac
}
client() { # client NAME: of the server of that name, until the end
    local code target file
    RANDOM=$2
    while [ ! -e end ]; do
        read -r target file < <(some)
        if [ -n "$file" ] && [ ! -e "$file" ]; then continue; fi
        code=$(ask "$(cat "$1.port" 2>/dev/null || echo 1)" "$target" ${file:+"$file"})
        case $code in
        2?? | 304) tally "$1 answered" ;;
        4??) tally "$1 refused" ;;
        '')
            # the other server is away at times, and so is a file that is just being moved
            if [ "$1" = other ] || [ -n "$file" ]; then tally "$1 unanswered"
            else problem "request $target: no answer"; fi
            ;;
        *) problem "request $target: $code" ;;
        esac
    done
}

# Ends the other server and starts it again.
restarts() {
    local status signal
    RANDOM=$1
    while [ ! -e end ]; do
        serve other
        pause 6000
        signal=TERM
        [ $((RANDOM % 3)) -eq 0 ] && signal=KILL
        rm -f other.port
        kill -$signal "$server" 2>/dev/null
        wait "$server" 2>/dev/null
        status=$?
        [ "$signal:$status" = KILL:137 ] ||
            [ "$signal:$status" = TERM:143 ] ||
            problem "serve ended with $status: $(tail -n 2 other.err)"
        tally "restart"
    done
}

# Changes the folder and the index, kills every third change.
changes() {
    local i job status
    RANDOM=$1
    while [ ! -e end ]; do
        for ((i = 0; i < 3; i++)); do
            mv "photos/$((RANDOM % 120)).bmp" aside/ 2>/dev/null
            mv "aside/$((RANDOM % 120)).bmp" photos/ 2>/dev/null
        done
        if [ $((RANDOM % 5)) -eq 0 ]; then
            clip_search compact --index x.index --quiet >/dev/null 2>change.err &
        else
            # (not by the function index: a kill is to meet the program, not a shell around it)
            "${indexing[@]}" x.index >/dev/null 2>change.err &
        fi
        job=$!
        if [ $((RANDOM % 3)) -eq 0 ]; then
            pause 400
            kill -9 $job 2>/dev/null && tally "index killed"
        fi
        wait $job 2>/dev/null
        status=$?
        case $status in
        0) tally "index changed" ;;
        137) ;;
        *) problem "index ended with $status: $(tail -n 2 change.err)" ;;
        esac
        clip_search check --index x.index --quiet >/dev/null 2>check.err ||
            problem "index is not whole: $(tail -n 2 check.err)"
        pause 1000
    done
}

# Trains, killed at random moments, until it is finished; again and again.
killed_training() {
    local job status signal more tries
    RANDOM=$1
    while [ ! -e end ]; do
        rm -rf killed/run
        more='' tries=0
        while :; do
            # shellcheck disable=SC2086
            (cd killed && exec clip_train --config ../tiny.ini --output run --quiet $more) \
                >/dev/null 2>train.err &
            job=$!
            tries=$((tries + 1))
            if [ $tries -lt 40 ] && [ ! -e end ]; then
                pause $((whole_ms / 2 + 100))
                signal=KILL
                [ $((RANDOM % 3)) -eq 0 ] && signal=TERM
                kill -$signal $job 2>/dev/null && tally "training killed by SIG$signal"
            fi
            wait $job 2>/dev/null
            status=$?
            case $status in
            0) break ;;
            137 | 143) ;;
            *)
                problem "training ended with $status: $(tail -n 2 train.err)"
                break
                ;;
            esac
            more=--resume
            # killed before the run had a checkpoint: it begins anew
            [ -e killed/run/last.h5 ] || more=--force
            compgen -G 'killed/run/checkpoints/step_*.h5' >/dev/null && more=--resume
        done
        cmp -s killed/run/last.h5 undisturbed/run/last.h5 ||
            problem "training ended in other bits than undisturbed"
        cmp -s killed/run/best.h5 undisturbed/run/best.h5 ||
            problem "training ended with another best.h5"
        [ -z "$(find killed -name '*.tmp-*')" ] ||
            problem "training left $(find killed -name '*.tmp-*' | head -n 1)"
        tally "training finished"
    done
}

# watch NAME PID: what it holds now.
watch() {
    echo "$(resident "$2") $(descriptors "$2")" >>"$1.held"
}
# grown NAME: it held no more at its end than when it was warm (after a fifth), within the limits.
grown() {
    awk -v most="$most_growth" -v name="$1" '
        NF == 2 {rss[++n] = $1; fds[n] = $2}
        END {
            warm = int(n / 5) + 1
            for (i = 1; i <= n; i++) {
                if (i <= warm && rss[i] > a) a = rss[i]
                if (i > n - warm && rss[i] > b) b = rss[i]
                if (i <= warm && fds[i] > c) c = fds[i]
                if (i > n - warm && fds[i] > d) d = fds[i]
            }
            printf "# %s: %d KiB when warm, %d at the end; %d and %d descriptors; %d looks\n",
                name, a, b, c, d, n
            exit !(n >= 3 && b - a <= most && d - c <= 16)
        }' "$1.held" | tee -a figures
    return "${PIPESTATUS[0]}"
}

# ---- all at once ----
serve steady
steady=$server
jobs_of_ours+=("$steady")
quiet_descriptors=$(descriptors "$steady")
clip_train --config endless.ini --output endless --quiet >/dev/null 2>endless.err &
endless=$!
jobs_of_ours+=("$endless")
loops=()
for ((i = 0; i < clients; i++)); do
    client steady $((RANDOM + i)) &
    loops+=($!)
done
for loop in 'client other' restarts changes killed_training; do
    $loop $RANDOM &
    loops+=($!)
done
deadline=$((SECONDS + seconds)) tell=$((SECONDS + 60))
while [ "$SECONDS" -lt "$deadline" ]; do
    sleep 1
    watch server "$steady"
    watch training "$endless"
    if [ "$SECONDS" -ge "$tell" ]; then
        echo "# $((deadline - SECONDS)) s to go: $(counted 'steady answered') answers," \
            "$(counted 'index changed') changes, $(counted 'training finished') trainings;" \
            "$(resident "$steady"), $(resident "$endless") KiB"
        tell=$((tell + 60))
    fi
done
touch end
wait "${loops[@]}"

# ---- what is left ----
for i in 1 2 3 4 5 6 7 8 9 10; do
    [ "$(descriptors "$steady")" -le "$quiet_descriptors" ] && break
    sleep 0.5
done
check "the server did not crash" kill -0 "$steady"
check "... nor grow in memory or descriptors" grown server
check "... and holds no more descriptors than before the first request" \
    test "$(descriptors "$steady")" -le "$quiet_descriptors"
check "requests were answered" test "$(counted 'steady answered')" -gt 0
check "... each of them, and none with a failure of the server's" none request
check "servers were restarted, and ended as they were told" none serve
check "... at least once" test "$(counted restart)" -gt 0
check "the index was whole after each change and each kill" none index
check "... and it was changed" test "$(counted 'index changed')" -gt 0
index x.index >/dev/null
index fresh.index >/dev/null
answers() { clip_search query --index "$1" --text 'a red circle' --top 1000 --quiet; }
check "it answers as an index made at once" cmp <(answers x.index) <(answers fresh.index)
check "the server shows it" test "$(ask "$(<steady.port)" /api/about)" = 200
kill "$steady"
wait "$steady"
check "SIGTERM ends the server" test $? -eq 143
check "trainings were finished" test "$(counted 'training finished')" -gt 0
check "... though killed" test "$(counted 'training killed by SIGKILL')" -gt 0
check "... to the bits of an undisturbed one" none training
check "the training that nobody disturbed still runs" kill -0 "$endless"
check "... and did not grow" grown training
kill "$endless"
wait "$endless"
check "... and SIGTERM saves it" test $? -eq 143
check "no temporary file is left" test -z "$(find "$folder" -name '*.tmp-*')"
echo "# $minutes minutes, seed ${SEED:-1}"
for name in count/*; do echo "# ${name#count/}: $(wc -l <"$name")"; done
cat figures
plan
