#!/usr/bin/env bash
# start.sh MODEL GRPC_PORT HTTP_PORT  Serves a model on MLServer at 127.0.0.1 until it is told to stop; SIGTERM ends it. It is ready when
# http://127.0.0.1:HTTP_PORT/v2/models/MODEL/ready answers 200. MODEL is faces, .cache/models/faces.onnx, which `make models` fetches, or echo, ../models/echo.py.
set -euo pipefail
[ $# -eq 3 ] || { echo "usage: start.sh MODEL GRPC_PORT HTTP_PORT" >&2; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../../.." && pwd)
[ -e "$here/$1/model-settings.json" ] || { echo "mlserver: there is no model $1: faces and echo are" >&2; exit 2; }
file=$root/.cache/models/faces.onnx
[ "$1" != faces ] || [ -e "$file" ] || { echo "mlserver: $file is missing: run \`make models\`" >&2; exit 1; }

environment=$("$here/../venv.sh" mlserver)
export FACES_MODEL=$file PYTHONPATH=$here/../models MLSERVER_GRPC_PORT=$2 MLSERVER_HTTP_PORT=$3 PYTHONDONTWRITEBYTECODE=1
cd "$environment" # whatever it writes belongs there
exec bin/mlserver start "$here/$1"
