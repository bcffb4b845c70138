#!/bin/bash
# The library as somebody else uses it: installed into an empty prefix, found by pkg-config, the two
# examples built against it and run; and it shows what clip/clip.h declares, and nothing else.
. tests/shell.sh
cc=${CC:-cc}

# ---- installing ----
[ -e "$build/libclip.so" ] || { echo "# first: make installable"; exit 1; }
check "it is installed" env BUILD="$build" PREFIX=/usr/local DESTDIR="$folder/root" \
    tools/install.sh
prefix=$folder/root/usr/local
export PKG_CONFIG_PATH=$prefix/lib/pkgconfig LD_LIBRARY_PATH=$prefix/lib
flags() { pkg-config --define-variable=prefix="$prefix" "$@" clip; }
check "pkg-config knows it" test "$(flags --modversion)" = "$(cat VERSION)"

# What the header declares, and what it defines itself (static inline) in terms of that.
called() { grep -oE '\bclip_[a-z_]+\(' "$@" | tr -d '(' | sort -u; }
header() { sed 's|/\*.*||; s|^ \*.*||' "$prefix/include/clip/clip.h"; }
inline() { header | grep '^static inline' | called; }
declared() { header | called | grep -vxF "$(inline)"; }
shown() { nm -D --defined-only "$prefix/lib/libclip.so" | awk '{print $3}' | sort -u; }
check "the shared library shows what clip/clip.h declares, and nothing else" \
    diff <(declared) <(shown)
