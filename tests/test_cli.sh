#!/bin/bash
# What all programs have in common: help, version, wrong usage, exit codes, a full disk under
# stdout.
build=${BUILD:-build}
n=0
check() { # check NAME COMMAND...: ok where the command succeeds
    local name=$1
    shift
    n=$((n + 1))
    if "$@"; then echo "ok $n - $name"; else echo "not ok $n - $name"; fi
}

# exits CODE WORD COMMAND...: with this status, and the word on stderr.
exits() {
    local code=$1 word=$2 said status
    shift 2
    said=$("$@" 2>&1 >/dev/null)
    status=$?
    [ "$status" -eq "$code" ] && [[ $said == *"$word"* ]] && return
    echo "# $*: exit status $status, \"$said\"; $code and \"$word\" expected"
    return 1
}

# The help of a program or command: on stdout, a screen of 80 columns, with a real command in it.
helps() {
    local text lines widest
    text=$("$@" --help 2>/dev/null) || return 1
    lines=$(printf '%s\n' "$text" | wc -l)
    widest=$(printf '%s\n' "$text" | wc -L)
    [[ $text == "Usage: $(basename "$*")"* && $text == *"Example:"*"clip_"* ]] &&
        [ "$lines" -le 40 ] && [ "$widest" -le 100 ] && return
    echo "# $* --help: $lines lines, $widest columns"
    printf '%s\n' "$text" | head -n 5
    return 1
}

# The commands that --help lists; nothing for a program without.
commands() {
    "$@" --help | awk '/^Usage: .* COMMAND/ {list = 1} /^Example:/ {list = 0}
                       list && /^  [a-z]/ {print $1}'
}

walk() {
    local command found=0
    check "$(basename "$*") --help" helps "$@"
    for command in $(commands "$@"); do
        found=1
        walk "$@" "$command"
    done
    if [ "$found" -eq 1 ]; then
        check "$(basename "$*") without a command" exits 2 'a command is missing' "$@"
        check "$(basename "$*") with no such command" exits 2 '"nonsense"' "$@" nonsense
    else
        check "$(basename "$*") --nonsense" exits 2 "--help'" "$@" --nonsense
        check "$(basename "$*") --threads 0" exits 2 'from 1 to' "$@" --threads 0
    fi
    check "$(basename "$*") --version" \
        test "$("$@" --version | awk '{print $NF}')" = "$(cat VERSION)"
}

for program in "$build"/clip_*; do
    if [ -f "$program" ] && [ -x "$program" ]; then walk "$program"; fi
done
if [ -e /dev/full ]; then
    full() { "$build/clip_data" --help >/dev/full; }
    check "a full disk under stdout is an error" exits 1 'No space left' full
fi
# A limit on the size of files sends a signal whose default is to end the program without a word.
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
limited() (
    ulimit -f 1
    "$@"
)
check "a file past the limit on sizes is an error" exits 1 'File too large' \
    limited "$build/clip_data" tokenizer train --input README.md --vocab-size 4096 \
    --output "$folder/tokenizer.txt"
check "... and nothing half-written is left" test -z "$(ls -A "$folder")"
echo "1..$n"
