#!/bin/bash
# Drives the page of clip_search serve in headless Chromium: types, looks, clicks, swipes, drops an
# image, at 1280 and 390 pixels, light and dark, in English and Chinese. make test-page; without
# Chromium it is skipped, and says so. Screenshots of what it saw stay in BUILD/page-*.png.
. tests/shell.sh
. tests/browser.sh
server=''
finish() {
    browser_end
    [ -n "$server" ] && kill "$server" 2>/dev/null
    rm -rf "$folder"
}
trap finish EXIT
export TZ=Asia/Shanghai # times are the browser's, not the files'
browser_start
program() {
    "$build/$1" "${@:2}" --quiet 2>"$folder/err" && return
    echo "# $*: $(<"$folder/err")"
    return 1
}

# ---- a model, images, the server ----
photos "$folder/photos/a"
mkdir "$folder/photos/b" "$folder/photos/c"
for ((i = 0; i < 250; i++)); do bitmap "$i $((i * 7919))" >"$folder/photos/b/$i.bmp"; done
bitmap twin >"$folder/photos/c/twin.bmp"
for i in 1 2 3 4; do cp "$folder/photos/c/twin.bmp" "$folder/photos/b/twin $i.bmp"; done
touch -d '2037-12-31 20:00:00 UTC' "$folder/photos/b/17.bmp"
touch -d '1999-05-01 00:00:00 UTC' "$folder/photos/b/40.bmp"
total=$(find "$folder/photos" -type f | wc -l)
different=$((total - 4))
printf 'filepath,title\n' >"$folder/pairs.csv"
find "$folder/photos/b" -name '?.bmp' | awk '{print $0 ",a red circle " NR}' >>"$folder/pairs.csv"
printf 'a dog\na red circle\na blue square\na cat\n' >"$folder/texts.txt"
{
    tiny_model
    tiny_run "$folder/pairs.csv" "$folder/run"
} >"$folder/tiny.ini"
program clip_data tokenizer train --input "$folder/texts.txt" --vocab-size 520 \
    --output "$folder/tokenizer.txt" >/dev/null || exit 1
program clip_train --config "$folder/tiny.ini" >/dev/null || exit 1
program clip_search index --model "$folder/run" --images "$folder/photos" \
    --output "$folder/p.index" >/dev/null || exit 1
"$build/clip_search" serve --index "$folder/p.index" --port 0 --json >"$folder/ready" 2>&1 &
server=$!
for ((i = 0; i < 100; i++)); do
    grep -q '"url"' "$folder/ready" && break
    sleep 0.1
done
url=$(sed -n 's/.*"url":"\([^"]*\)".*/\1/p' "$folder/ready")
[ -n "$url" ] || { cat "$folder/ready"; exit 1; }

tiles='return document.querySelectorAll(".tile").length'
first='return document.querySelector(".tile img").alt'
status='return document.getElementById("status").textContent'
is_open='return document.getElementById("detail").open'
open_name='return document.getElementById("detail-name").textContent'
facts='return document.getElementById("facts").textContent'
focused='const e = document.activeElement; return e.dataset.place ?? e.id'
name_at() { js "return document.querySelectorAll('.tile img')[$1].alt"; }
best() { program clip_search query --index "$folder/p.index" --top 1 "$@" | sed 's|.*/||'; }

# ---- looking for something ----
visit "$url"
check "the first images are there" becomes 60 "$tiles"
check "it tells how many there are" becomes "$total images" "$status"
check "thumbnails load" becomes true \
    'const i = document.querySelector(".tile img"); return i.complete && i.naturalWidth > 0'
js 'window.fast = setInterval(() => window.scrollTo(0, document.body.scrollHeight), 1)' >/dev/null
check "more come with scrolling, however fast" becomes "$different" "$tiles"
js 'clearInterval(window.fast)' >/dev/null

type_into '#text' 'a red circle\uE007'
check "typing finds what the program finds" becomes "$(best --text 'a red circle')" "$first"
check "... with scores" becomes true 'return !!document.querySelector(".tile .score")'
check "... and an address to keep" becomes '?text=a+red+circle' 'return location.search'
check "... which the title tells" becomes 'a red circle – Image search' 'return document.title'
type_into '#minus' 'a dog\uE007'
check "without something" becomes "$(best --text 'a red circle' --minus 'a dog')" "$first"

visit "$url?text=a+red+circle&utm_source=mail&limit=none&sort=sideways&least=much&under="
check "what the page does not know in an address is ignored" becomes \
    "$(best --text 'a red circle')" "$first"
