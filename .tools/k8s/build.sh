#!/usr/bin/env bash
# build.sh CACHE  Builds what a Kubernetes node consists of from Go modules, pinned in go.mod beside this script, into a folder of CACHE, once for each state of these files, and prints
# the folder's path. The first time takes about fifteen minutes of processor time, so it runs at a low priority and tells how far it is.
set -euo pipefail
cache=$1
cd "$(dirname "$0")"
state=$(cat go.mod go.sum build.sh ./*/*.go <(go version) | sha256sum | cut -c1-12)
folder=$cache/$state
[ ! -e "$folder/.built" ] || { echo "$folder"; exit 0; }
mkdir -p "$folder"

export GOWORK=off CGO_ENABLED=0
version=$(go list -m -f '{{.Version}}' k8s.io/kubernetes)
IFS=. read -r major minor _ <<<"${version#v}"
# Kubernetes' programs parse their own version when they start.
stamp="-s -w -X k8s.io/component-base/version.gitVersion=$version -X k8s.io/component-base/version.gitMajor=$major -X k8s.io/component-base/version.gitMinor=$minor"
stamp+=" -X k8s.io/client-go/pkg/version.gitVersion=$version"
programs=(
  k8s.io/kubernetes/cmd/kube-apiserver k8s.io/kubernetes/cmd/kube-controller-manager k8s.io/kubernetes/cmd/kube-scheduler k8s.io/kubernetes/cmd/kubelet
  k8s.io/kubernetes/cmd/kube-proxy k8s.io/kubernetes/cmd/kubectl ./coredns ./adapter ./pause
)
echo "k8s: building Kubernetes $version into $folder; the first time this takes some minutes" >&2
go mod download
for i in "${!programs[@]}"; do
  program=$(basename "${programs[$i]}")
  started=$SECONDS
  # -p=2: the largest packages and the linker take 2.7 GB.
  [ -e "$folder/$program" ] || nice -n 10 go build -p=2 -trimpath -ldflags "$stamp" -o "$folder/" "${programs[$i]}" >&2
  echo "k8s: $((i + 1)) of ${#programs[@]}: $program, $((SECONDS - started)) s" >&2
done
touch "$folder/.built"
echo "$folder"
