#!/usr/bin/env bash
# whip-client.sh ARGUMENT…  Runs Meetecho's whip-client as Debian has it. Debian 12's ends before it begins: it is linked with libsoup 2, and libnice brings libsoup 3 into the process by
# way of libgupnp-igd, which libsoup 3 takes for a mistake. A stand-in for that library, of which nothing is used here, keeps libsoup 3 out.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
library=$here/../../../.build/gstreamer
mkdir -p "$library"
gcc -shared -fPIC -Wl,-soname,libgupnp-igd-1.0.so.4 -o "$library/libgupnp-igd-1.0.so.4" "$here/igd.c"
LD_LIBRARY_PATH=$library exec whip-client "$@"
