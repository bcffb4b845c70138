#!/bin/bash
# Runs test programs and scripts one after the other and adds up what they count.
#     tests/run.sh build/tests/test_core ... tests/test_tools.sh ...
# Each prints TAP lines ("ok 1 - name", "not ok 2 - name"); what a failing one printed is shown. The
# last line is "N passed, N failed" (", N skipped" behind it). UNDER is put before each program
# (valgrind), TEST_SECONDS (600) is the most that one may take.
set -u
export CMOCKA_MESSAGE_OUTPUT=TAP
export OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-passive} # waiting threads leave the cores to others
passed=0 failed=0 skipped=0
log=$(mktemp) || exit 1
trap 'rm -f "$log"' EXIT

for program in "$@"; do
    name=$(basename "$program" .sh)
    start=${EPOCHREALTIME/[^0-9]/}
    case $program in
    *.sh) timeout "${TEST_SECONDS:-600}" bash "$program" >"$log" 2>&1 </dev/null ;;
    *) timeout "${TEST_SECONDS:-600}" ${UNDER:-} "$program" >"$log" 2>&1 </dev/null ;;
    esac
    status=$?
    # A skip is "not ok 3 # SKIP name" (cmocka) or "ok 3 - name # SKIP why" (TAP).
    s=$(grep -cE '^(not )?ok\b.*# SKIP' "$log")
    p=$(grep -E '^ok\b' "$log" | grep -vc '# SKIP')
    f=$(grep -E '^not ok\b' "$log" | grep -vc '# SKIP')
    # It ended without its plan or before it, or badly without naming a test: a failure too.
    plan=$(sed -n 's/^1\.\.\([0-9][0-9]*\)$/\1/p' "$log" | awk '{n += $1} END {print n + 0}')
    if ! grep -qE '^1\.\.[0-9]+$' "$log"; then
        echo "broke off: there is no plan (1..N)" >>"$log"
        f=$((f + 1))
    fi
    missing=$((plan - p - f - s))
    [ "$missing" -gt 0 ] && f=$((f + missing))
    [ "$status" -ne 0 ] && [ "$f" -eq 0 ] && f=1
    [ $((p + f + s)) -eq 0 ] && f=1
    passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
    printf '%-28s %4d passed' "$name" "$p"
    [ "$f" -gt 0 ] && printf ', %d FAILED (exit status %d)' "$f" "$status"
    [ "$s" -gt 0 ] && printf ', %d skipped' "$s"
    tenths=$(((${EPOCHREALTIME/[^0-9]/} - start) / 100000))
    printf '  %d.%d s\n' $((tenths / 10)) $((tenths % 10))
    if [ "$f" -gt 0 ]; then
        grep -vE '^ok\b|# SKIP' "$log" | head -n 60 | sed 's/^/    /'
    fi
    grep -E '^skipped:' "$log" | sort | uniq -c |
        awk '{n = $1; $1 = ""; print "   " $0 (n > 1 ? " (" n " tests)" : "")}'
done
if [ "$skipped" -gt 0 ]; then
    echo "$passed passed, $failed failed, $skipped skipped"
else
    echo "$passed passed, $failed failed"
fi
[ "$failed" -eq 0 ]
