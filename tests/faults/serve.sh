#!/bin/bash
# One life of a page, for tests/faults/run.sh: clip_search serve starts on the index, answers one
# search, and is ended by SIGTERM. Prints the answer. $FAULT_SHIM fails in the server alone, not in
# this shell. Ends with 0; with 1 and the server's sentence where it could not start or not answer;
# or as the server did.
#     tests/faults/serve.sh INDEX
: >listening
LD_PRELOAD=$FAULT_SHIM clip_search serve --index "$1" --port 0 --json >listening 2>said &
server=$!

# ended STATUS: the server is gone.
ended() {
    cat said >&2
    exit "$1"
}

for ((i = 0; i < 1200; i++)); do
    port=$(sed -n 's/.*"url":"[^"]*:\([0-9]*\)\/".*/\1/p' listening)
    [ -n "$port" ] && break
    kill -0 "$server" 2>/dev/null || { wait "$server"; ended $?; }
    sleep 0.05
done
# Without the server's own word by then: it hangs.
if [ -z "$port" ]; then
    kill -KILL "$server"
    echo "no url after 60 s" >&2
    exit 3
fi
answer=
if exec 9<>"/dev/tcp/127.0.0.1/$port"; then
    printf 'GET /api/search?text=a%%20dog HTTP/1.0\r\nHost: 127.0.0.1:%s\r\n\r\n' "$port" >&9
    answer=$(timeout 30 cat <&9 | tr -d '\r')
fi 2>/dev/null
kill -TERM "$server" 2>/dev/null
wait "$server"
status=$?
[ "$status" -eq 143 ] || ended "$status"
cat said >&2
case $answer in
"HTTP/1."?" 200"*) printf '%s\n' "${answer#*$'\n\n'}" ;;
"HTTP/1."?" 5"*)
    echo "clip_search: ${answer#*$'\n\n'}" >&2
    exit 1
    ;;
'')
    echo "clip_search: the connection was closed without an answer" >&2
    exit 1
    ;;
*)
    printf '%s\n' "$answer" >&2
    exit 4
    ;;
esac
