#!/bin/bash
# How well clip_guide's images are understood by a model that did not paint them: paints "a NAME"
# for each name of a class file with one model and asks another, of another seed, for the NAME's
# place among all of them.
#     tools/guide_names.sh PAINTER JUDGE CLASSES OUTPUT [OPTION of clip_guide ...]
# Prints one line per name, then how many are first and among the first five. Images that are in
# OUTPUT already are not painted again.
set -eu
build=${BUILD:-build}
[ $# -ge 4 ] || { sed -n '2,7s/^# \{0,1\}//p' "$0"; exit 2; }
painter=$1 judge=$2 classes=$3 output=$4
shift 4
texts=() first=0 five=0
while IFS=$'\t' read -r name _; do
    [ -n "$name" ] && texts+=("a $name")
done <"$classes"
mkdir -p "$output"
for i in "${!texts[@]}"; do
    image=$output/${texts[$i]// /_}
    if [ ! -e "$image" ]; then
        "$build/clip_guide" --model "$painter" --quiet --force --text "${texts[$i]}" \
            --output "$image.begun" "$@" >/dev/null
        mv "$image.begun" "$image"
    fi
    place=$("$build/clip_eval" similarity --model "$judge" --image "$image/image.png" --json \
        --text "${texts[@]}" | grep -oE '\[\[[^]]*' | tr -d '[' | tr ',' '\n' |
        awk -v mine="$((i + 1))" '{x[NR] = $1} END {for (k in x) n += x[k] > x[mine]; print n + 1}')
    printf '%2d  %s\n' "$place" "${texts[$i]}"
    [ "$place" -eq 1 ] && first=$((first + 1))
    [ "$place" -le 5 ] && five=$((five + 1))
done
echo "of ${#texts[@]} names: $first first, $five among the first five"
