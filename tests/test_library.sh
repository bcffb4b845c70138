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

declared() { grep -oE '\bclip_[a-z_]+\(' "$prefix/include/clip/clip.h" | tr -d '(' | sort -u; }
shown() { nm -D --defined-only "$prefix/lib/libclip.so" | awk '{print $3}' | sort -u; }
check "the shared library shows what clip/clip.h declares, and nothing else" \
    diff <(declared) <(shown)
check "its name has a version" bash -c "readelf -d '$prefix/lib/libclip.so' |
    grep -q 'SONAME.*libclip\.so\.0'"
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

# ---- programs of other kinds ---------------------------------------------------------------------
# shellcheck disable=SC2046
check "a program that loads the library itself is built" "$cc" -std=c11 -D_GNU_SOURCE -Wall \
    -Wextra -Werror tests/library/unload.c -o "$folder/unload" $(flags --cflags) -lpthread -ldl
check "unloading the library behind its threads does no harm" prints 0 'still here' \
    "$folder/unload" "$prefix/lib/libclip.so" "$model"
plan
