#!/usr/bin/env bash
# setup.sh  Makes the virtual environment of the model server in .cache/mlserver, once for each state of requirements.txt, and prints its path.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../../.." && pwd)

python=$(command -v python3) || { echo "mlserver: python3 is not in PATH: install Python 3.11 or newer with venv" >&2; exit 1; }
state=$({ cat "$here/requirements.txt"; "$python" --version; } | sha256sum | cut -c1-12)
environment=$root/.cache/mlserver/$state
if [ ! -e "$environment/.complete" ]; then
  echo "mlserver: installing it into .cache/mlserver; the first time this takes a minute" >&2
  mkdir -p "$root/.cache/mlserver"
  rm -rf "$environment"
  "$python" -m venv "$environment" >&2 || { echo "mlserver: python3 has no venv: apt-get install python3-venv" >&2; exit 1; }
  if ! "$environment/bin/pip" install --quiet --disable-pip-version-check --no-deps --only-binary :all: --requirement "$here/requirements.txt" >&2; then
    echo "mlserver: pip could not install it, see above: is this machine online, and its Python 3.11 or newer?" >&2
    exit 1
  fi
  touch "$environment/.complete"
fi
echo "$environment"
