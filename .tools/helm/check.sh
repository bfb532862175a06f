#!/usr/bin/env bash
# check.sh TOOLS CACHE  Lints the chart, renders it with its defaults and with each file of its ci folder, and checks all objects strictly against the schemas of
# Kubernetes' own description of its API. What is rendered stays in .build/chart, one file for each, for whoever wants to apply it.
set -euo pipefail
cd "$(dirname "$0")/../.."

tools=$1 cache=$2
chart=deploy/helm/sluice
kubernetes=v1.37.2
schemas=$cache/k8s-schemas/$kubernetes
out=.build/chart

if [ ! -e "$schemas/.made" ]; then
  source=$(cd .tools/helm && GOWORK=off go mod download -json "k8s.io/kubernetes@$kubernetes" | python3 -c 'import json, sys; print(json.load(sys.stdin)["Dir"])')
  python3 .tools/helm/schemas.py "$source/api/openapi-spec/swagger.json" "$schemas"
  touch "$schemas/.made"
fi

rm -rf "$out"
mkdir -p "$out"
for values in "$chart"/values.yaml "$chart"/ci/*.yaml; do
  name=$(basename "$values" .yaml)
  "$tools/helm" lint --strict --quiet "$chart" --values "$values"
  "$tools/helm" template sluice "$chart" --namespace sluice --values "$values" >"$out/$name.yaml"
  "$tools/kubeconform" -strict -schema-location "$schemas/{{.ResourceKind}}{{.KindSuffix}}.json" "$out/$name.yaml"
done
echo "the chart's objects are valid with each of: $(cd "$out" && echo *.yaml)"
