#!/usr/bin/env bash
# stage.sh edge|router|stub FOLDER  Puts together what an image holds: our binaries, and of this machine's Debian packages just the shared libraries that they are
# linked with. There is no shell, no package manager and nothing else in it. Each package that a file comes from is named with its version in
# usr/share/doc/sluice/packages.txt, its licence is in usr/share/doc/PACKAGE/copyright as Debian wrote it, and scanners find it in var/lib/dpkg/status.d.
set -euo pipefail
cd "$(dirname "$0")/../.."
export LC_ALL=C

image=$1 root=$2
triplet=$(gcc -print-multiarch)
libraries=usr/lib/$triplet

# put MODE SOURCE TARGET: one file, under the root.
put() { install -D -m "$1" "$2" "$root/$3"; }

# linked FILE…: the shared libraries of the files, as "NAME PATH" for each that the dynamic linker finds, and the linker itself.
linked() {
  ldd "$@" | awk '$1 ~ /not found/ || $3 == "not" { print "stage: " $1 " is not installed" > "/dev/stderr"; exit 1 }
    $2 == "=>" { print $1, $3 } $1 ~ /^\// && $2 ~ /^\(/ { n = split($1, part, "/"); print part[n], $1 }' | sort -u
}

# owner PATH: the package of a file. Debian 12 still lists under /lib what lies in /usr/lib.
owner() {
  { dpkg-query -S "$1" 2>/dev/null || dpkg-query -S "${1#/usr}"; } | sed 's/: .*//'
}

# libraries_of FILE…: puts what the files are linked with where the dynamic linker looks without a cache, and notes the packages.
libraries_of() {
  local name path found
  found=$(linked "$@") # on its own, so that what is missing ends the build
  while read -r name path; do
    case $name in
      ld-linux*) put 755 "$(readlink -f "$path")" "usr${path#/usr}" ;;
      *) put 644 "$(readlink -f "$path")" "$libraries/$name" ;;
    esac
    owner "$(readlink -f "$path")" >>"$packages"
  done <<<"$found"
}

# document PACKAGE…: version, licence and, for scanners, the package's own entry.
document() {
  local package name
  for package; do
    name=${package%%:*}
    put 644 "/usr/share/doc/$name/copyright" "usr/share/doc/$name/copyright"
    mkdir -p "$root/var/lib/dpkg/status.d"
    dpkg-query -s "$package" >"$root/var/lib/dpkg/status.d/$name"
    dpkg-query -W -f '${binary:Package}\t${Version}\t${source:Package}\n' "$package"
  done
}

rm -rf "$root"
mkdir -p "$root/usr/bin" "$root/usr/lib64" "$root/etc/sluice" "$root/tmp"
ln -s usr/lib "$root/lib"
ln -s usr/lib64 "$root/lib64"
packages=$(mktemp)
trap 'rm -f "$packages"' EXIT

case $image in
  edge)
    put 755 bin/sluice-edge usr/bin/sluice-edge
    put 755 bin/sluice-decoder usr/bin/sluice-decoder
    put 644 deploy/images/edge/edge.yaml etc/sluice/edge.yaml
    put 644 deploy/images/edge/NOTICE usr/share/doc/sluice/NOTICE
    libraries_of bin/sluice-decoder
    ;;
  router)
    put 755 bin/sluice-router usr/bin/sluice-router
    put 644 .cache/onnxruntime/libonnxruntime.so "$libraries/libonnxruntime.so"
    put 644 .cache/models/faces.onnx usr/share/sluice/models/faces.onnx
    put 644 .cache/models/speech.onnx usr/share/sluice/models/speech.onnx
    put 644 deploy/images/router/NOTICE usr/share/doc/sluice/NOTICE
    # The sample is the documentation of every key; only the places differ here.
    sed -e 's|\.\./\.\./\.cache/models/|/usr/share/sluice/models/|' -e 's|^onnx: .*|onnx: {library: libonnxruntime.so}|' \
      -e 's|127\.0\.0\.1:5005|:5005|; s|127\.0\.0\.1:808|:808|' deploy/config/router.yaml >"$root/etc/sluice/router.yaml"
    chmod 644 "$root/etc/sluice/router.yaml"
    libraries_of bin/sluice-router .cache/onnxruntime/libonnxruntime.so
    ;;
  stub) put 755 .build/oipstub usr/bin/oipstub ;;
  *)
    echo "stage: $image is none of edge, router and stub" >&2
    exit 2
    ;;
esac

# Certificate authorities, as Mozilla's list stands in Debian's package: not those that somebody added to this machine.
put 644 /dev/null etc/ssl/certs/ca-certificates.crt
find /usr/share/ca-certificates/mozilla -name '*.crt' | sort | xargs cat >"$root/etc/ssl/certs/ca-certificates.crt"
echo ca-certificates >>"$packages"

printf 'root:x:0:0:root:/:/sbin/nologin\nsluice:x:65532:65532:sluice:/:/sbin/nologin\n' >"$root/etc/passwd"
printf 'root:x:0:\nsluice:x:65532:\n' >"$root/etc/group"
put 644 /etc/os-release usr/lib/os-release
ln -s ../usr/lib/os-release "$root/etc/os-release"
put 644 LICENSE usr/share/doc/sluice/LICENSE
mapfile -t names < <(sort -u "$packages")
document "${names[@]}" >"$root/usr/share/doc/sluice/packages.txt"
chmod -R u=rwX,go=rX "$root"
chmod 1777 "$root/tmp"
