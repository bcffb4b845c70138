#!/bin/bash
# Prints the manual page of a program, made from its --help (and its commands').
#     tools/man.sh build/clip_eval > clip_eval.1
set -eu
program=$1
name=$(basename "$program")
version=$("$program" --version | awk '{print $2}')

# --help as roff: the usage, the summary, the options as a list, the example.
page() {
    LC_ALL=C awk '
        function quote(text) { gsub(/\\/, "\\e", text); gsub(/-/, "\\-", text)
                               sub(/^[.'"'"']/, "\\\\\\&&", text); return text }
        /^[^ ]/ && /^(Usage:|Example:)/ || /^ +-|^  [a-z]/ { blank = 0 }
        /^Usage: / { print ".PP\n.B " quote(substr($0, 8)); print ".PP"; next }
        /^  or:  / { print ".br\n.B " quote(substr($0, 8)); next }
        /^Example:$/ { print ".PP\nExample:\n.PP\n.RS\n.nf"; example = 1; next }
        example { sub(/^  /, ""); print quote($0); next }
        /^ +-/ {
            option = $1; $1 = ""
            if (option ~ /,$/) { option = option " " $2; $2 = "" }
            sub(/^ +/, "")
            print ".TP\n.B " quote(option); if ($0 != "") print quote($0); next
        }
        /^  [a-z]/ {
            command = $1; $1 = ""; sub(/^ +/, "")
            print ".TP\n.B " quote(command); print quote($0); next
        }
        /^ +/ { sub(/^ +/, ""); print quote($0); next }
        /^$/ { blank = 1; next }
        { if (blank) print ".PP"; blank = 0; print quote($0) }
        END { if (example) print ".fi\n.RE" }'
}

# The commands that a --help lists: two blanks, a word, what it does.
commands() {
    "$@" --help | awk '/^Usage: .* COMMAND/ {list = 1} /^Example:/ {list = 0}
                       list && /^  [a-z]/ {print $1}'
}

describe() {
    local command
    "$@" --help | page
    for command in $(commands "$@"); do
        printf '.SS "%s %s"\n' "$(basename "$*")" "$command"
        describe "$@" "$command"
    done
}

# clip_train's keys: sections, and each key with its default, meaning and range.
configuration() {
    echo '.SH CONFIGURATION'
    "$1" --help-config | awk '
        /^\[/ { print ".SS \"" $0 "\""; next }
        { gsub(/\\/, "\\e"); gsub(/-/, "\\-") }
        /^  [a-z]/ { sub(/^ +/, ""); print ".TP\n.B " $0; next }
        NF { sub(/^ +/, ""); sub(/^\./, "\\\\&."); print }'
}

# The first sentence of what stands under the usage, which --help may have broken into lines.
summary=$("$program" --help | awk '/^Usage:/ || /^  or:/ {next} /^ +\[/ && !seen {next}
                                   NF {text = text (seen ? " " : "") $0; seen = 1; next}
                                   seen {exit}
                                   END {print text}' | sed 's/\. .*//; s/\.$//; s/-/\\-/g')
printf '.TH %s 1 "" "clip.c %s" "clip.c"\n' "${name^^}" "$version"
printf '.SH NAME\n%s \\- %s\n.SH DESCRIPTION\n' "$name" "$summary"
describe "$program"
[ "$name" = clip_train ] && configuration "$program"
cat <<'END'
.SH EXIT STATUS
0 done; 1 it could not (bad file, full disk, bad data); 2 wrong usage; 130 or 143 stopped by a
signal after saving.
END
