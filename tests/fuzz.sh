#!/bin/bash
# Runs fuzz targets, FUZZ_SECONDS each, and prints ok or not ok for each.
#     FUZZ_SECONDS=20 tests/fuzz.sh build-fuzz/fuzz/fuzz_ini ...
# What each has learned stays in BUILD/corpus/NAME; beginnings are taken from tests/fuzz/seeds/NAME
# where there are some. An input that fails is kept as BUILD/corpus/NAME.failed-*.
set -u
failed=0 passed=0
for program in "$@"; do
    name=$(basename "$program")
    corpus=${BUILD:-build-fuzz}/corpus/$name
    mkdir -p "$corpus"
    seeds=()
    [ -d "tests/fuzz/seeds/$name" ] && seeds=("tests/fuzz/seeds/$name")
    log=$corpus.log
    if "$program" -max_total_time="${FUZZ_SECONDS:-60}" -timeout=10 -rss_limit_mb=2048 \
        -artifact_prefix="$corpus.failed-" "$corpus" "${seeds[@]}" >"$log" 2>&1; then
        echo "ok - $name: $(grep -E '^Done' "$log" | tail -1)"
        passed=$((passed + 1))
    else
        echo "not ok - $name"
        grep -nE 'ERROR|SUMMARY|runtime error|Test unit written' "$log" | head -20 | sed 's/^/    /'
        failed=$((failed + 1))
    fi
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
