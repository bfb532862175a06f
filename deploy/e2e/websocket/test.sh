#!/usr/bin/env bash
# test.sh FOLDER  Runs the Python tests of a folder.
set -euo pipefail
[ $# -eq 1 ] || { echo "usage: test.sh FOLDER" >&2; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
environment=$("$here/../venv.sh" websocket)
cd "$1"
PYTHONDONTWRITEBYTECODE=1 exec "$environment/bin/python" -m unittest discover --pattern '*_test.py'