check "... and so are wrong values" becomes true 'return document.getElementById("error").hidden'

# ---- which results, in which order ----
least=$(program clip_search query --index "$folder/p.index" --text 'a red circle' --top 9 |
    awk 'NR == 5 {print substr($1, 1, 5)}')
wanted=$(program clip_search query --index "$folder/p.index" --text 'a red circle' --top 999 |
    awk -v least="$least" '$1 >= least && !/twin [2-4]/ && !/b\/twin 1/ {n++} END {print n}')
type_into '#least' "$least\uE007"
check "a least similarity leaves what reaches it" becomes "$wanted" "$tiles"
check "... and says how many" becomes "$wanted of $total images" "$status"
check "... in the address" becomes "?text=a+red+circle&least=$least" 'return location.search'
visit "$url?text=a+red+circle&least=1"
check "where none reaches it, the best is told" becomes true \
    'return /the most similar one has 0\.\d+/.test(document.getElementById("empty").textContent)'
visit "$url"
check "without a search there is no similarity to ask for" becomes true \
    'return document.getElementById("least-label").hidden'
click '#sort option[value=newest]'
check "the newest first" becomes 17.bmp "$first"
check "... and the day is told, as it is here" becomes 1/1/2038 \
    'return document.querySelector(".tile .date").textContent'
click '#sort option[value=oldest]'
check "the oldest first" becomes 40.bmp "$first"
type_into '#text' 'a dog\uE007'
check "a search by date puts the best of it by date" becomes \
    "The best 200 of $total images, by date" "$status"
click '#under option:nth-child(2)'
check "a folder narrows it" becomes "$(find "$folder/photos/a" -type f | wc -l)" "$tiles"
click '.home'

# ---- one image ----
visit "$url?text=a+red+circle"
check "a search again" becomes "$(best --text 'a red circle')" "$first"
js 'window.tile = document.querySelector(".tile"); window.tile.click()' >/dev/null
check "a click opens the image" becomes true \
    'return document.getElementById("detail").open &&
     document.getElementById("detail-image").naturalWidth > 0'
check "... which has an address" becomes true \
    'return /^\?text=a\+red\+circle&image=.*\/photos\/.*/.test(location.search)'
address=$(js 'return location.href')
name=$(js "$open_name")
type_into '#labels' 'a dog, a cat，a red circle\uE007'
check "words typed in are weighed" becomes 3 \
    'return document.querySelectorAll("#classes meter").length'
check "... and make a whole" becomes true \
    'let s = 0; for (const m of document.querySelectorAll("#classes meter")) s += m.value;
     return Math.abs(s - 1) < 1e-6'
click '#next'
check "the next one" becomes "$(name_at 1)" "$open_name"
click '#next'
check "... and the next" becomes "$(name_at 2)" "$open_name"
click '#previous'
check "... and the previous" becomes "$(name_at 1)" "$open_name"
check "... each with its address" becomes true \
    'return decodeURIComponent(location.search).endsWith(
         document.getElementById("detail-name").textContent)'
back
check "Back closes the image" becomes false "$is_open"
check "... and leaves the results as they were" becomes 'true ?text=a+red+circle' \
    'return document.querySelector(".tile") === window.tile && 
     document.querySelectorAll(".tile").length >= 60 ? "true " + location.search : "other"'
check "... with the focus on it" becomes 1 "$focused"
visit "$address"
check "an image's address opens it" becomes "true $name" \
    'return document.getElementById("detail").open + " " +
     document.getElementById("detail-name").textContent'
check "... among its results" becomes false \
    'return document.getElementById("next").disabled'
press '\uE00C'
check "Escape closes it" becomes 'false ?text=a+red+circle' \
    'return document.getElementById("detail").open + " " + location.search'
visit "$url?image=nowhere.jpg"
check "an image that is not there is told" becomes true \
    'return document.getElementById("facts").textContent.includes("no such image")'
visit "$url?image=$folder/photos/b/249.bmp"
check "an image far behind is found among the results" becomes false \
    'return document.getElementById("previous").disabled'
visit "$url?image=$folder/photos/b/17.bmp"
check "its size, its dimensions, and its time as it is here" becomes \
    'Size3.1 kBDimensions32 × 32DateJanuary 1, 2038 at 4:00 AM' \
    'return document.getElementById("facts").textContent.replaceAll("\u202f", " ")'
check "... and its place on the disk" becomes "$folder/photos/b/17.bmp" \
    'return document.querySelector("#paths span").textContent'
