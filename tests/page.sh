#!/bin/bash
# Drives the page of clip_search serve in headless Chromium, by chromedriver and curl: types, looks,
# clicks, drops an image. make test-page; without Chromium it is skipped, and says so. Screenshots
# of what it saw stay in BUILD/page-*.png.
for need in chromium chromedriver curl; do
    command -v $need >/dev/null && continue
    echo "skipped: $need is not installed (apt-get install chromium chromium-driver curl)"
    echo "ok 1 - the page in a browser # SKIP no $need"
    echo "1..1"
    exit 0
done
. tests/shell.sh
server= driver=
finish() {
    [ -n "$driver" ] && kill "$driver" 2>/dev/null
    [ -n "$server" ] && kill "$server" 2>/dev/null
    rm -rf "$folder"
}
trap finish EXIT
program() {
    "$build/$1" "${@:2}" --quiet 2>"$folder/err" && return
    echo "# $*: $(<"$folder/err")"
    return 1
}

# ---- a model, images, the server ----
photos "$folder/photos/a"
mkdir "$folder/photos/b"
for ((i = 0; i < 250; i++)); do bitmap "$i $((i * 7919))" >"$folder/photos/b/$i.bmp"; done
total=$(find "$folder/photos" -type f | wc -l)
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

# ---- the browser ----
port=$((20000 + $$ % 20000))
chromedriver --port=$port >"$folder/driver.log" 2>&1 &
driver=$!
for ((i = 0; i < 100; i++)); do
    curl -s "http://127.0.0.1:$port/status" | grep -q '"ready":true' && break
    sleep 0.1
done
call() { # call METHOD PATH [JSON]
    curl -s -X "$1" -H 'Content-Type: application/json' ${3+--data-binary "$3"} \
        "http://127.0.0.1:$port/session$2"
}
session=$(call POST '' '{"capabilities":{"alwaysMatch":{"goog:loggingPrefs":{"browser":"ALL"},
    "goog:chromeOptions":{"args":["--headless=new","--no-sandbox","--disable-gpu",
    "--disable-dev-shm-usage","--window-size=1300,900"]}}}}' |
    sed -n 's/.*"sessionId":"\([^"]*\)".*/\1/p')
[ -n "$session" ] || { echo "not ok 1 - a browser starts"; cat "$folder/driver.log"; exit 1; }

js() { # js SCRIPT: what it returns, without quotes. No double quotes within.
    call POST "/$session/execute/sync" "{\"script\":\"$(tr '\n' ' ' <<<"$1")\",\"args\":[]}" |
        sed -e 's/^{"value"://' -e 's/}$//' -e 's/^"\(.*\)"$/\1/'
}
becomes() { # becomes WANTED SCRIPT: within ten seconds
    local i got=
    for ((i = 0; i < 100; i++)); do
        got=$(js "$2")
        [ "$got" = "$1" ] && return
        sleep 0.1
    done
    echo "# $2: \"$got\" instead of \"$1\""
    return 1
}
element() { # element SELECTOR
    call POST "/$session/element" "{\"using\":\"css selector\",\"value\":\"$1\"}" |
        sed -n 's/.*"element-[^"]*":"\([^"]*\)".*/\1/p'
}
click() { call POST "/$session/element/$(element "$1")/click" '{}' >/dev/null; }
type_into() { # type_into SELECTOR TEXT (\uE007 is Enter, \uE00C Escape, \uE014 the right arrow)
    call POST "/$session/element/$(element "$1")/value" "{\"text\":\"$2\"}" >/dev/null
}
keys() { type_into "$1" "$2"; }
shoot() {
    call GET "/$session/screenshot" | sed -e 's/^{"value":"//' -e 's/"}$//' | base64 -d \
        >"$build/page-$1.png"
}
tiles='return document.querySelectorAll(\u0027.tile\u0027).length'
first='return document.querySelector(\u0027.tile img\u0027).alt'
best() { program clip_search query --index "$folder/p.index" --top 1 "$@" | sed 's|.*/||'; }

call POST "/$session/url" "{\"url\":\"$url\"}" >/dev/null
check "the first images are there" becomes 60 "$tiles"
check "it tells how many there are" becomes "$total images" \
    'return document.getElementById(\u0027status\u0027).textContent'
check "thumbnails load" becomes true \
    'const i = document.querySelector(\u0027.tile img\u0027);
     return i.complete && i.naturalWidth > 0'
js 'window.fast = setInterval(() => window.scrollTo(0, document.body.scrollHeight), 1)' >/dev/null
check "more come with scrolling, however fast" becomes "$total" "$tiles"
js 'clearInterval(window.fast)' >/dev/null

type_into '#text' 'a red circle\uE007'
check "typing finds what the program finds" becomes "$(best --text 'a red circle')" "$first"
check "... with scores" becomes true 'return !!document.querySelector(\u0027.tile .score\u0027)'
check "... and an address to keep" becomes '?text=a+red+circle' 'return location.search'
shoot search
type_into '#minus' 'a dog\uE007'
check "without something" becomes \
    "$(best --text 'a red circle' --minus 'a dog')" "$first"

