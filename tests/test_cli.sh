#!/bin/bash
# What all programs have in common: help, version, wrong usage, exit codes, a full disk under
# stdout.
. tests/shell.sh

# The example can be copied: a line that continues ends with a backslash.
whole_example() {
    awk 'on && line ~ /[^\\]$/ { bad = 1 } on { line = $0 } /^Example:$/ { on = 1 }
         END { exit bad || line == "" || line ~ /\\$/ }'
}

# Each line of the example, however wide the terminal is, has its quotations whole, and the shell
# reads the whole of it; nothing but a backslash makes a second line.
pastes() {
    local width text
    for width in 80 60; do
        text=$(COLUMNS=$width ARGP_HELP_FMT=rmargin=$((width - 1)) "$@" --help |
            sed -n '/^Example:$/,$p' | tail -n +2)
        [ -n "$text" ] && bash -n <<<"$text" &&
            ! grep -vE "^([^\"']|\"[^\"]*\"|'[^']*')*\$" <<<"$text" &&
            awk 'NR > 1 && before !~ /\\$/ { exit 1 } { before = $0 }' <<<"$text" && continue
        echo "# $* --help at $width columns:"
        printf '%s\n' "$text"
        return 1
    done
}

# The help of a program or command: on stdout, at most 40 lines of 80 columns, with a
# real command in it.
helps() {
    local text lines widest
    text=$("$@" --help 2>/dev/null) || return 1
    lines=$(printf '%s\n' "$text" | wc -l)
    widest=$(printf '%s\n' "$text" | wc -L)
    [[ $text == "Usage: $(basename "$*")"* && $text == *"Example:"*"clip_"* ]] &&
        printf '%s\n' "$text" | whole_example &&
        [ "$lines" -le 40 ] && [ "$widest" -le 80 ] && return
    echo "# $* --help: $lines lines, $widest columns"
    printf '%s\n' "$text" | head -n 5
    return 1
}

# The commands that --help lists; nothing for a program without.
commands() {
    "$@" --help | awk '/^Usage: .* COMMAND/ {list = 1} /^Example:/ {list = 0}
                       list && /^  [a-z]/ {print $1}'
}

# The page of the manual names the program's whole first sentence.
names() {
    local line
    line=$(tools/man.sh "$1" 2>/dev/null | sed -n '/^.SH NAME$/{n;p}')
    [[ $line == "$(basename "$1") \\- "* ]] && [ "${#line}" -ge 30 ] &&
        [[ ! $line =~ (,| of| and| or| the)$ ]] && return
    echo "# $1: \"$line\""
    return 1
}

walk() {
    local command found=0
    check "$(basename "$*") --help" helps "$@"
    check "... with an example that can be pasted" pastes "$@"
    for command in $(commands "$@"); do
        found=1
        walk "$@" "$command"
    done
    if [ "$found" -eq 1 ]; then
        check "$(basename "$*") without a command" says 2 'a command is missing' "$@"
        check "$(basename "$*") with no such command" says 2 '"nonsense"' "$@" nonsense
    else
        check "$(basename "$*") --nonsense" says 2 "--help'" "$@" --nonsense
        check "$(basename "$*") --threads 0" says 2 'from 1 to' "$@" --threads 0
    fi
    check "$(basename "$*") --version" \
        test "$("$@" --version | awk '{print $NF}')" = "$(cat VERSION)"
}

for program in "$build"/clip_*; do
    if [ -f "$program" ] && [ -x "$program" ]; then
        walk "$program"
        check "$(basename "$program")'s manual page names it whole" names "$program"
    fi
done
if [ -e /dev/full ]; then
    full() { "$build/clip_data" --help >/dev/full; }
    check "a full disk under stdout is an error" says 1 'No space left' full
fi
# A limit on the size of files sends a signal whose default is to end the program without a word.
mkdir "$folder/tokenizer"
limited() (
    ulimit -f 1
    "$@"
)
check "a file past the limit on sizes is an error" says 1 'File too large' \
    limited "$build/clip_data" tokenizer train --input README.md --vocab-size 4096 \
    --output "$folder/tokenizer/t.txt"
check "... and nothing half-written is left" test -z "$(ls -A "$folder/tokenizer")"
# OpenBLAS' own start sets aside memory for each thread, and would try for ever here.
little() (
    ulimit -v 250000
    timeout 20 "$@"
)
nm -D "$build/clip_eval" | grep -q __asan_ || # which sets aside all addresses
    check "a program starts with 250 MB of addresses" little "$build/clip_eval" --version
# shellcheck disable=SC2016
check "... and links no OpenBLAS" sh -c '! ldd "$1" | grep -i blas' - "$build/clip_train"
# libhdf5 crashes where the first allocation of its start fails, so only what writes HDF5 starts it.
untouched() {
    LD_DEBUG=bindings "$@" >"$folder/bindings" 2>&1
    grep -q "symbol .malloc'" "$folder/bindings" &&
        ! grep -E "symbol .H5(open|dont_atexit)'" "$folder/bindings"
}
check "... and no libhdf5 is started to say what is wrong" untouched \
    "$build/clip_eval" loss --model none --data none
