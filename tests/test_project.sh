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
plan