devtools Browser.grantPermissions \
    '{"permissions":["clipboardReadWrite","clipboardSanitizedWrite"]}' >/dev/null
click '#paths button'
check "which is copied" becomes "Copied $folder/photos/b/17.bmp" \
    'return navigator.clipboard.readText().then((text) =>
         document.querySelector("#paths button").textContent + " " + text)'
js 'Object.defineProperty(navigator, "clipboard", {value: undefined});
    window.copies = []; document.addEventListener("copy", () => window.copies.push(
        document.getSelection().toString() || document.activeElement.value))' >/dev/null
click '#paths button'
check "... also where there is no clipboard to write to" becomes "$folder/photos/b/17.bmp" \
    'return window.copies.join()'
devtools Browser.setDownloadBehavior \
    "{\"behavior\":\"allow\",\"downloadPath\":\"$folder/down\"}" >/dev/null
click '#download'
for ((i = 0; i < 50; i++)); do
    [ -e "$folder/down/17.bmp" ] && break
    sleep 0.1
done
check "it is downloaded, with its name" cmp "$folder/down/17.bmp" "$folder/photos/b/17.bmp"

# ---- copies ----
visit "$url?under=$folder/photos/c"
check "the same file five times is one tile" becomes '1 ×5' \
    'const all = document.querySelectorAll(".tile");
     return all.length + " " + all[0].querySelector(".copies").textContent'
check "... which is said too" becomes true \
    'return document.querySelector(".tile").textContent.includes("5 copies")'
click '.tile'
check "... and opened it tells all five places" becomes 5 \
    'return document.querySelectorAll("#paths button").length'
visit "$url?image=$folder/photos/b/twin%203.bmp"
check "a folded copy's address opens it" becomes 'twin 3.bmp true' \
    'const image = document.getElementById("detail-image");
     return document.getElementById("detail-name").textContent + " " + (image.naturalWidth > 0)'

# ---- more like this, a sent image ----
visit "$address"
check "an address again" becomes "$name" "$open_name"
click '#like'
check "more like this: itself first" becomes "$name" "$first"
check "... as a term" becomes 1 'return document.querySelectorAll("#terms li").length'
click '#terms button'
check "a term can be taken away" becomes "$total images" "$status"
back
check "Back goes back" becomes "$name" "$first"
back
check "... to the open image too" becomes true "$is_open"
click '#detail-close'
check "a cross closes it" becomes false "$is_open"

# A file dropped on the page, as the browser tells it.
drop='const done = arguments[0]; fetch("/image/2").then(r => r.blob()).then(b => {
    const data = new DataTransfer(); data.items.add(new File([b], "x.bmp"));
    for (const kind of ["dragenter", "dragover", "drop"])
        document.body.dispatchEvent(new DragEvent(kind, { bubbles: true, cancelable: true,
            dataTransfer: data }));
    done(1); })'
call POST /execute/async "{\"script\":$(quoted "$drop"),\"args\":[]}" >/dev/null
dropped=$(js 'return fetch("/api/images?offset=2&limit=1").then(r => r.json())
    .then(a => a.results[0].path)')
check "a dropped image finds itself" becomes "${dropped##*/}" "$first"
check "... and is shown as a term" becomes true \
    'return document.querySelector("#terms img").naturalWidth > 0'
click '.tile'
check "... a result of it opens" becomes true "$is_open"
back
check "... and Back is still at the dropped one" becomes "${dropped##*/} 1" \
    'return document.querySelector(".tile img").alt + " " +
     document.querySelectorAll("#terms img").length'
type_into '#file' "$folder/photos/b/7.bmp"
check "a chosen image too" becomes 7.bmp "$first"
back
check "... and Back finds the one before" becomes "${dropped##*/}" "$first"
call POST /refresh '{}' >/dev/null
type_into '#file' "$folder/photos/b/8.bmp"
check "another one, after the page was loaded anew" becomes 8.bmp "$first"
back
check "... which Back does not take for the one from before" becomes "$total images" "$status"
click '.home'
check "the sign leads to all images" becomes "$total images" "$status"

# ---- by keys alone ----
visit "$url"
check "one can type at once" becomes text "$focused"
check "images for the keys" becomes 60 "$tiles"
press '\uE015'
check "an arrow leads from there to the images" becomes 0 "$focused"
press '\uE014' '\uE014'
check "arrows walk over them" becomes 2 "$focused"
press '\uE012' '\uE013'
check "... and up, back to the words" becomes text "$focused"
js 'document.activeElement.blur(); window.scrollTo(0, 700)' >/dev/null
press '\uE014'
check "from nowhere an arrow finds an image that is seen" becomes true \
    'const {top, bottom} = document.activeElement.getBoundingClientRect();
     return document.activeElement.className === "tile" && bottom > 60 && top < innerHeight'
press /
check "/ goes to the words" becomes text "$focused"
js 'document.querySelector(".tile").focus()' >/dev/null
press '\uE014' '\uE007'
check "Enter opens one" becomes "$(name_at 1)" "$open_name"
js 'document.activeElement.blur()' >/dev/null
press '\uE014'
check "arrows show the next, wherever the focus is" becomes "$(name_at 2)" "$open_name"
type_into '#labels' 'cat\uE012'
press '\uE012'
check "... but in what is typed" becomes "$(name_at 2)" "$open_name"
press '\uE00C'
check "Escape closes it, and the image has the focus" becomes 2 "$focused"
check "what can be used has a name, and images have words" becomes 0 \
    'return [...document.querySelectorAll("button, input, select, a, img")].filter(e =>
     !(e.textContent.trim() || e.getAttribute("aria-label") || e.hasAttribute("alt")
     || (e.labels && e.labels.length))).length'

