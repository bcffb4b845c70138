#!/bin/bash
# What the compilers do not check: who includes whom, intrinsics, gradient checks, style; and then
# the warnings of gcc and clang, as errors. Run by `make lint`, which gives CPPFLAGS and WARN.
# Prints ok or not ok for each check.
set -u
exec 3>&1
export LC_ALL=C.UTF-8
passed=0 failed=0

# report NAME COMMAND...: what the command prints are complaints; none is ok.
report() {
    local name=$1 complaints
    shift
    set -- "$name" "$("$@" 2>&1 | head -n 40)"
    complaints=$2
    if [ -z "$complaints" ]; then
        echo "ok - $1"
        passed=$((passed + 1))
    else
        echo "not ok - $1"
        printf '%s\n' "$complaints" | sed 's/^/    /'
        failed=$((failed + 1))
    fi
}

product=$(find clip.h clip core kernels autograd model optim checkpoints data formats embed \
    eval search guide train bench serve tools -name '*.[ch]' | sort)
all="$product $(find tests examples -name '*.[ch]' | sort)"

# Each line is a rank: a room includes itself and the rooms of the lines above it, none beside it.
# The public header, clip/clip.h, includes none, and all may include it; clip.h forwards to it.
rooms='core
kernels
autograd
data/text data/image model optim checkpoints
formats data/sets data/demo
embed
eval search guide
train
serve bench
tools'
check_includes() {
    # shellcheck disable=SC2086
    awk -v rooms="$rooms" '
        function room(path) {
            sub(/\/[^\/]*$/, "", path)
            return path ~ /^autograd\// ? "autograd" : path
        }
        BEGIN {
            lines = split(rooms, line, "\n")
            for (i = 1; i <= lines; i++) {
                n = split(line[i], names, " ")
                for (j = 1; j <= n; j++) rank[names[j]] = i
            }
        }
        FNR == 1 && FILENAME !~ /^clip(\/clip)?\.h$/ && !(room(FILENAME) in rank) {
            print FILENAME ": " room(FILENAME) "/ is no room"
        }
        /^[ \t]*#[ \t]*include[ \t]*"/ {
            split($0, part, "\"")
            if (part[2] == "clip/clip.h") next
            mine = room(FILENAME)
            other = room(part[2])
            if (!(other in rank))
                print FILENAME ":" FNR ": \"" part[2] "\": write the path from the root"
            else if (other != mine && rank[other] >= rank[mine])
                print FILENAME ":" FNR ": " mine "/ must not include " other "/"
        }' $product
}

