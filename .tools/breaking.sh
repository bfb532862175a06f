#!/usr/bin/env bash
# breaking.sh  Compares the protobuf contract with that of the branch it goes to (BASE, origin/main unless given; the commit before on that branch itself).
set -euo pipefail
base=${BASE:-$(git rev-parse -q --verify origin/main || true)}
[ -n "$base" ] && [ "$(git rev-parse "$base")" != "$(git rev-parse HEAD)" ] || base=$(git rev-parse -q --verify HEAD~1 || true)
[ -n "$base" ] || { echo "breaking: no earlier commit to compare with"; exit 0; }
rm -rf .build/base
trap 'rm -rf .build/base' EXIT
mkdir -p .build/base/.build
git archive "$base" | tar -x -C .build/base
[ -e .build/base/buf.yaml ] || { echo "breaking: $base has no contract yet"; exit 0; }
cp -r .build/protovalidate .build/base/.build/
"$TOOLS/buf" breaking --against .build/base
