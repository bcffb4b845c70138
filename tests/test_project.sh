#!/bin/bash
# What a person meets who joins the project: the compilation database for editors, and pages whose
# links and file names lead somewhere.
. tests/shell.sh
unset MAKELEVEL

# ---- how each file is compiled ----
database() {
    make -Bn tests 2>/dev/null | tools/compile_commands.sh >"$folder/commands.json"
}
check "a compilation database is made" database
shape() { # "[", two lines for each object, "]"
    awk 'NR == 1 { if ($0 != "[") exit 1; next }
         /^\]$/ { whole = 1; exit }
         NR % 2 == 0 && !/^\{"directory": "\/[^"]*", "file": "[^"]*\.c", "output": "[^"]*\.o",$/ ||
         NR % 2 == 1 && !/^ "command": "([^"\\]|\\["\\])*"\},?$/ { print; exit }
         END { exit !whole }' "$folder/commands.json"
}
check "... as JSON" shape
entry() { # entry FILE: the command that compiles it, as a shell takes it
    grep -A1 -F "\"file\": \"$1\"" "$folder/commands.json" |
        sed -n 's/^ "command": "\(.*\)"},*$/\1/p' | sed 's/\\\([\\"]\)/\1/g'
}
compiles() { # compiles FILE
    local command
    command=$(entry "$1")
    [ -n "$command" ] && eval "${command% -o *} -fsyntax-only -MF $folder/d"
}
check "... a file of it compiles as it says" compiles core/rng.c
check "... one with quotes in its command too" compiles core/version.c
sets() { [ "$(grep -c '"file": "kernels/rows.c"' "$folder/commands.json")" -ge 1 ]; }
check "... and files that are compiled for each instruction set" sets

# ---- pages ----
# Headings as GitHub makes anchors of them: small letters, of any script, blanks as hyphens, no
# punctuation.
anchors() {
    sed -n 's/^#\+ //p' "$1" | tr '[:upper:]' '[:lower:]' |
        LC_ALL=C.UTF-8 sed 's/[^[:alnum:] _-]//g; s/ /-/g'
}
links() { # links PAGE: each link of it, code apart, leads to a file, and to a heading if named
    local target file anchor bad=0
    while IFS= read -r target; do
        file=${target%%#*} anchor=
        [[ $target == *"#"* ]] && anchor=${target#*#}
        file=$(dirname "$1")/$file
        [ -z "${target%%#*}" ] && file=$1
        if [ ! -e "$file" ]; then
            echo "$1: there is no $target"
            bad=1
        elif [ -n "$anchor" ] && ! anchors "$file" | grep -qxF "$anchor"; then
            echo "$1: $file has no heading #$anchor"
            bad=1
        fi
    done < <(grep -v '^    ' "$1" | grep -oE '\]\([^)]+\)' | sed 's/^](//; s/)$//' |
        grep -vE '^https?:')
    [ "$bad" -eq 0 ]
}
# Sources, scripts, configurations and pages of the repository, as in core/rng.h, and its folders in
# backticks, as in `autograd/ops/`. NAME stands for any.
named() { # named PAGE
    local file bad=0
    while IFS= read -r file; do
        [ -e "$file" ] && continue
        echo "$1: there is no $file"
        bad=1
    done < <({
        grep -oE '[A-Za-z_./-]+/[A-Za-z0-9_./-]+\.(c|h|sh|py|ini|md|awk)\b' "$1"
        grep -oE '`[a-z_]+/([a-z_]+/)*`' "$1" | tr -d '`'
    } | grep -E "^($folders)/" | grep -v NAME)
    [ "$bad" -eq 0 ]
}
folders=$(git ls-files 2>/dev/null | sed -n 's|/.*||p' | sort -u | paste -sd '|')
[ -n "$folders" ] ||
    folders=$(find . -maxdepth 1 -type d -name '[a-z]*' -printf '%f\n' | paste -sd '|')
for page in *.md docs/*.md; do
    check "links of $page" links "$page"
    check "files that $page names" named "$page"
done

# ---- options and keys that pages name ----
# $folder/options: "PROGRAM COMMAND --option" for each there is, as the shell completes them;
# $folder/keys: "section.key".
for program in "$build"/clip_*; do
    if [ -f "$program" ] && [ -x "$program" ]; then "$program" --print-completion bash; fi
done | awk -F'"' '/^    "clip_/ { place = $2 }
    /^        options=/ {
        split($0, half, "\047")
        n = split(half[2], option, " ")
        for (i = 1; i <= n; i++) print place, option[i]
    }' >"$folder/options"
clip_train --help-config |
    awk '/^\[/ { gsub(/[][]/, ""); section = $1 }
         /^  [a-z]/ { print section "." $1 }' >"$folder/keys"
check "there are options" test "$(wc -l <"$folder/options")" -ge 300
check "there are keys" test "$(wc -l <"$folder/keys")" -ge 90

# options PAGE: each belongs to the program, and the command, that is named before it on its line;
# where none is, to any. Options of other programs are behind their names.
options() {
    sed -e ':a' -e '/\\$/N; s/\\\n/ /; ta' "$1" | awk -v page="$1" '
        FNR == NR {
            any[$NF]
            for (i = 1; i < NF; i++) {
                place = i == 1 ? $1 : place " " $i
                places[place]
                known[place, $NF] # a program has what its commands have
            }
            next
        }
        function others(before) {
            return before ~ /(git|tar|gdb|tensorboard|pkg-config|mpirun|make)( [^`]*)?$/
        }
        {
            rest = $0
            before = ""
            while (match(rest, /--[a-z][a-z0-9-]*/)) {
                before = before substr(rest, 1, RSTART - 1)
                option = substr(rest, RSTART, RLENGTH)
                rest = substr(rest, RSTART + RLENGTH)
                last = substr(before, length(before))
                place = owner(before)
                if (last ~ /[A-Za-z0-9_-]/ || others(before))
                    ;
                else if (place != "" ? !((place, option) in known) : !(option in any))
                    print page ": " (place != "" ? place " has" : "no program has") \
                        (place != "" ? " no " : " ") option
                before = before option
            }
        }
        # The longest program and command that the text before names last.
        function owner(text,    at, name, word, n, i, best) {
            while (match(text, /clip_[a-z]+/)) {
                at = substr(text, RSTART)
                text = substr(text, RSTART + RLENGTH)
                n = split(at, word, /[^a-z_-]/)
                name = word[1]
                if (!(name in places)) continue
                for (i = 2; i <= n && (name " " word[i]) in places; i++) name = name " " word[i]
                best = name
            }
            return best
        }' "$folder/options" - >"$folder/unknown"
    cat "$folder/unknown"
    [ ! -s "$folder/unknown" ]
}

