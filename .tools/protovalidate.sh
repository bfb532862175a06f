#!/usr/bin/env bash
# protovalidate.sh DIR  Puts protovalidate's own description (buf/validate/validate.proto) into DIR, out of its Go module of pinned version and checksum.
set -euo pipefail
version=v1.2.2
sum="h1:2H/9/Kr97etSRqW3IJjTTb09z+zutkK2GDhDRbOnqr4="
mkdir -p "$1"
[ "$(cat "$1/.version" 2>/dev/null)" = "$version" ] && exit 0
got=$(GOWORK=off go mod download -json "github.com/bufbuild/protovalidate@$version")
field() { python3 -c 'import json, sys; print(json.load(sys.stdin)[sys.argv[1]])' "$1" <<<"$got"; }
if [ "$(field Sum)" != "$sum" ]; then
  echo "protovalidate $version: checksum $(field Sum), want $sum" >&2
  exit 1
fi
rm -rf "${1:?}/buf"
cp -r "$(field Dir)/proto/protovalidate/buf" "$1/buf"
chmod -R u+w "$1"
echo "$version" >"$1/.version"
