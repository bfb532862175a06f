#!/usr/bin/env bash
# start.sh GRPC_PORT HTTP_PORT  Serves .cache/models/faces.onnx as the model `faces` on 127.0.0.1 until it is told to stop; SIGTERM ends it. It is ready when
# http://127.0.0.1:HTTP_PORT/v2/models/faces/ready answers 200. `make models` fetches the model.
set -euo pipefail
[ $# -eq 2 ] || { echo "usage: start.sh GRPC_PORT HTTP_PORT" >&2; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../../.." && pwd)
model=$root/.cache/models/faces.onnx
[ -e "$model" ] || { echo "mlserver: $model is missing: run \`make models\`" >&2; exit 1; }

environment=$("$here/../venv.sh" mlserver)
export FACES_MODEL=$model MLSERVER_GRPC_PORT=$1 MLSERVER_HTTP_PORT=$2 PYTHONDONTWRITEBYTECODE=1
cd "$environment" # whatever it writes belongs there
exec bin/mlserver start "$here/faces"
