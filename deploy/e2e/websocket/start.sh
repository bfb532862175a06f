#!/usr/bin/env bash
# start.sh PROGRAM PORT  Runs a program of this folder or of deploy/examples/websocket, which serves on 127.0.0.1:PORT until it is told to stop; SIGTERM ends it.
set -euo pipefail
[ $# -eq 2 ] || { echo "usage: start.sh PROGRAM PORT" >&2; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
examples=$here/../../examples/websocket
environment=$("$here/../venv.sh" websocket)
program=$here/$1
[ -e "$program" ] || program=$examples/$1
export PYTHONPATH=$here/../models:$examples PYTHONDONTWRITEBYTECODE=1
exec "$environment/bin/python" "$program" --port "$2"