# ---- widths and colours ----
# Texts whose colour is too near to what they stand on (WCAG: 4.5), and what is wider than the page.
faint='const parse = (c) => c.match(/[\d.]+/g).map(Number);
    const rgba = (c) => { const [r, g, b, a = 1] = c.startsWith("color(srgb")
        ? parse(c.slice(11)).map((v, i) => i < 3 ? 255 * v : v) : parse(c); return [r, g, b, a]; };
    const over = ([r, g, b, a], [R, G, B]) => [r * a + R * (1 - a), g * a + G * (1 - a),
        b * a + B * (1 - a), 1];
    const ground = (e) => { if (!e) return [255, 255, 255, 1];
        const c = rgba(getComputedStyle(e).backgroundColor);
        return c[3] === 1 ? c : over(c, ground(e.parentElement)); };
    const light = (c) => { const [r, g, b] = c.slice(0, 3).map((v) => (v /= 255) <= .04045
        ? v / 12.92 : ((v + .055) / 1.055) ** 2.4); return .2126 * r + .7152 * g + .0722 * b; };
    const contrast = (a, b) => { const [x, y] = [light(a), light(b)].sort((p, q) => q - p);
        return (x + .05) / (y + .05); };
    const bad = [];
    for (const e of document.querySelectorAll("body *")) {
        if (!e.checkVisibility({ checkOpacity: true, checkVisibilityCSS: true }) ||
            e.closest(".tile, option, svg")) continue;
        const own = [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim());
        if (!own && !e.placeholder && !e.value) continue;
        const style = getComputedStyle(e, e.placeholder && !e.value ? "::placeholder" : null);
        const ratio = contrast(over(rgba(style.color), ground(e)), ground(e));
        if (ratio < 4.5) bad.push((e.id || e.className || e.tagName) + " " + ratio.toFixed(2));
    }
    return bad.join()'
wide='return [...document.querySelectorAll("body *")].filter((e) => e.checkVisibility() &&
    !e.closest(".unseen, .tile, .skip") && (e.getBoundingClientRect().right > innerWidth + 1 ||
    e.getBoundingClientRect().left < -1)).map((e) => e.id || e.className || e.tagName).join()'
