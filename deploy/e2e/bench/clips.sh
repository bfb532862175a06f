#!/usr/bin/env bash
# clips.sh DIR  Makes what the benchmark publishes: the face before the wall as a hand-held camera shows it, the whole picture always in motion and a sensor's noise on it. A picture
# of which most stands still decodes in three quarters of the time, and no camera gives one. 1280x720 at 30 frames a second, 1.6 Mbit/s, a key frame a second, a slice a picture.
set -euo pipefail
root=$(cd "$(dirname "$0")/../../.." && pwd)
out=$1
mkdir -p "$out"
ff() { ffmpeg -nostdin -hide_banner -loglevel error -y "$@"; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
ff -i "$root/.cache/clips/faces-720p30.ivf" -frames:v 300 \
  -vf "scale=1600:900,crop=1280:720:x='160+150*sin(n/20)':y='90+80*cos(n/15)',noise=alls=4:allf=t:all_seed=1,format=yuv420p" \
  -c:v libx264 -preset ultrafast -qp 0 "$work/master.mkv"
ff -i "$work/master.mkv" -c:v libvpx -b:v 1600k -deadline realtime -cpu-used 8 -g 30 -keyint_min 30 -auto-alt-ref 0 -threads 2 "$work/camera-720p30.ivf"
ff -i "$work/master.mkv" -c:v libx264 -profile:v baseline -preset veryfast -tune zerolatency -x264-params slices=1:sliced-threads=0 -b:v 1600k -g 30 -bf 0 \
  "$work/camera-720p30.h264"
mv "$work/camera-720p30.ivf" "$work/camera-720p30.h264" "$out"
