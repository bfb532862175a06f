#!/usr/bin/env bash
# fuzz.sh TIME  Runs every fuzz target of the workspace for TIME each. Minimising is off: it eats most of a short run.
set -euo pipefail
status=0
while IFS=: read -r file target; do
  package=./$(dirname "$file")
  echo "== $package $target"
  go test -run '^$' -fuzz "^$target\$" -fuzztime "$1" -fuzzminimizetime 1x "$package" || status=1
done < <(git grep -oE 'func (Fuzz[A-Za-z0-9_]+)\(' -- '*_test.go' | sed -E 's/func (Fuzz[A-Za-z0-9_]+)\(/\1/')
exit "$status"
