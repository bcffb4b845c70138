#!/bin/bash
# An index that another program shortens under a running page: the page ends with one sentence that
# names the file.
. tests/shell.sh
mkdir "$folder/photos"
for i in $(seq 40); do bitmap "image $i" >"$folder/photos/$i.bmp"; done
cd "$folder" || exit 1
here=$folder
{
    printf 'filepath,title\n'
    for i in $(seq 8); do echo "photos/$i.bmp,a red circle $i"; done
} >pairs.csv
printf 'a dog\na red circle\na blue square\n' >texts.txt
{
    tiny_model
    tiny_run pairs.csv run
} >tiny.ini
{
    clip_data tokenizer train --input texts.txt --vocab-size 520 --output tokenizer.txt &&
        clip_train --config tiny.ini --quiet &&
        clip_search index --model run --images photos --output x.index --quiet
} >log 2>&1 || { cat log; exit 1; }

clip_search serve --index x.index --port 0 --json >listening 2>said &
server=$!
for ((i = 0; i < 600; i++)); do
    port=$(sed -n 's/.*"port":\([0-9]*\).*/\1/p' listening)
    [ -n "$port" ] && break
    kill -0 "$server" 2>/dev/null || break
    sleep 0.1
done
if grep -q 'without libmicrohttpd' said; then
    skip "a page whose index is shortened" "this build has no page"
    plan
    exit
fi
ask() {
    exec 9<>"/dev/tcp/127.0.0.1/$port" || return
    printf 'GET /api/search?text=a%%20dog HTTP/1.0\r\nHost: 127.0.0.1:%s\r\n\r\n' "$port" >&9
    timeout 60 cat <&9
} 2>/dev/null
answers() { ask | grep -q '"results"'; }
check "the page answers" answers
for segment in x.index.d/*.h5; do : >"$segment"; done
ask >answer
wait "$server"
status=$?
check "it ends with status 1 where its index is shortened" test "$status" -eq 1
one_sentence() {
    cat said
    [ "$(wc -l <said)" -eq 1 ] &&
        grep -q '^clip_search serve: .*/x.index.d/seg_000001.h5 became shorter while' said
}
check "it says which file it was" one_sentence
plan