click '.tile'
check "a click opens the image" becomes true \
    'return document.getElementById(\u0027detail\u0027).open &&
     document.getElementById(\u0027detail-image\u0027).naturalWidth > 0'
type_into '#labels' 'a dog, a cat, a red circle\uE007'
check "words typed in are weighed" becomes 3 \
    'return document.querySelectorAll(\u0027#classes meter\u0027).length'
check "... and make a whole" becomes true \
    'let s = 0; for (const m of document.querySelectorAll(\u0027#classes meter\u0027)) s += m.value;
     return Math.abs(s - 1) < 1e-6'
shoot image
name=$(js 'return document.getElementById(\u0027detail-name\u0027).textContent')
click '#detail-like'
check "more like this: itself first" becomes "$name" "$first"
check "... as a term" becomes true \
    'return document.querySelectorAll(\u0027#terms li\u0027).length == 1'
click '#terms button'
check "a term can be taken away" becomes "$total images" \
    'return document.getElementById(\u0027status\u0027).textContent'
call POST "/$session/back" '{}' >/dev/null
check "back goes back" becomes "$name" "$first"

# A file dropped on the page, as the browser tells it.
drop='const done = arguments[0]; fetch(\u0027/image/2\u0027).then(r => r.blob()).then(b => {
    const data = new DataTransfer(); data.items.add(new File([b], \u0027x.bmp\u0027));
    for (const kind of [\u0027dragenter\u0027, \u0027dragover\u0027, \u0027drop\u0027])
        document.body.dispatchEvent(new DragEvent(kind, { bubbles: true, cancelable: true,
            dataTransfer: data }));
    done(1); })'
call POST "/$session/execute/async" \
    "{\"script\":\"$(tr -d '\n' <<<"$drop")\",\"args\":[]}" >/dev/null
dropped=$(js 'return fetch(\u0027/api/images?offset=2&limit=1\u0027).then(r => r.json())
    .then(a => a.results[0].path)')
check "a dropped image finds itself" becomes "${dropped##*/}" "$first"
check "... and is shown as a term" becomes true \
    'return document.querySelector(\u0027#terms img\u0027).naturalWidth > 0'
type_into '#file' "$folder/photos/b/7.bmp"
check "a chosen image too" becomes 7.bmp "$first"

click '.home'
check "the sign leads to all images" becomes "$total images" \
    'return document.getElementById(\u0027status\u0027).textContent'
js 'document.activeElement.blur()' >/dev/null
keys body '/'
check "/ goes to the words" becomes text 'return document.activeElement.id'
js 'document.querySelector(\u0027.tile\u0027).focus()' >/dev/null
keys '.tile' '\uE014'
check "arrows walk over the images" becomes 1 'return document.activeElement.dataset.place'
keys '.tile[data-place=\u00271\u0027]' '\uE007'
check "Enter opens one" becomes true 'return document.getElementById(\u0027detail\u0027).open'
keys '#detail-like' '\uE014'
check "arrows show the next" becomes "$(js \
    'return document.querySelectorAll(\u0027.tile img\u0027)[2].alt')" \
    'return document.getElementById(\u0027detail-name\u0027).textContent'
keys '#detail-like' '\uE00C'
check "Escape closes it, and the image has the focus" becomes 2 \
    'return document.activeElement.dataset.place'
check "what can be used has a name, and images have words" becomes 0 \
    'return [...document.querySelectorAll(\u0027button, input, select, a, img\u0027)].filter(e =>
     !(e.textContent.trim() || e.getAttribute(\u0027aria-label\u0027)
     || e.hasAttribute(\u0027alt\u0027)
     || (e.labels && e.labels.length) || (e.firstElementChild || {}).alt)).length'
click '#under option:nth-child(2)'
check "a folder narrows it" becomes "$(find "$folder/photos/a" -type f | wc -l) images" \
    'return document.getElementById(\u0027status\u0027).textContent'

click '.home'
cp "$folder/photos/b/1.bmp" "$folder/photos/b/new.bmp"
program clip_search index --model "$folder/run" --images "$folder/photos" \
    --output "$folder/p.index" >/dev/null
js 'document.dispatchEvent(new Event(\u0027visibilitychange\u0027))' >/dev/null
check "images that were added show without a restart" becomes "$((total + 1)) images" \
    'return document.getElementById(\u0027status\u0027).textContent'

call POST "/$session/goog/cdp/execute" '{"cmd":"Emulation.setEmulatedMedia","params":{"features":
    [{"name":"prefers-color-scheme","value":"dark"}]}}' >/dev/null
check "it is dark where the system is" becomes 'rgb(19, 20, 24)' \
    'return getComputedStyle(document.body).backgroundColor'
shoot dark
check "the browser complains of nothing" test -z "$(call POST "/$session/se/log" \
    '{"type":"browser"}' | grep SEVERE)"

kill "$server"
wait "$server"
check "SIGTERM ends the server, and it says so" test $? -eq 143
server=
type_into '#text' 'a dog\uE007'
check "a server that is gone is told" becomes true \
    'const e = document.getElementById(\u0027error\u0027);
     return !e.hidden && e.textContent.includes(\u0027does not answer\u0027)'
call DELETE "/$session" >/dev/null
plan
