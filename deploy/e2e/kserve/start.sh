#!/usr/bin/env bash
# start.sh GRPC_PORT HTTP_PORT  Serves the model `echo` on KServe's Python server until it is told to stop; SIGTERM ends it. It is ready when
# http://127.0.0.1:HTTP_PORT/v2/models/echo/ready answers 200. KServe knows no address to listen on, and takes all.
set -euo pipefail
[ $# -eq 2 ] || { echo "usage: start.sh GRPC_PORT HTTP_PORT" >&2; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
environment=$("$here/../venv.sh" kserve)
export PYTHONPATH=$here/../models PYTHONDONTWRITEBYTECODE=1
cd "$environment" # whatever it writes belongs there
exec bin/python "$here/serve.py" --grpc_port "$1" --http_port "$2" --enable_latency_logging false
