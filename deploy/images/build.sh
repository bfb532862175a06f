#!/usr/bin/env bash
# build.sh VERSION IMAGE…  Builds images (edge, router, stub) without a registry and without a daemon, as docker archives in .build/images, which docker load,
# podman load and ctr images import take. The same sources on the same packages give the same bytes: times are those of the last commit
# (SOURCE_DATE_EPOCH), and deploy/images/packages.lock says which packages. Where this machine's differ it says so; with LOCKED=1 that is an error, and
# with LOCK=1 the list is written anew.
set -euo pipefail
cd "$(dirname "$0")/../.."

version=$1
shift
epoch=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}
work=.build/images
lock=deploy/images/packages.lock
architecture=$(dpkg --print-architecture)
storage=(--storage-driver vfs --root "$PWD/$work/storage" --runroot "$PWD/$work/run")
mkdir -p "$work"
# Nothing of what buildah keeps is needed once the archives are written.
trap 'rm -rf "$work/storage" "$work/run"' EXIT

# locked IMAGE: compares the packages in the image with the list.
locked() {
  local now=$work/$1.packages list=$work/$1.locked
  awk -v image="$1" -v architecture="$architecture" -F '\t' '{ sub(":.*", "", $1); print image, architecture, $1, $2 }' "$work/$1/usr/share/doc/sluice/packages.txt" >"$now"
  if [ "${LOCK:-}" ]; then
    { grep -v "^$1 $architecture " "$lock" 2>/dev/null || true; cat "$now"; } >"$lock.new"
    { grep '^#' "$lock.new" || true; grep -v '^#' "$lock.new" | LC_ALL=C sort; } >"$lock"
    rm "$lock.new"
    return
  fi
  grep "^$1 $architecture " "$lock" >"$list" || true
  diff "$list" "$now" >"$work/$1.diff" && return
  echo "images: the packages of $1 ($architecture) are not those of $lock (< there, > here):" >&2
  grep '^[<>]' "$work/$1.diff" >&2
  [ -z "${LOCKED:-}" ] || { echo "images: build on a machine with these packages, or write the list anew: make images LOCK=1" >&2; return 1; }
}

for image in "$@"; do
  name=sluice-$image
  [ "$image" != stub ] || name=oipstub
  deploy/images/stage.sh "$image" "$work/$image"
  [ "$image" = stub ] || locked "$image"
  # Kubernetes takes images of localhost for what they are: never to be pulled.
  buildah "${storage[@]}" build --quiet --isolation chroot --format oci --timestamp "$epoch" --label "org.opencontainers.image.version=$version" \
    -f "deploy/images/$image/Dockerfile" -t "localhost/$name:$version" "$work/$image" >"$work/$image.id"
  rm -f "$work/$name.tar"
  buildah "${storage[@]}" push --quiet "localhost/$name:$version" "docker-archive:$work/$name.tar:localhost/$name:$version"
  echo "localhost/$name:$version  $work/$name.tar  $(du -m "$work/$name.tar" | cut -f1) MB"
done