for scheme in light dark; do
    browser_scheme $scheme
    accent='68 83 214'
    [ $scheme = dark ] && accent='141 153 255'
    for width in 1280 390; do
        at="$scheme, $width px:"
        browser_size 1280 800
        [ $width -eq 390 ] && browser_size 390 844 mobile
        visit "$url?text=a+red+circle&like=9"
        check "$at results" becomes "60 $width" \
            'return document.querySelectorAll(".tile").length + " " + innerWidth'
        check "$at the header leaves four fifths to the images" becomes true \
            'const top = document.querySelector("#results").getBoundingClientRect().top;
             return document.querySelector("header").offsetHeight < innerHeight / 12 &&
                 (innerWidth > 800 || top < innerHeight / 5)'
        [ $width -eq 390 ] && click '#options-button'
        check "$at the options are there" becomes true \
            'return document.getElementById("least").checkVisibility()'
        js 'document.activeElement.blur()' >/dev/null
        press '\uE014'
        read -r x y < <(js 'const r = document.activeElement.getBoundingClientRect();
            return Math.round(r.left - 2) + " " + Math.round(r.top + r.height / 2)')
        check "$at one sees what has the focus" test "$(pixel "$x" "$y")" = "$accent"
        read -r x y < <(js 'const r = document.activeElement.getBoundingClientRect();
            return Math.round(r.left + r.width / 2) + " " + Math.round(r.bottom + 2)')
        check "$at ... on each side" test "$(pixel "$x" "$y")" = "$accent"
        check "$at nothing is wider than the page" becomes '' "$wide"
        check "$at all is readable" becomes '' "$faint"
        shoot "$scheme-$width"
        press '\uE007'
        check "$at an open image" becomes "true $(name_at 0)" \
            'return document.getElementById("detail").open + " " +
             document.getElementById("detail-name").textContent'
        check "$at its facts" becomes true \
            'return document.querySelectorAll("#facts dd").length === 4'
        check "$at ... nothing is wider than the page" becomes '' "$wide"
        check "$at ... all is readable" becomes '' "$faint"
        shoot "$scheme-$width-image"
    done
done
check "it is dark where the system is" becomes 'rgb(19, 20, 24)' \
    'return getComputedStyle(document.body).backgroundColor'

swipe .stage -120
check "a swipe to the left shows the next" becomes "$(name_at 1)" "$open_name"
swipe .stage 120
check "... and to the right the previous" becomes "$(name_at 0)" "$open_name"
swipe .stage 20
check "... and a small one nothing" becomes "$(name_at 0)" "$open_name"
browser_scheme light

browser_size 844 390 mobile
visit "$url?text=a+dog&sort=newest"
check "(some results)" becomes 60 "$tiles"
check "a phone that lies has its header in one line too" becomes true \
    'return document.querySelector("header").offsetHeight < innerHeight / 5 &&
         document.querySelector(".bar").offsetHeight < innerHeight / 5'
browser_size 1280 800

# ---- languages ----
check "each word stands in both languages" becomes '' \
    'const [a, b] = ["en", "zh"].map((l) => Object.keys(LANGUAGES[l]));
     return a.filter((k) => !b.includes(k)).concat(b.filter((k) => !a.includes(k))).join()'
check "... and none in the page itself" test -z "$(sed -e '/<noscript>/d' -e '/<title>/d' \
    -e 's/<kbd>[^<]*//g' -e 's/<[^>]*>//g' serve/page/index.html | tr '\n' ' ' |
    sed 's/<[^>]*>//g' | grep '[A-Za-z]')"
browser_languages 'de-DE,zh-CN,en-US'
visit "$url?text=a+dog&like=9&sort=newest"
check "it speaks the first of the reader's languages that it knows" becomes 'zh-CN 描述一张图片' \
    'return document.documentElement.lang + " " + document.getElementById("text").placeholder'
check "... and counts in it" becomes "$total 张图片中最相似的 200 张，按日期排列" "$status"
click '.tile'
check "... an image" becomes true 'return document.querySelectorAll("#facts dd").length === 4'
check "... no other word is left" becomes '' \
    'const own = (e) => [...e.childNodes].filter((n) => n.nodeType === 3).map((n) => n.data);
     return [...document.querySelectorAll("body *")]
         .filter((e) => !e.closest("noscript, kbd, h1, #paths span, .name, #under option + option"))
         .flatMap((e) => [...own(e), e.placeholder, e.getAttribute("aria-label")])
         .filter((text) => /[A-Za-z]{3}/.test(text || "")).join()'
shoot zh
browser_languages 'fr-FR,fr'
visit "$url"
check "English where it knows none" becomes 'en Describe an image' \
    'return document.documentElement.lang + " " + document.getElementById("text").placeholder'

# ---- while it is open ----
cp "$folder/photos/b/1.bmp" "$folder/photos/b/new.bmp"
program clip_search index --model "$folder/run" --images "$folder/photos" \
    --output "$folder/p.index" >/dev/null
js 'document.dispatchEvent(new Event("visibilitychange"))' >/dev/null
check "images that were added show without a restart" becomes "$((total + 1)) images" "$status"
check "the browser complains of nothing" test -z "$(call POST /se/log '{"type":"browser"}' |
    sed 's/}, *{/\n/g' | grep SEVERE | grep -v 'nowhere.jpg')"

kill "$server"
wait "$server"
check "SIGTERM ends the server, and it says so" test $? -eq 143
server=
type_into '#text' 'a dog\uE007'
check "a server that is gone is told" becomes true \
    'const e = document.getElementById("error");
     return !e.hidden && e.textContent.includes("does not answer")'
plan
