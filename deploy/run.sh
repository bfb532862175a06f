#!/usr/bin/env bash
# run.sh ROUTER  Starts the router with that configuration and an edge before it, tells the page's address when both are ready, and ends both on Ctrl-C, on SIGTERM, or when
# either of them ends.
set -euo pipefail
[ $# -eq 1 ] || { echo "usage: run.sh ROUTER_CONFIGURATION" >&2; exit 2; }
config=$(realpath -- "$1")
cd "$(dirname "$0")/.."

# Job control puts each service in a process group of its own, so that Ctrl-C reaches this script only and each service gets one signal to drain.
set -m
router="" edge="" stopping=""
stop() {
  stopping=yes # A second Ctrl-C sends the second signal, which ends a service at once.
  for pid in $edge $router; do kill -TERM "$pid" 2>/dev/null || true; done
}
trap stop INT TERM HUP # the terminal's end too: to the router a hangup means something else

# ready PORT: does the admin endpoint there say that the service is ready?
ready() {
  local line
  { exec 3<>"/dev/tcp/127.0.0.1/$1" && printf 'GET /readyz HTTP/1.0\r\n\r\n' >&3 && read -r line <&3; } 2>/dev/null || return 1
  exec 3>&-
  [[ $line == *" 200 "* ]]
}

# await PID PORT: waits until the service is ready; fails when it ends first or is not ready within a minute.
await() {
  for _ in $(seq 600); do
    kill -0 "$1" 2>/dev/null || return 1
    ready "$2" && return 0
    sleep 0.1
  done
  echo "run: not ready after a minute, see above" >&2
  return 1
}

finish() {
  [[ $stopping ]] || stop # What drains already is not to be cut short.
  wait $edge $router 2>/dev/null || true
}
trap finish EXIT

bin/sluice-router --config "$config" &
router=$!
await "$router" 8082

bin/sluice-edge --config deploy/config/edge.yaml --ice.loopback --drain 2s &
edge=$!
await "$edge" 8081

printf '\n  Sluice is ready: open http://127.0.0.1:8080/ and allow the camera. Ctrl-C ends it.\n\n'

# Whichever ends first ends the other: by itself that is a failure, after Ctrl-C the way it should be.
status=0
wait -n "$edge" "$router" || status=$?
exit "$status"