# keys PAGE: those of a [section] in front, of --set, in backticks with a value, and in the blocks
# of a configuration, which begin with a [section].
keys() {
    awk -v page="$1" '
        function wrong(key) { print page ":" FNR ": there is no key " key }
        FNR == NR {
            known[$1]
            split($1, part, ".")
            sections[part[1]]
            names[part[2]]
            next
        }
        {
            for (rest = $0; match(rest, /\[[a-z]+\] [a-z_0-9]+/); rest = substr(rest, RSTART + 2)) {
                split(substr(rest, RSTART + 1, RLENGTH - 1), part, "] ")
                if (part[1] in sections && page !~ /ini$/ && !((part[1] "." part[2]) in known))
                    wrong(part[1] "." part[2])
            }
            for (rest = $0; match(rest, /--set [a-z_0-9.]+=/); rest = substr(rest, RSTART + 6)) {
                key = substr(rest, RSTART + 6, RLENGTH - 7)
                if (!(key in known)) wrong(key)
            }
            for (rest = $0; match(rest, /`[a-z][a-z_0-9]* = /); rest = substr(rest, RSTART + 2)) {
                key = substr(rest, RSTART + 1, RLENGTH - 4)
                if (!(key in names)) wrong(key)
            }
        }
        page !~ /ini$/ && !/^    / { if (/./) section = ""; next }
        { line = $0; sub(/^    /, "", line) }
        line ~ /^\[[a-z]+\]/ { split(line, part, /[][]/); section = part[2]; next }
        section != "" && line ~ /^[a-z_0-9]+ *=/ {
            key = line
            sub(/ *=.*/, "", key)
            if (!((section "." key) in known)) wrong(section "." key)
        }' "$folder/keys" "$1" >"$folder/unknown"
    cat "$folder/unknown"
    [ ! -s "$folder/unknown" ]
}
for page in README*.md CONTRIBUTING.md docs/*.md; do
    check "options that $page names" options "$page"
    check "keys that $page names" keys "$page"
done
for page in configs/*.ini; do
    check "options that $page names" options "$page"
    check "keys of $page" keys "$page"
done
# What the checks themselves would find.
printf '%s\n' '`clip_eval zeroshot --text` with `clip_train --images`,' \
    '`--nonsense`, `tar --sort=name`' '    clip_search query --index a \\' \
    '        --no-such b' >"$folder/bad.md"
finds() { # finds COUNT CHECK PAGE
    ! "$2" "$3" && [ "$(wc -l <"$folder/unknown")" -eq "$1" ]
}
check "options that are not there are found" finds 4 options "$folder/bad.md"
printf '%s\n' '[train] no_such = 1, `nor_such = 2`, --set train.never=3' \
    '    [optim]' '    lr = 1' '    lrs = 2' >"$folder/bad.md"
check "keys that are not there are found" finds 4 keys "$folder/bad.md"
plan
