#!/usr/bin/env bash
# venv.sh FOLDER  Makes the virtual environment of FOLDER/requirements.txt in .cache/FOLDER, once for each state of that file, and prints its path.
set -euo pipefail
[ $# -eq 1 ] || { echo "usage: venv.sh FOLDER" >&2; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
name=$1
requirements=$here/$name/requirements.txt

python=$(command -v python3) || { echo "$name: python3 is not in PATH: install Python 3.11 or newer with venv" >&2; exit 1; }
state=$({ cat "$requirements"; "$python" --version; } | sha256sum | cut -c1-12)
environment=$root/.cache/$name/$state
mkdir -p "$root/.cache/$name"
exec 9>"$root/.cache/$name/.lock"
flock 9 # whoever comes second finds it made
if [ ! -e "$environment/.complete" ]; then
  echo "$name: installing it into .cache/$name; the first time this takes a minute" >&2
  rm -rf "$environment"
  "$python" -m venv "$environment" >&2 || { echo "$name: python3 has no venv: apt-get install python3-venv" >&2; exit 1; }
  if ! "$environment/bin/pip" install --quiet --disable-pip-version-check --no-deps --only-binary :all: --requirement "$requirements" >&2; then
    echo "$name: pip could not install it, see above: is this machine online, and its Python 3.11 or newer?" >&2
    exit 1
  fi
  touch "$environment/.complete"
fi
echo "$environment"
