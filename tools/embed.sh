#!/bin/bash
# Prints the page's files as C (serve/api.h, clip_page_files), so that a program carries them.
#     tools/embed.sh serve/page/* > build/page.c
set -eu
echo '#include "serve/api.h"'
n=0
for file in "$@"; do
    echo "static const unsigned char file_$n[] = {"
    od -An -v -tu1 "$file" | sed 's/[0-9][0-9]*/&,/g'
    echo '};'
    n=$((n + 1))
done
echo 'const struct clip_page_file clip_page_files[] = {'
n=0
for file in "$@"; do
    name=/$(basename "$file")
    case $file in
    *.html) type='text/html; charset=utf-8' name=/ ;;
    *.css) type='text/css; charset=utf-8' ;;
    *.js) type='text/javascript; charset=utf-8' ;;
    *.svg) type='image/svg+xml' ;;
    *) echo "embed: $file: of what type?" >&2 && exit 1 ;;
    esac
    echo "    {\"$name\", \"$type\", file_$n, sizeof file_$n},"
    n=$((n + 1))
done
echo '    {0},'
echo '};'
