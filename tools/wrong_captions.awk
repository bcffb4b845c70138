# Adds a column "wrong" to a tab-separated list of the drawn shapes' captions: a caption that almost
# fits. Where something stands left of, right of, above or below something else, it stands on the
# other side; of two colours with two forms every second row changes places. Rows of which neither
# can be said, or for which it would be true as well ("a circle left of a circle"), are left out.
#     awk -f tools/wrong_captions.awk runs/shapes/train.csv > relations.csv
BEGIN {
    FS = OFS = "\t"
    split("left right above below over under", a, " ")
    for (i = 1; i <= 6; i += 2) { other[a[i]] = a[i + 1]; other[a[i + 1]] = a[i] }
    split("red yellow green cyan blue purple white black", a, " ")
    for (i in a) colour[a[i]] = 1
    split("circle square triangle star cross ring", a, " ")
    for (i in a) form[a[i]] = 1
    split("small little tiny", a, " ")
    for (i in a) size[a[i]] = "small"
    split("large big huge", a, " ")
    for (i in a) size[a[i]] = "large"
}
NR == 1 { print $1, $2, "wrong"; next }
{
    n = split($2, word, " ")
    at = colours = forms = 0
    side[0] = side[1] = ""
    for (i = 1; i <= n; i++) {
        w = word[i]
        sub(/,$/, "", w)
        if ((w == "left" || w == "right") && word[i + 1] != "of") continue # its place
        if (w in other && !(word[i - 1] == "at" || word[i - 1] == "the" && word[i + 1] != "of"))
            at = i
        if (w in colour) place[++colours] = i
        if (w in form) named[++forms] = w
        if (w in colour || w in form) side[at > 0] = side[at > 0] " " w
        if (w in size) side[at > 0] = side[at > 0] " " size[w]
    }
    swap = colours == 2 && forms == 2 && named[1] != named[2] && word[place[1]] != word[place[2]]
    if (swap && (at == 0 || NR % 2)) {
        w = word[place[1]]
        word[place[1]] = word[place[2]]
        word[place[2]] = w
    } else if (at > 0 && side[0] != side[1]) {
        word[at] = other[word[at]]
    } else next
    wrong = word[1]
    for (i = 2; i <= n; i++) wrong = wrong " " word[i]
    print $1, $2, wrong
}
