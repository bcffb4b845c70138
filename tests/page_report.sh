#!/bin/bash
# Drives report.html and the page of --compare in headless Chromium: values under the pointer and by
# the keyboard, smoothing, text one can read, at 1280 and 390 pixels, light and dark. Part of make
# test-page; without Chromium it is skipped, and says so.
. tests/shell.sh
. tests/browser.sh
finish() {
    browser_end
    rm -rf "$folder"
}
trap finish EXIT
browser_start

# ---- runs ----
photos "$folder/photos"
pairs photos >"$folder/pairs.csv"
cut -d, -f2 "$folder/pairs.csv" >"$folder/texts.txt"
{
    tiny_model
    tiny_run "$folder/pairs.csv" "$folder/run" 40
    printf '[data]\nval_data = %s\n[train]\nlog_every = 1\nval_every = 10\n' "$folder/pairs.csv"
} >"$folder/tiny.ini"
run 0 clip_data tokenizer train --input "$folder/texts.txt" --vocab-size 520 \
    --output "$folder/tokenizer.txt" || exit 1
run 0 clip_train --config "$folder/tiny.ini" --quiet || exit 1
run 0 clip_train --config "$folder/tiny.ini" --quiet --output "$folder/other" --lr 1e-5 || exit 1
run 0 clip_train --compare "$folder/run" "$folder/other" --output "$folder/compare.html" || exit 1

# point SELECTOR PART: moves the pointer over the plot of a chart, PART of its width from the left.
point() {
    local x y
    read -r x y < <(js "const s = document.querySelector('$1'), r = s.getBoundingClientRect();
        const [left, top, width, height] = s.dataset.box.split(' ').map(Number);
        const unit = r.width / s.viewBox.baseVal.width;
        return (r.x + unit * (left + $2 * width)) + ' ' + (r.y + unit * (top + height / 2))")
    devtools Input.dispatchMouseEvent "{\"type\":\"mouseMoved\",\"x\":$x,\"y\":$y}" >/dev/null
}
away() { devtools Input.dispatchMouseEvent '{"type":"mouseMoved","x":2,"y":2}' >/dev/null; }
logged() { # logged STEP: the loss of it, to four digits
    sed -n "s/^{\"step\":$1,.*\"loss\":\([0-9.]*\).*/\1/p" "$folder/run/log.jsonl" |
        awk '{printf "%.4g", $1}'
}
where='return document.querySelector("svg .where").textContent'
value='return document.querySelector("svg .value").textContent'

# ---- the report ----
browser_size 1280 900
visit "file://$folder/run/report.html"
last=$(js "$value")
check "the curve's last value is there" test "$last" = "$(logged 40)"
point 'svg[data-box]' 0
check "the pointer at the left shows the first step" becomes 'step 1' "$where"
check "... with its value" becomes "$(logged 1)" "$value"
point 'svg[data-box]' 1
check "at the right the last" becomes 'step 40' "$where"
point 'svg[data-box]' 0.5
check "in the middle one between" becomes true "return (() => { $where })() === 'step 21' ||
    (() => { $where })() === 'step 20'"
check "the other charts show the same step" becomes true \
    'return [...document.querySelectorAll(".where")].every((w) => w.textContent !== "")'
away
check "away from it the last values are back" becomes "$last" "$value"
js 'document.querySelector("svg[data-box]").focus()' >/dev/null
press '\uE014'
check "the right arrow begins at the left" becomes 'step 1' "$where"
press '\uE014'
check "... and goes on" becomes 'step 2' "$where"
press '\uE00C'
check "Escape ends it" becomes '' "$where"

# ---- smoothing ----
smooths() { js "const s = document.getElementById('smoothing'); s.value = $1;
    s.dispatchEvent(new Event('input'))" >/dev/null; }
smoothed='return document.querySelectorAll("path.smooth").length > 0'
check "nothing is smoothed at first" becomes false "$smoothed"
smooths 0.9
check "the slider smooths curves" becomes true "$smoothed"
check "... of many values alone" becomes 0 \
    'return document.querySelectorAll("svg:has(circle[r=\"2.2\"]) path.smooth").length'
point 'svg[data-box]' 0
check "the first mean is the first value" becomes "$(logged 1) (smoothed $(logged 1))" "$value"
away
visit "file://$folder/run/report.html"
check "another look keeps the smoothing" becomes true "$smoothed"
smooths 0
check "... and off is as before" becomes "$last" "$value"

# ---- to read ----
small='return [...document.querySelectorAll("main *")].filter((e) => {
    const own = [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
    if (!own || !e.getClientRects().length) return false;
    const svg = e.closest("svg"), size = parseFloat(getComputedStyle(e).fontSize);
    const unit = svg ? svg.getBoundingClientRect().width / svg.viewBox.baseVal.width : 1;
    return size * unit < 10.5;
}).length'
wide='return document.documentElement.scrollWidth > innerWidth'
for page in run/report.html compare.html; do
    for size in 1280 390; do
        if [ $size -gt 400 ]; then browser_size $size 900; else browser_size $size 900 mobile; fi
        visit "file://$folder/$page"
        check "$page at $size pixels has no small text" becomes 0 "$small"
        check "... and is no wider than the window" becomes false "$wide"
        shoot "report-$(basename "$page" .html)-$size"
    done
done
browser_scheme dark
visit "file://$folder/run/report.html"
check "in the dark it is dark" becomes 'rgb(15, 19, 24)' \
    'return getComputedStyle(document.body).backgroundColor'
check "no script failed" test "$(call POST /se/log '{"type":"browser"}')" = '{"value":[]}'
plan