mkdir "$folder/libraries"
echo "no library" >"$folder/libraries/libopenblas.so.0"
check "an OpenBLAS that cannot be opened is warned of" says 1 \
    'CLIP_KERNELS=openblas: libopenblas.so.0 cannot be opened' \
    env CLIP_KERNELS=openblas LD_LIBRARY_PATH="$folder/libraries" \
    "$build/clip_eval" loss --model none --data none
# The programs start themselves again, once, to set how OpenMP's threads wait.
named() {
    env -u OMP_WAIT_POLICY clip_bench gemm --preset vit-l-14 >"$folder/bench" &
    local pid=$! name i
    for ((i = 0; i < 100; i++)); do
        name=$(cat /proc/$pid/comm) || return 1
        [ "$name" = clip_bench ] && grep -qz OMP_WAIT_POLICY /proc/$pid/environ && break
        sleep 0.05
    done
    kill -9 $pid
    echo "its name is $name"
    [ $i -lt 100 ]
}
check "a program has its name in top and for pkill" named
linker=$(sed -n 's/.*\( \/[^ ]*\/ld-linux[^ ]*\)$/\1/p' /proc/self/maps | head -n 1)
by_linker() { env -u OMP_WAIT_POLICY $linker "$build/clip_data" --version; }
[ -z "$linker" ] || check "a program that the dynamic linker is asked to run" \
    prints 0 clip_data by_linker

# ---- options that are not there ----
check "a slip of the hand is answered with the nearest option" \
    says 2 'there is no option --batch-sise; did you mean --batch-size?' clip_train --batch-sise 3
check "the nearest of a sub-command's own options" \
    says 2 'clip_search query: there is no option --indx; did you mean --index?' \
    clip_search query --indx a.index
check "another word is near to none" silent 2 'did you mean' clip_export --qqqqqqqq
check "an option's value may look like an option" \
    says 1 'nowhere.ini' clip_train --output --nothing --config nowhere.ini
check "an option may be shortened while it is clear" \
    says 1 'nowhere.ini' clip_train --dry --config nowhere.ini
hint() { says 2 "is open_clip's; here it is $1" clip_train --config configs/small.ini "${@:2}"; }
check "open_clip's --model" hint '--preset' --model ViT-B-32
check "open_clip's --pretrained" hint '--init MODEL' --pretrained openai
check "open_clip's --accum-freq" hint '--micro-batch' --accum-freq=2
check "open_clip's --siglip" hint '--loss siglip' --siglip
check "open_clip's --grad-checkpointing" hint '--recompute block' --grad-checkpointing
check "open_clip's --imagenet-val" hint '--set zeroshot.images' --imagenet-val /data
check "open_clip's --report-to" hint '--tensorboard true' --report-to wandb
check "open_clip's --precision amp" hint '--precision bf16' --precision amp
check "open_clip's --resume latest" hint '--resume alone' --resume latest
check "serve takes its index as a word" says 1 'no.index' clip_search serve no.index
check "serve wants an index" says 2 'name one index' clip_search serve
check "query wants something to look for" says 2 'say what to look for: words' \
    clip_search query --index no.index

# ---- completion in the shell ----
completes() { # completes EXPECTED WORD...: what bash offers where the last word is being typed
    local expected=$1 program=$2 words
    shift
    words=$(bash -c 'source <("$1" --print-completion bash) || exit 1
        COMP_WORDS=("${@:2}") COMP_CWORD=$(($# - 2))
        "_$2"
        echo "${COMPREPLY[*]}"' bash "$build/$program" "$@")
    [ "$words" = "$expected" ] && return
    echo "\"$words\""
    return 1
}
check "commands complete" completes 'check' clip_data ch
check "options of a command do" completes '--strict' clip_data check --str
check "words of a choice do" completes 'open_clip huggingface' clip_data preprocess --crop ''
check "... behind a '=' too" completes 'huggingface' clip_data preprocess --crop = h
check "keys of the configuration are options" completes '--batch-size' clip_train --batch
check "... and so do their words" completes 'fp32 bf16' clip_train --precision ''
check "a command within a command" completes '--vocab-size' clip_data tokenizer train --voc
check "elsewhere files do, by the shell" completes '' clip_data check --html ''
scripts() { # scripts SHELL COMMAND...: each program's file is one that the shell can read
    local shell=$1 program
    for program in "$build"/clip_*; do
        [ -f "$program" ] && [ -x "$program" ] || continue
        "$program" --print-completion "$shell" >"$folder/completion" &&
            "${@:2}" "$folder/completion" || return 1
    done
}
check "bash reads each program's" scripts bash bash -n
if command -v zsh >/dev/null; then
    check "zsh reads each program's" scripts zsh zsh -n
fi
check "no other shell's is known" says 2 'expected bash or zsh' clip_embed --print-completion fish
plan
