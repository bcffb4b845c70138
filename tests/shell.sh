# What the shell tests share. Each begins, in the repository's root, with
#     . tests/shell.sh
# prints a TAP line for each check, and ends with `plan`, without which tests/run.sh says that it
# broke off. The programs under test come first in PATH.
#
#     check NAME COMMAND...          ok where the command succeeds; else what it printed is shown
#     run CODE COMMAND...            it ends with CODE; stdout is then in $out and $folder/out,
#                                    stderr in $err and $folder/err. It runs in the folder $here.
#     prints CODE TEXT COMMAND...    the same, and stdout holds TEXT
#     says CODE TEXT COMMAND...      the same of stderr
#     silent CODE TEXT COMMAND...    the same, and stderr does not hold TEXT
#     json PATTERN COMMAND...        it succeeds, and stdout is one line, an object that matches
#     skip NAME WHY                  a check that cannot be made here; it is counted as skipped
#
# $folder is the script's own and goes with it.
# shellcheck shell=bash
set -u
build=$(realpath "${BUILD:-build}") || exit 1
export CLIP_BPE= PATH="$build:$PATH"
folder=$(mktemp -d) || exit 1
trap 'rm -rf "$folder"' EXIT
here=$PWD n=0 out='' err=''

check() {
    local name=$1
    shift
    n=$((n + 1))
    if "$@" >"$folder/log" 2>&1; then
        echo "ok $n - $name"
    else
        sed 's/^/# /' "$folder/log"
        echo "not ok $n - $name"
    fi
}

skip() {
    n=$((n + 1))
    echo "ok $n - $1 # SKIP $2"
    echo "skipped: $2"
}

run() {
    local code=$1 status
    shift
    (cd "$here" && "$@") >"$folder/out" 2>"$folder/err" </dev/null
    status=$?
    out=$(tr -d '\0' <"$folder/out") err=$(tr -d '\0' <"$folder/err")
    [ "$status" -eq "$code" ] && return
    echo "$*: exit status $status instead of $code; \"$err\""
    return 1
}

out_has() {
    [[ $out == *"$1"* ]] && return
    echo "\"$out\" without \"$1\""
    return 1
}
err_has() {
    [[ $err == *"$1"* ]] && return
    echo "\"$err\" without \"$1\""
    return 1
}
prints() { run "$1" "${@:3}" && out_has "$2"; }
says() { run "$1" "${@:3}" && err_has "$2"; }
silent() {
    run "$1" "${@:3}" || return 1
    [[ $err != *"$2"* ]] && return
    echo "\"$err\" with \"$2\""
    return 1
}
json() {
    run 0 "${@:2}" || return 1
    [ "$(wc -l <"$folder/out")" -eq 1 ] && grep -qE -- "^\{.*$1.*\}$" "$folder/out" && return
    echo "not one line of JSON that matches $1: \"$out\""
    return 1
}

plan() { echo "1..$n"; }

# ---- a model of a moment ----
# The [model] section of one that trains in no time: images of 16 pixels, a block in each tower.
# More lines of a configuration may follow it; a key that comes twice counts as it comes last.
tiny_model() {
    cat <<'END'
[model]
embed_dim = 16
image_size = 16
patch_size = 8
vision_width = 16
vision_layers = 1
vision_heads = 2
context_length = 16
vocab_size = 520
text_width = 16
text_layers = 1
text_heads = 2
END
}
# tiny_run TABLE RUN [STEPS]: the rest of its configuration, with $folder's tokenizer.txt; one step.
tiny_run() {
    cat <<END
[data]
train_data = $1
tokenizer = $folder/tokenizer.txt
[train]
steps = ${3:-1}
batch_size = 4
output = $2
[optim]
warmup = 1
END
}

# photos FOLDER: the reference images. pairs NAME...: two captions of each of them as a table,
# paths from the folder NAME.
photos() {
    mkdir -p "$1" && cp tests/reference/preprocess/images/*.png "$1" || exit 1
}
pairs() {
    local image name
    printf 'filepath,title\n'
    for image in tests/reference/preprocess/images/*.png; do
        name=$(basename "$image" .png)
        printf '%s/%s.png,an image of a %s\n%s/%s.png,the %s one\n' "$1" "$name" "${name%_*}" \
            "$1" "$name" "${name%_*}"
    done
}

# bitmap TEXT: a BMP of 32x32, another one for each text.
bitmap() {
    printf 'BM\x36\x0c\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0\x20\0\0\0\x20\0\0\0\x01\0\x18\0\0\0\0\0'
    printf '\0\x0c\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0'
    yes "$1" | head -c 3072
}

# ---- the documentation's own words ----
# try LINE: by a shell in $folder, which is also its home, as a person would type it. A server is
# asked to take any port, and ended once it listens.
try() {
    local line=$1 i
    if [[ $line != *"clip_search serve"* ]]; then
        (cd "$folder" && HOME=$folder bash -c "$line") </dev/null && return
        echo "exit status $?"
        return 1
    fi
    line="exec ${line%%#*}"
    : >"$folder/out" # what the last one said
    (
        trap - EXIT
        cd "$folder" && exec bash -c "${line/--port 8080/} --port 0 --json"
    ) >"$folder/out" 2>&1 &
    for ((i = 0; i < 300; i++)); do
        if grep -q '"url"\|without libmicrohttpd' "$folder/out"; then break; fi
        sleep 0.1
    done
    kill $! 2>/dev/null
    wait $!
    [ $? -eq 143 ] || grep 'without libmicrohttpd' "$folder/out"
}

# page FILE LEAST: each command of a page, in order; it has LEAST of them or more. Commands are
# indented lines that begin with a program's name, a backslash at the end goes on. Not those that
# show what may be left out, [--so].
page() {
    local line count=0
    while IFS= read -r line; do
        count=$((count + 1))
        check "$1: $line" try "$line"
    done < <(awk '/^    (build\/)?clip_[a-z]+ / || /^    tools\// || on {
                      sub(/^ +/, ""); on = sub(/\\$/, ""); line = line $0
                      if (!on) { print line; line = "" } }' "$1" | grep -v '\[--')
    check "$1 has commands" test "$count" -ge "$2"
}
