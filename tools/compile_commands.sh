#!/bin/bash
# Prints a compilation database, by which editors (clangd, ccls, CLion) know how each file is
# compiled. It is made of the commands that make would run.
#     make -Bn all tests | tools/compile_commands.sh > compile_commands.json
set -eu
directory=$PWD awk '
    function quoted(text) {
        gsub(/\\/, "\\\\", text)
        gsub(/"/, "\\\"", text)
        gsub(/\t/, " ", text)
        return "\"" text "\""
    }
    BEGIN { printf "[" }
    /\\$/ { line = line substr($0, 1, length($0) - 1); next }
    { command = line $0; line = "" }
    command ~ / -c [^ ]+\.c -o [^ ]+\.o$/ {
        n = split(command, word, " ")
        printf "%s\n{\"directory\": %s, \"file\": %s, \"output\": %s,\n \"command\": %s}", comma,
            quoted(ENVIRON["directory"]), quoted(word[n - 2]), quoted(word[n]), quoted(command)
        comma = ","
    }
    END { print "\n]"; if (comma == "") exit 1 }'
