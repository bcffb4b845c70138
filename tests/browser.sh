# A headless Chromium, driven by chromedriver and curl, for shell tests. After tests/shell.sh:
#     . tests/browser.sh
#     browser_start                  or it says why not, and ends the script
#     browser_size WIDTH HEIGHT [mobile]
#     browser_scheme light|dark      browser_languages zh-CN,en
#     visit URL                      back
#     js SCRIPT                      what it returns, without quotes around it
#     becomes WANTED SCRIPT          within ten seconds
#     click SELECTOR                 type_into SELECTOR TEXT (into a file field: a path)
#     press KEY...                   wherever the focus is (\uE007 Enter, \uE00C Escape,
#                                    \uE012 to \uE015 left, up, right, down)
#     swipe SELECTOR PIXELS          a finger, to the right
#     pixel X Y                      "r g b" of what is seen there
#     shoot NAME                     a screenshot, BUILD/page-NAME.png
# shellcheck shell=bash
driver='' session=''
browser_start() {
    local need i
    for need in chromium chromedriver curl; do
        command -v $need >/dev/null && continue
        echo "skipped: $need is not installed (apt-get install chromium chromium-driver curl)"
        echo "ok 1 - the page in a browser # SKIP no $need"
        echo "1..1"
        exit 0
    done
    port=$((20000 + $$ % 20000))
    chromedriver --port=$port >"$folder/driver.log" 2>&1 &
    driver=$!
    for ((i = 0; i < 100; i++)); do
        curl -s "http://127.0.0.1:$port/status" | grep -q '"ready":true' && break
        sleep 0.1
    done
    session=$(call POST '' '{"capabilities":{"alwaysMatch":{"goog:loggingPrefs":{"browser":"ALL"},
        "goog:chromeOptions":{"args":["--headless=new","--no-sandbox","--disable-gpu",
        "--disable-dev-shm-usage","--lang=en-US","--window-size=1300,900"]}}}}' |
        sed -n 's/.*"sessionId":"\([^"]*\)".*/\1/p')
    [ -n "$session" ] && session=/$session && return
    echo "not ok 1 - a browser starts"
    cat "$folder/driver.log"
    exit 1
}
browser_end() {
    [ -n "$session" ] && call DELETE '' >/dev/null
    [ -n "$driver" ] && kill "$driver" 2>/dev/null
}

call() { # call METHOD PATH [JSON]
    curl -s -X "$1" -H 'Content-Type: application/json' ${3+--data-binary "$3"} \
        "http://127.0.0.1:$port/session$session$2"
}
quoted() { # as a JSON string
    printf '"%s"' "$(sed -e 's/\\/\\\\/g' -e 's/"/\\"/g' <<<"$1" | tr '\n' ' ')"
}
value() { sed -e 's/^{"value"://' -e 's/}$//' -e 's/^"\(.*\)"$/\1/'; }
devtools() { call POST /goog/cdp/execute "{\"cmd\":\"$1\",\"params\":$2}"; }

browser_size() {
    local mobile=false
    [ "${3-}" = mobile ] && mobile=true
    devtools Emulation.setDeviceMetricsOverride \
        "{\"width\":$1,\"height\":$2,\"deviceScaleFactor\":1,\"mobile\":$mobile}" >/dev/null
    devtools Emulation.setTouchEmulationEnabled "{\"enabled\":$mobile}" >/dev/null
}
browser_scheme() {
    devtools Emulation.setEmulatedMedia \
        "{\"features\":[{\"name\":\"prefers-color-scheme\",\"value\":\"$1\"}]}" >/dev/null
}
browser_languages() { # of the pages that are visited from now on
    devtools Emulation.setUserAgentOverride \
        "{\"userAgent\":\"test\",\"acceptLanguage\":\"$1\"}" >/dev/null
}
visit() { call POST /url "{\"url\":\"$1\"}" >/dev/null; }
back() { call POST /back '{}' >/dev/null; }

js() { call POST /execute/sync "{\"script\":$(quoted "$1"),\"args\":[]}" | value; }
becomes() {
    local i got=
    for ((i = 0; i < 100; i++)); do
        got=$(js "$2")
        [ "$got" = "$1" ] && return
        sleep 0.1
    done
    echo "# $2: \"$got\" instead of \"$1\""
    return 1
}

element() {
    call POST /element "{\"using\":\"css selector\",\"value\":\"$1\"}" |
        sed -n 's/.*"element-[^"]*":"\([^"]*\)".*/\1/p'
}
click() { call POST "/element/$(element "$1")/click" '{}' >/dev/null; }
type_into() { call POST "/element/$(element "$1")/value" "{\"text\":\"$2\"}" >/dev/null; }
press() {
    local key actions=
    for key; do
        actions+=",{\"type\":\"keyDown\",\"value\":\"$key\"}"
        actions+=",{\"type\":\"keyUp\",\"value\":\"$key\"}"
    done
    actions="{\"type\":\"key\",\"id\":\"k\",\"actions\":[${actions#,}]}"
    call POST /actions "{\"actions\":[$actions]}" >/dev/null
}
swipe() {
    local x y
    read -r x y < <(js "const r = document.querySelector('$1').getBoundingClientRect();
        return Math.round(r.x + r.width / 2) + ' ' + Math.round(r.y + r.height / 2)")
    devtools Input.dispatchTouchEvent \
        "{\"type\":\"touchStart\",\"touchPoints\":[{\"x\":$x,\"y\":$y}]}" >/dev/null
    devtools Input.dispatchTouchEvent \
        "{\"type\":\"touchMove\",\"touchPoints\":[{\"x\":$((x + $2 / 2)),\"y\":$y}]}" >/dev/null
    devtools Input.dispatchTouchEvent \
        "{\"type\":\"touchMove\",\"touchPoints\":[{\"x\":$((x + $2)),\"y\":$y}]}" >/dev/null
    devtools Input.dispatchTouchEvent '{"type":"touchEnd","touchPoints":[]}' >/dev/null
}

pixel() {
    local png
    png=$(devtools Page.captureScreenshot \
        "{\"clip\":{\"x\":$1,\"y\":$2,\"width\":1,\"height\":1,\"scale\":1}}" |
        sed -n 's/.*"data":"\([^"]*\)".*/\1/p')
    call POST /execute/async "{\"script\":$(quoted "
        const done = arguments[0];
        const bytes = Uint8Array.from(atob('$png'), (c) => c.charCodeAt(0));
        createImageBitmap(new Blob([bytes])).then((image) => {
            const canvas = document.createElement('canvas').getContext('2d');
            canvas.drawImage(image, 0, 0);
            done([...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3).join(' '));
        })"),\"args\":[]}" | value
}
shoot() {
    call GET /screenshot | value | base64 -d >"$build/page-$1.png"
}