# The trade of a file shows in its name, and where it does not, in what the file is made of.
trades='kernels: gemm attention rows pixels
data/text: tokenizer text html
data/image: image stb
data/sets: dataset loader pack packed check
data/demo: shapes emoji demo
formats: model description export timm layout
embed: embedder embeddings
search: index search
guide: guide
bench: bench
serve: api http catalogue store
train: trainer config report checkpoint teacher'
check_rooms() {
    # shellcheck disable=SC2086
    printf '%s\n' $product | grep -vE '^(clip|tools)[/.]' | awk -v trades="$trades" '
        BEGIN {
            n = split(trades, line, "\n")
            for (i = 1; i <= n; i++) {
                split(line[i], half, ": ")
                words = split(half[2], word, " ")
                for (j = 1; j <= words; j++) trade[word[j]] = half[1]
            }
        }
        {
            room = $0
            sub(/\/[^\/]*$/, "", room)
            name = $0
            sub(/.*\//, "", name)
            sub(/[_.].*/, "", name)
            # an op bears the name of its formula, and model/ has a configuration of its own
            if (name in trade && trade[name] != room && room !~ /^(autograd|model)/)
                print $0 ": a file of this name belongs in " trade[name] "/"
        }'
    # shellcheck disable=SC2086
    grep -lE 'static const struct clip_op [a-z0-9_]+ = ' $product | grep -v '^autograd/' |
        sed 's/$/: an op belongs in autograd\//'
    # shellcheck disable=SC2086
    grep -lE '# *include <(argp|getopt)\.h>' $product | grep -v '^tools/' |
        sed 's/$/: arguments are read in tools\/ alone/'
    # shellcheck disable=SC2086
    grep -lE '# *include <mpi\.h>' $product | grep -v '^core/comm_mpi\.c$' |
        sed 's/$/: only core\/comm_mpi.c knows MPI/'
    # shellcheck disable=SC2086
    grep -lE '# *include <(omp|pthread)\.h>' $product |
        grep -vE '^(core|serve|kernels)/|^data/sets/(loader|dataset_stream)' |
        sed 's/$/: threads are started by core\/threads and data\/sets\/loader/'
}

check_intrinsics() {
    # shellcheck disable=SC2086
    grep -nE '(imm|x86|[a-z]mm)intrin\.h|arm_(neon|sve)\.h|\b_mm(256|512)?_[a-z]' $all |
        grep -v '^kernels/'
}

# Each op, by the name in its struct clip_op, is put through gradcheck somewhere in tests/.
check_gradients() {
    local file name
    for file in autograd/ops/*.c; do
        for name in $(tr '\n' ' ' <"$file" |
            grep -oE 'struct clip_op [a-z0-9_]+ = \{ *(\.name = )?"[a-z0-9_]+"' |
            grep -oE '"[a-z0-9_]+"'); do
            grep -hE 'check' tests/test_*.c | grep -qF "$name" ||
                echo "$file: op $name has no gradient check in tests/"
        done
    done
}

# Shared words of the sources' style.
check_lines() {
    # shellcheck disable=SC2086
    grep -nP '^.{101,}' $all Makefile configs/*.ini tools/*.sh tests/*.sh .ci/run |
        cut -d: -f1 | uniq -c | awk '{print $2 ": " $1 " lines longer than 100 columns"}'
    # shellcheck disable=SC2086
    grep -nP '\t|[ \t]+$' $all | sed 's/^\([^:]*:[0-9]*\):.*/\1: a tab, or blanks at the end/'
    # shellcheck disable=SC2086
    grep -nwE 'TODO|FIXME|XXX' $all
}

# A section of a file begins with one line: a rule of four dashes on both sides of its title.
check_rules() {
    # shellcheck disable=SC2086
    grep -nE '^[ \t]*(/\*|\*).*-{4,}' $all |
        grep -vE '^[^:]*:[0-9]*:/\* ---- [^-].*[^-] ---- \*/$' |
        sed 's|^\([^:]*:[0-9]*\):.*|\1: write a section as /* ---- title ---- */|'
    grep -nE '^# *-{4,}' Makefile tools/*.sh tests/*.sh tests/*.py |
        grep -vE '^[^:]*:[0-9]*:# ---- [^ ].*[^ ] ---- *$' |
        sed 's/^\([^:]*:[0-9]*\):.*/\1: write a section as # ---- title ----/'
}

# One word for one thing: what a person looks at is an image. Other words stay where they are data:
# the names inside packed sets, the sentences of captions and templates, and older versions' names.
other_word_for_image='^tools/lint\.sh:
^CHANGELOG\.md:
^data/sets/(pack|packed_head)\.c:.*"(pictures|samples/picture)
^data/demo/(emoji|shapes_text)\.c:.*"a picture 
^eval/template_sets\.c:.* picture 
^tests/test_report\.c:.*"a picture of a thing
^configs/cifar10_templates\.txt:.* picture of
^docs/data\.md:.*[`"](pictures|samples/picture)
^tools/(eval_interpolate|bench_loader)\.c:.*its old name
^tests/test_(finetune|clip_data)\.sh:.* --pictures? '
check_words() {
    grep -rniI picture clip.h clip *.md Makefile core kernels autograd model optim checkpoints \
        data formats embed eval search guide train bench serve tools configs docs examples tests \
        --include='*.[ch]' --include='*.sh' --include='*.py' --include='*.ini' --include='*.txt' \
        --include='*.md' --include='*.html' --include='*.js' --include='*.css' --include=Makefile |
        grep -vE "$other_word_for_image" | sed 's/^\([^:]*:[0-9]*\):.*/\1: "picture": say image/'
}

# Where memory is short jansson says so by a result alone, and what was to be added is missing in
# silence. clip_json_set and clip_json_push of core/json.h keep it.
check_json() {
    # shellcheck disable=SC2086
    grep -nE '^ +json_(object|array)_(set|set_new|append|append_new|update|extend)\(' $all |
        grep -v '^tests/' |
        sed 's/^\([^:]*:[0-9]*\):.*/\1: a result of jansson is dropped; use clip_json_set or _push/'
}

# One format, .clang-format's, as Debian 12's version 14 lays it out (others differ in details).
check_format() {
    local tool=clang-format
    [ "$(command -v clang-format-14)" ] && tool=clang-format-14
    if ! "$tool" --version 2>/dev/null | grep -q 'version 14\.'; then
        echo "skipped: formatting is checked by clang-format 14 alone" >&3
        return
    fi
    # shellcheck disable=SC2086
    "$tool" --dry-run --Werror $all 2>&1 | grep 'error:' | sed 's/: error:.*/: run clang-format -i/'
}

check_sizes() {
    # shellcheck disable=SC2086
    awk '
        FNR == 1 && file != "" && lines > 700 { print file ": " lines " lines" }
        { file = FILENAME; lines = FNR }
        /^\{/ { start = FNR }
        /^\}/ { if (start && FNR - start > 80 && FILENAME !~ /^tests/)
                    print FILENAME ":" start ": a function of " FNR - start " lines"
                start = 0 }
        END { if (lines > 700) print file ": " lines " lines" }' $all
}

# More than seven parameters: a struct. Known and argued: calls of the library whose parameters are
# the caller's arrays and their sizes, what libmicrohttpd calls, and what BLAS takes.
many_parameters=" clip_embedder_images_sized clip_embedder_text_states on_request clip_sgemm "
check_parameters() {
    # shellcheck disable=SC2086
    awk -v known="$many_parameters" '
        function judge(text,    name, rest, i, c, depth, commas) {
            name = text
            sub(/\(.*/, "", name)
            sub(/.*[ *]/, "", name)
            rest = substr(text, index(text, "("))
            for (i = 1; i <= length(rest); i++) {
                c = substr(rest, i, 1)
                if (c == "(") depth++
                if (c == ")" && --depth == 0) break
                if (c == "," && depth == 1) commas++
            }
            if (commas >= 7 && index(known, " " name " ") == 0)
                print FILENAME ":" start ": " name " has " commas + 1 " parameters"
        }
        text != "" { text = text " " $0 }
        text == "" && /^[A-Za-z][A-Za-z_0-9 *]*[ *][a-z_0-9]+\(/ { text = $0; start = FNR }
        text != "" && /[;{]$|\)$/ { judge(text); text = "" }' $all
}

check_exits() {
    # shellcheck disable=SC2086
    grep -nE '\bexit *\(' $product | grep -vE '^tools/|^[^:]*:[0-9]*: *(\*|/\*)'
}

# What is written to while a program runs. Known and argued: the kernel table and the key to
# threads' memory, both set once, whether the table was warned of, and locks.
may_change=" kernels/table:chosen kernels/table:once kernels/table:untold kernels/table:instead \
    core/thread_memory:key core/thread_memory:made core/thread_memory:once \
    core/hdf5:library core/hdf5:leave_at_exit core/json:parsing "
check_globals() {
    local source name
    for source in $(printf '%s\n' $product | grep '\.c$' | grep -v '^tools/'); do
        [ -e "$BUILD/obj/${source%.c}.o" ] || continue
        for name in $(objdump -t "$BUILD/obj/${source%.c}.o" |
            awk '$0 ~ / O \.(data|data\.rel|data\.rel\.local|bss|tdata|tbss)[ \t]/ {print $NF}'); do
            [[ $may_change == *" ${source%.c}:${name%.[0-9]*} "* ]] ||
                echo "$source: $name can change: no mutable globals"
        done
    done
}

# compile LEFT_OUT COMPILER FLAG...: every file but one, warnings as errors; with the instructions
# that some files of kernels/ are written in.
instructions=
[ "$(uname -m)" = x86_64 ] && instructions="-march=x86-64-v4 -mavx512bf16 -mamx-tile -mamx-bf16"
compile() {
    local left_out=$1
    shift
    # shellcheck disable=SC2086
    printf '%s\n' $all | grep '\.c$' | grep -vFx "$left_out" | xargs -P 2 -n 1 \
        "$@" $instructions \
        $CPPFLAGS -DCLIP_VERSION='"0"' -DCLIP_PREFIX='"/"' -std=c11 $WARN -Werror 2>&1 |
        grep -E 'error|warning'
}

# gcc's analyzer on what reads other people's files.
analyse() {
    # shellcheck disable=SC2086
    printf '%s\n' data/*/*.c formats/*.c checkpoints/*.c serve/*.c |
        grep -vFx data/image/stb_image.c | xargs -P 2 -n 1 \
        gcc $CPPFLAGS -DCLIP_PREFIX='"/"' -std=c11 -O1 -fopenmp -fanalyzer -S -o /dev/null 2>&1 |
        grep 'warning'
}

report "who includes whom" check_includes
report "every file in the room of its trade" check_rooms
report "intrinsics only in kernels/" check_intrinsics
report "every op has a gradient check" check_gradients
report "lines: at most 100 columns, no tabs, nothing left to do" check_lines
report "sections begin with one form of line" check_rules
report "an image is called an image" check_words
report "no result of jansson is dropped" check_json
report "formatted by .clang-format" check_format
report "functions and files of bearable length" check_sizes
report "seven parameters at most" check_parameters
report "only tools/ exits" check_exits
report "no mutable globals" check_globals
report "gcc: no warnings" compile none gcc -fopenmp -O1 -S -o /dev/null
report "clang: no warnings" compile core/threads.c clang -fopenmp-simd -fsyntax-only
report "gcc -fanalyzer on data/ and checkpoints/" analyse
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
