#!/bin/bash
# What the tests reach, from the counts that gcc's --coverage left in BUILD: lines for each room,
# and error paths by what they answer. An error path is a line that reports a failure (clip_fail and
# its kin, a status other than CLIP_OK) or leaves by `goto out`; a forward is a CLIP_TRY whose call
# has never failed.
#     tools/coverage.sh BUILD [LIST]     LIST: a file for every line that no test reaches
# Run by `make coverage`; more programs may be run from BUILD before it is called again.
set -u
cd "$(dirname "$0")/.." || exit 1
build=${1:-build-coverage} list=${2:-$1/unreached.txt}
find "$build/obj" -name '*.gcno' ! -path '*/obj/tests/*' ! -name 'page.gcno' ! -name '*pb-c*' |
    sort | while IFS= read -r file; do
    gcov -b -c -t "${file%.gcno}.gcda" 2>/dev/null
done | awk -v list="$list" '
    # gcov: "COUNT:LINE:TEXT"; behind it, "branch N taken COUNT" of that line
    function flush() {
        if (key == "") return
        text[key] = line_text
        if (count + 0 > reached[key] + 0) reached[key] = count + 0
        else reached[key] += 0
        if (line_text ~ /CLIP_TRY\(/ && count > 0) {
            if (!(key in failed)) failed[key] = 0
            if (branches > 0 && !zero) failed[key] = 1
        }
        key = ""
    }
    /^ *-: *0:Source:/ { flush(); source = $0; sub(/.*Source:/, "", source)
        wanted = source !~ /^\// && source !~ /stb_image|^build/; next }
    !wanted { next }
    /^branch/ { branches++; if ($0 ~ /never executed|taken 0/) zero = 1; next }
    /^(call|function|-----)/ { next }
    match($0, /^ *[-#=0-9*]+: *[0-9]+:/) {
        flush()
        head = substr($0, 1, RLENGTH); line_text = substr($0, RLENGTH + 1)
        split(head, part, ":"); gsub(/[ *]/, "", part[1]); gsub(/ /, "", part[2])
        if (part[1] == "-") next
        count = part[1] ~ /^[0-9]/ ? part[1] : 0
        key = source ":" part[2]; branches = 0; zero = 0
    }
    function reports(t) {
        return t ~ /(_fail(ed)?|_refuse)\(|return CLIP_ERR|status = CLIP_ERR|goto out/ &&
            t !~ /^(static )?(clip_status|void|int) /
    }
    # What a line that reports something answers.
    function reason(t) {
        if (t ~ /MEMORY|memory is short|== NULL\) (return|goto)|\? CLIP_OK/)
            return "memory is short"
        if (t ~ /ERR_IO|system_failed|strerror|errno/) return "the disk or the system fails"
        if (t ~ /hdf5_fail|png_|archive_|jansson|json_.*(set|append)|H5[A-Z]|Z_|ONNX|protobuf/)
            return "a library fails"
        if (t ~ /ERR_(DATA|FORMAT|USAGE|NOT_FOUND|UNSUPPORTED|BUSY)|fail\(|refuse\(/)
            return "an input is refused"
        return "a failure is passed on"
    }
    function part_of(a, b) { return b > 0 ? 100 * a / b : 100 }
    function show(name, r) {
        printf "%-16s %6d %5.1f %%   %11d %5.1f %%   %8d %5.1f %%\n", name, lines[r],
            part_of(hits[r], lines[r]), room_paths[r], part_of(room_hits[r], room_paths[r]),
            forwards[r], part_of(forward_hits[r], forwards[r])
    }
    END {
        flush()
        for (k in text) {
            room = k; sub(/\/[^\/]*$/, "", room)
            t = text[k]; lines[room]++; hit = reached[k] > 0; hits[room] += hit
            if (reports(t)) {
                why = reason(t); paths[why]++; path_hits[why] += hit
                room_paths[room]++; room_hits[room] += hit
                if (!hit) print why "\t" k "\t" t >list
            }
            if (k in failed) {
                forwards[room]++; forward_hits[room] += failed[k]
            }
        }
        printf "%-16s %6s %7s   %11s %7s   %8s %7s\n", "room", "lines", "reached", "error paths",
            "reached", "forwards", "failed"
        n = 0
        for (r in lines) rooms[++n] = r
        for (i = 2; i <= n; i++)
            for (j = i; j > 1 && rooms[j] < rooms[j - 1]; j--) {
                r = rooms[j]; rooms[j] = rooms[j - 1]; rooms[j - 1] = r
            }
        for (i = 1; i <= n; i++) {
            r = rooms[i]; show(r, r)
            lines["*"] += lines[r]; hits["*"] += hits[r]
            room_paths["*"] += room_paths[r]; room_hits["*"] += room_hits[r]
            forwards["*"] += forwards[r]; forward_hits["*"] += forward_hits[r]
        }
        show("together", "*")
        print ""
        printf "%-30s %6s %8s\n", "error paths", "lines", "not reached"
        for (why in paths)
            printf "%-30s %6d %8d\n", why, paths[why], paths[why] - path_hits[why] | "sort"
        close("sort")
        print "each of them: " list
    }'
