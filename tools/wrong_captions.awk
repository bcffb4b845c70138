# Adds a column "wrong" to a tab-separated list of the drawn shapes' captions: one that almost fits.
# Rows that name colour and form of two objects are kept; of the kinds of wrong captions
#   colour, form   one of the two has another, which neither has
#   swap           the two have changed colours
#   side           what is left of, right of, above or below the other is on its other side
# each row gets one in turn, or the one that -v kind= names. Nothing wrong is true as well, and no
# wrong caption has a pair of colour and form that right ones never have: that alone would tell it.
#     awk -f tools/wrong_captions.awk runs/shapes/train.csv >pairs.tsv
BEGIN {
    srand(1)
    FS = OFS = "\t"
    colours = split("red yellow green cyan blue purple white black", colour, " ")
    forms = split("circle square triangle star cross ring", form, " ")
    for (i = 1; i <= colours; i++) number[colour[i]] = i
    for (i = 1; i <= forms; i++) number[form[i]] = i
    for (i = 1; i <= forms; i++) is_form[form[i]] = 1
    split("left right above below over under", side, " ")
    for (i = 1; i <= 6; i += 2) { other[side[i]] = side[i + 1]; other[side[i + 1]] = side[i] }
    kinds = split(kind == "" ? "colour form swap side" : kind, turn, " ")
}
function is_unseen(c, f) { return (number[c] - number[f]) % 4 == 0 } # docs/demo-sets.md
# Another one of a list than a and b.
function another(list, count, a, b,    at) {
    do at = int(count * rand()) + 1; while (list[at] == a || list[at] == b)
    return list[at]
}
NR == 1 { print $1, $2, "wrong"; next }
{
    n = split($2, word, " ")
    at = c = f = 0
    for (i = 1; i <= n; i++) {
        comma[i] = sub(/,$/, "", word[i])
        if (word[i] in is_form) f_at[++f] = i
        else if (word[i] in number) c_at[++c] = i
        else if (word[i] in other && word[i - 1] != "at") at = i
    }
    if (c != 2 || f != 2) next
    for (i = 1; i <= 2; i++) { cs[i] = word[c_at[i]]; fs[i] = word[f_at[i]] }
    which = int(2 * rand()) + 1
    kind = turn[int(kinds * rand()) + 1]
    if (kind == "side") {
        if (at == 0) next
        word[at] = other[word[at]]
    } else if (kind == "swap") {
        if (cs[1] == cs[2] || fs[1] == fs[2]) next
        word[c_at[1]] = cs[2]
        word[c_at[2]] = cs[1]
    } else if (kind == "colour") {
        word[c_at[which]] = another(colour, colours, cs[1], cs[2])
    } else {
        word[f_at[which]] = another(form, forms, fs[1], fs[2])
    }
    for (i = 1; i <= 2; i++) if (is_unseen(word[c_at[i]], word[f_at[i]])) next
    wrong = word[1] (comma[1] ? "," : "")
    for (i = 2; i <= n; i++) wrong = wrong " " word[i] (comma[i] ? "," : "")
    print $1, $2, wrong
}
