#!/usr/bin/env bash
# deps.sh GROUP…  Installs what Debian's packages a group of make's targets needs and this machine lacks. Groups: build, test, lint,
# e2e, k8s, bench, images.
# Asks for root only when something is missing. Elsewhere than on Debian or Ubuntu it names what is missing and stops.
set -euo pipefail

declare -A packages=(
  [build]="gcc libc6-dev make pkg-config libavcodec-dev libavutil-dev libswresample-dev libopus-dev libyuv-dev python3 python3-venv ca-certificates"
  [test]="g++ ffmpeg espeak-ng gstreamer1.0-tools gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-bad gstreamer1.0-plugins-ugly"
  [lint]="prometheus"
  [e2e]="prometheus chromium firefox-esr coturn simple-whip-client iproute2 procps curl libpython3-dev"
  [k8s]="etcd-server containerd runc containernetworking-plugins nftables conntrack iproute2 procps curl prometheus"
  [bench]="iproute2 libpython3-dev python3-aiortc python3-aiohttp python3-gi gir1.2-gst-plugins-base-1.0 gir1.2-gst-plugins-bad-1.0
    gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-bad gstreamer1.0-nice gstreamer1.0-libav"
  [images]="buildah"
)
# libpython3-dev stands for the shared library of whatever Python 3 it is, which Triton's Python backend is linked with.
# The kernel's profiler; Ubuntu has it under names that change with the kernel, and does without.
if grep -qx 'ID=debian' /etc/os-release 2>/dev/null; then packages[bench]+=" linux-perf"; fi
declare -A tools=([go]="Go 1.26 or newer, from go.dev" [node]="Node.js 20 or newer" [npm]="npm, with Node.js" [python3]="Python 3.11 or newer")

missing=()
for group in "$@"; do
  for package in ${packages[$group]}; do
    case $package in
      # A Python that did not come from a package is as good, if it can make virtual environments.
      python3 | python3-venv) python3 -c 'import venv, ensurepip' 2>/dev/null && continue ;;
      # So are those of Docker's packages, which Debian's would replace.
      containerd | runc) command -v "$package" >/dev/null && continue ;;
    esac
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
  done
done

if [ ${#missing[@]} -gt 0 ]; then
  if ! command -v apt-get >/dev/null; then
    echo "deps: this machine lacks, by their Debian names: ${missing[*]}" >&2
    echo "deps: install them with your package manager and try again." >&2
    exit 1
  fi
  root=""
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || { echo "deps: run as root, or install sudo: apt-get install ${missing[*]}" >&2; exit 1; }
    root=sudo
  fi
  echo "deps: installing ${missing[*]}"
  log=$(mktemp)
  trap 'rm -f "$log"' EXIT
  if ! { $root apt-get update && DEBIAN_FRONTEND=noninteractive $root apt-get install -y --no-install-recommends "${missing[@]}"; } >"$log" 2>&1; then
    tail -20 "$log" >&2
    exit 1
  fi
  # The tests start servers of their own; Debian's packages start one for everybody.
  for service in coturn etcd-server:etcd containerd prometheus; do
    case " ${missing[*]} " in *" ${service%:*} "*) { $root systemctl disable --now "${service#*:}" || $root service "${service#*:}" stop; } >/dev/null 2>&1 || true ;; esac
  done
fi

for tool in "${!tools[@]}"; do
  command -v "$tool" >/dev/null || { echo "deps: $tool is not in PATH: install ${tools[$tool]}" >&2; exit 1; }
done
