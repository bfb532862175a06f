#!/usr/bin/env bash
# start.sh REPOSITORY GRPC_PORT HTTP_PORT  Serves the models of a repository on Triton at 127.0.0.1 until it is told to stop; SIGTERM ends it. It is ready when
# http://127.0.0.1:HTTP_PORT/v2/health/ready answers 200.
set -euo pipefail
[ $# -eq 3 ] || { echo "usage: start.sh REPOSITORY GRPC_PORT HTTP_PORT" >&2; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
repository=$(cd "$1" && pwd)

environment=$("$here/../venv.sh" triton)
read -r version libraries < <("$environment/bin/python" -c 'import sysconfig; print(sysconfig.get_python_version(), sysconfig.get_config_var("LIBDIR"))')
packages=$environment/lib/python$version/site-packages
server=$packages/pytriton/tritonserver

# The wheel has a stub for each version of Python, and Triton takes the one that lies beside its backend. A link would not do: the libraries are found from where the stub is.
stub=$server/python_backend_stubs/$version/triton_python_backend_stub
[ -e "$stub" ] || { echo "triton: the wheel has no stub for Python $version: use one of $(ls "$server/python_backend_stubs" | xargs)" >&2; exit 1; }
if ! cmp -s "$stub" "$server/backends/python/triton_python_backend_stub"; then
  cp "$stub" "$server/backends/python/stub.$$" # in two steps, since other servers may be starting too
  mv "$server/backends/python/stub.$$" "$server/backends/python/triton_python_backend_stub"
fi

# The stub is linked with libpython and finds its packages by the python3 in PATH.
export LD_LIBRARY_PATH=$libraries PATH=$environment/bin:$PATH PYTHONDONTWRITEBYTECODE=1
if ldd "$stub" | grep "libpython.*not found" >&2; then
  echo "triton: this Python has no shared library: apt-get install libpython3-dev, or build Python with --enable-shared" >&2
  exit 1
fi

# One that was killed leaves its shared memory behind.
for region in /dev/shm/sluice-triton-*; do
  owner=${region#/dev/shm/sluice-triton-}
  [ ! -e "$region" ] || kill -0 "${owner%%-*}" 2>/dev/null || rm -f "$region"
done

cd "$environment" # whatever it writes belongs there
exec "$server/bin/tritonserver" --model-repository="$repository" --backend-directory="$server/backends" \
  --grpc-address=127.0.0.1 --grpc-port="$2" --http-address=127.0.0.1 --http-port="$3" --allow-metrics=false --exit-timeout-secs=10 \
  --backend-config=python,shm-region-prefix-name="sluice-triton-$$-"
