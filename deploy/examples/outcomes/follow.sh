#!/usr/bin/env bash
# follow.sh SESSION [EDGE]  Prints the outcomes of one session as lines of JSON until it ends, with curl alone. $SLUICE_TOKEN is the bearer token, if the edge wants one.
set -euo pipefail
[ $# -ge 1 ] || { echo "usage: follow.sh SESSION [EDGE]" >&2; exit 2; }
curl --silent --show-error --fail-with-body --no-buffer --header "Last-Event-ID: 0" ${SLUICE_TOKEN:+--header "Authorization: Bearer $SLUICE_TOKEN"} \
  "${2:-http://127.0.0.1:8080}/sessions/$1/results" | sed --unbuffered --quiet 's/^data: {"outcome": *\(.*\)}$/\1/p'