check "... of which the header itself defines three" test "$(inline | wc -l)" -eq 3
# A function that its ..._sized one is tested by is tested with it.
untested() {
    local name
    for name in $(declared) $(inline); do
        grep -qwE "$name" tests/test_*.c tests/library/*.cpp || echo "no test calls $name"
    done
}
check "every function of the header is called by a test" test -z "$(untested)"
check "its name has a version" bash -c "readelf -d '$prefix/lib/libclip.so' |
    grep -q 'SONAME.*libclip\.so\.1'"
printf '#include <clip/clip.h>\nint main(void) { return clip_version()[0] == 0; }\n' >"$folder/a.c"
# shellcheck disable=SC2046
check "the header stands alone, as C99 without extensions" "$cc" -std=c99 -pedantic -Wall -Wextra \
    -Werror "$folder/a.c" -o "$folder/a" $(flags --cflags --libs)
check "... and the program runs" "$folder/a"
# clip.cpp has a clip.h too, whose guard is CLIP_H.
printf '#define CLIP_H\n#include <clip.h>\nint main(void) { return clip_version()[0] == 0; }\n' \
    >"$folder/old.c"
# shellcheck disable=SC2046
check "<clip.h> forwards to it, whatever other headers guard" "$cc" -std=c99 -pedantic -Wall \
    -Wextra -Werror "$folder/old.c" -o "$folder/old" $(flags --cflags --libs)
# shellcheck disable=SC2046
check "it is built with the static library too" "$cc" "$folder/a.c" -o "$folder/b" \
    $(flags --cflags) "$prefix/lib/libclip.a" \
    $(pkg-config --libs $(flags --print-requires-private)) -lgif -lgomp -lpthread -lm
check "... and runs" "$folder/b"

keys() { "$prefix/bin/clip_train" --help-config | grep -cE '^  [a-z]'; }
listed() {
    sed -n '/^.SH CONFIGURATION/,$p' "$prefix/share/man/man1/clip_train.1" | grep -c '^\.B '
}
check "clip_train's manual page has every key of the configuration" test "$(keys)" = "$(listed)"

# ---- the examples ----
for example in classify search_folder; do
    # shellcheck disable=SC2046
    check "examples/$example.c is built" "$cc" -std=c11 -D_GNU_SOURCE -Wall -Wextra -Werror \
        "examples/$example.c" -o "$folder/$example" $(flags --cflags --libs)
done
photos "$folder/photos"
echo "no image" >"$folder/photos/note.txt"
images=("$folder"/photos/*.png)
printf 'filepath,title\n' >"$folder/pairs.csv"
for image in "${images[@]}"; do
    echo "$image,an image that is gray" >>"$folder/pairs.csv"
done
printf 'an image that is gray\na image that is red\n' >"$folder/texts.txt"
{
    tiny_model
    tiny_run "$folder/pairs.csv" "$folder/run"
} >"$folder/tiny.ini"
check "a tokenizer is trained" "$prefix/bin/clip_data" tokenizer train --input \
    "$folder/texts.txt" --vocab-size 520 --output "$folder/tokenizer.txt"
check "a model is trained" "$prefix/bin/clip_train" --config "$folder/tiny.ini" --quiet

model=$folder/run image=${images[0]}
"$prefix/bin/clip_eval" classify --model "$model" --template '{}' --image "$image" --json \
    gray 'a red one' >"$folder/wanted"
"$folder/classify" "$model" "$image" gray 'a red one' >"$folder/got"
same_percent() {
    local p
    p=$(grep -oE '"probabilities":\[\[[0-9.e-]+' "$folder/wanted" | grep -oE '[0-9.e-]+$')
    grep -qxF "$(printf '%5.1f %%  gray' "$(echo "$p" | awk '{print 100 * $1}')")" "$folder/got"
}
check "classify gives clip_eval's probabilities" same_percent
check "classify names what is missing" bash -c \
    "! '$folder/classify' '$model' '$folder/none.png' gray 2>'$folder/err' &&
    grep -q none.png '$folder/err'"
"$folder/search_folder" "$model" "$folder/photos" 'gray' >"$folder/got" 2>"$folder/err"
check "search_folder lists the images" test "$(wc -l <"$folder/got")" -eq "${#images[@]}"
check "... the best first" sort -rnc "$folder/got"
check "... and names what is none" grep -q note.txt "$folder/err"

# ---- programs of other kinds ----
# shellcheck disable=SC2046
check "a program that loads the library itself is built" "$cc" -std=c11 -D_GNU_SOURCE -Wall \
    -Wextra -Werror tests/library/unload.c -o "$folder/unload" $(flags --cflags) -lpthread -ldl
check "unloading the library behind its threads does no harm" prints 0 'still here' \
    "$folder/unload" "$prefix/lib/libclip.so" "$model"

check "a model of another project's is there" "$prefix/bin/clip_export" --model "$model" \
    --format huggingface --output "$folder/theirs"
check "... and an embedding of it" "$prefix/bin/clip_embed" --model "$folder/theirs" --images \
    "$image" --output "$folder/row.npy"
warned_once() {
    run 0 env CLIP_KERNELS=none "$prefix/bin/clip_embed" --model "$folder/theirs" --images \
        "$image" --output "$folder/other.npy" --quiet &&
        [ "$err" = "clip_embed: warning: $(grep -o 'CLIP_KERNELS=none is not .*' <<<"$err")" ]
}
check "a wrong CLIP_KERNELS is warned of, in one line" warned_once
# Nothing is on stderr: notes and warnings went to the program's own function.
quietly() { run 0 "$@" && [ -z "$err" ] && out_has "$(cat VERSION)"; }
cxx=${CXX:-g++} python=${PYTHON:-python3}
# block LANGUAGE: the program in its section of docs/library.md.
block() {
    awk -v title="## $1" '/^## / {on = $0 == title}
                          on && (/^    / || /^$/) {sub(/^    /, ""); print}' docs/library.md
}
block C >"$folder/doc.c"
# shellcheck disable=SC2046
check "the C program of docs/library.md is built" "$cc" -std=c11 -Wall -Wextra -Werror \
    "$folder/doc.c" -o "$folder/doc" $(flags --cflags --libs)
sum_to_one() {
    run 0 "$@" && awk '{n += $1} END {exit !(NR == 2 && n > 0.99 && n < 1.01)}' <<<"$out"
}
check "... and classifies an image" sum_to_one "$folder/doc" "$model" "$image"
check "... or says what is wrong" says 1 none.png "$folder/doc" "$model" "$folder/none.png"
wanted="16 numbers, the first $(od -An -t f4 -w4 "$folder/row.npy" | tail -n 16 | head -n 1 |
    awk '{printf "%.4f", $1}')"
if command -v "$cxx" >/dev/null; then
    # shellcheck disable=SC2046
    check "a program in C++ is built" "$cxx" -std=c++11 -pedantic -Wall -Wextra -Wshadow -Werror \
        tests/library/user.cpp -o "$folder/user" $(flags --cflags --libs)
    check "... and what it embeds by several roads agrees" quietly "$folder/user" \
        "$folder/theirs" "$image"
    block C++ >"$folder/doc.cpp"
    # shellcheck disable=SC2046
    check "the C++ program of docs/library.md is built" "$cxx" -std=c++11 -Wall -Wextra -Werror \
        "$folder/doc.cpp" -o "$folder/doc-cxx" $(flags --cflags --libs)
    check "... and embeds an image" prints 0 "$wanted" "$folder/doc-cxx" "$folder/theirs" "$image"
else
    skip "a program in C++" "there is no C++ compiler ($cxx)"
fi
if "$python" -c 'import ctypes' 2>/dev/null; then
    check "a program in Python embeds by ctypes what clip_embed does" quietly "$python" \
        tests/library/user.py "$prefix/lib/libclip.so" "$folder/theirs" "$image" "$folder/row.npy"
    check "... to whose log a wrong CLIP_KERNELS goes too" quietly env CLIP_KERNELS=none "$python" \
        tests/library/user.py "$prefix/lib/libclip.so" "$folder/theirs" "$image" "$folder/row.npy"
    block Python >"$folder/doc.py"
    check "the Python program of docs/library.md embeds an image" prints 0 "$wanted" "$python" \
        "$folder/doc.py" "$folder/theirs" "$image"
    check "... or says what is wrong" says 1 none.png "$python" "$folder/doc.py" "$model" \
        "$folder/none.png"
else
    skip "a program in Python" "there is no Python with ctypes ($python)"
fi
plan
