#!/usr/bin/env bash
# make.sh  Makes the test clips in .cache/clips: a real face (Eileen Collins, NASA, public domain) that moves over a brick wall (CC0) on a known path. Frame n has
# the face's centre at
#   x = centre + 280 sin(2 pi n / 60) pixels,  y = centre + 90 sin(2 pi n / 90) pixels,  of 1280 x 720 at 30 frames a second,
# so that a result can be told from its neighbour's. Both pictures come out of the Python package scikit-image, of pinned version and checksum.
set -euo pipefail
root=$(cd "$(dirname "$0")/../../.." && pwd)
out=$root/.cache/clips
here=$(sha256sum "$0" | cut -c1-16)
[ "$(cat "$out/.made-by" 2>/dev/null)" = "$here" ] && exit 0
echo "clips: making the test clips in .cache/clips"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$out"
rm -f "$out/.made-by"

wheel=scikit_image-0.26.0-cp311-cp311-manylinux_2_24_x86_64.manylinux_2_28_x86_64.whl
sha=74aa5518ccea28121f57a95374581d3b979839adc25bb03f289b1bc9b99c58af
python=python3
if ! python3 -m pip --version >/dev/null 2>&1; then # Debian's Python comes without it; a virtual environment brings its own.
  python3 -m venv "$work/venv"
  python=$work/venv/bin/python
fi
"$python" -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: --python-version 3.11 --implementation cp --abi cp311 \
  --platform manylinux_2_28_x86_64 --platform manylinux_2_24_x86_64 --dest "$work" scikit-image==0.26.0
echo "$sha  $work/$wheel" | sha256sum --check --quiet
python3 -m zipfile -e "$work/$wheel" "$work/wheel"
picture=$work/wheel/skimage/data

ff() { ffmpeg -nostdin -hide_banner -loglevel error -y "$@"; }

# The head and shoulders, 330 x 330 pixels of the photograph, enlarged.
ff -i "$picture/astronaut.png" -vf 'crop=330:330:60:0,scale=420:420' "$work/face.png"
ff -i "$picture/brick.png" -vf 'scale=1280:1280,crop=1280:720,format=rgb24' "$work/wall.png"
ff -i "$picture/astronaut.png" -q:v 3 "$out/astronaut.jpg"
cp "$picture/astronaut.png" "$out/astronaut.png"

# Twenty seconds (ffmpeg's overlay counts frames from 1), kept without loss; every clip below is made from it.
ff -loop 1 -framerate 30 -i "$work/wall.png" -loop 1 -framerate 30 -i "$work/face.png" \
  -filter_complex "[0][1]overlay=x='430+280*sin(2*PI*(n-1)/60)':y='150+90*sin(2*PI*(n-1)/90)':eval=frame,format=yuv420p" \
  -frames:v 600 -c:v libx264 -preset ultrafast -qp 0 "$work/master.mkv"

ff -i "$work/master.mkv" -c:v libvpx -b:v 1600k -deadline realtime -cpu-used 8 -g 30 -keyint_min 30 -auto-alt-ref 0 -threads 2 "$out/faces-720p30.ivf"
ff -i "$work/master.mkv" -c:v libx264 -profile:v baseline -preset veryfast -tune zerolatency -x264-params slices=1:sliced-threads=0 -b:v 1600k -g 30 -bf 0 "$out/faces-720p30.h264"
ff -i "$work/master.mkv" -frames:v 300 -c:v libvpx-vp9 -b:v 1600k -deadline realtime -cpu-used 8 -row-mt 1 -g 30 -keyint_min 30 -lag-in-frames 0 -auto-alt-ref 0 \
  "$out/faces-720p30-vp9.ivf"
ff -i "$work/master.mkv" -frames:v 300 -c:v libaom-av1 -b:v 1600k -usage realtime -cpu-used 8 -row-mt 1 -g 30 -keyint_min 30 -lag-in-frames 0 \
  "$out/faces-720p30-av1.ivf"
ff -i "$work/master.mkv" -frames:v 300 -c:v libx265 -preset veryfast -x265-params log-level=error:repeat-headers=1:bframes=0:scenecut=0 -b:v 1600k -g 30 "$out/faces-720p30.h265"
ff -i "$work/master.mkv" -frames:v 150 -c:v libx264 -profile:v baseline -preset veryfast -x264-params slices=4:sliced-threads=0 -b:v 1600k -g 30 -bf 0 "$out/faces-slices.h264"
ff -i "$work/master.mkv" -frames:v 300 -vf scale=640:360 -c:v libvpx -b:v 800k -deadline realtime -cpu-used 8 -g 30 "$out/faces-360p30.webm"
ff -i "$work/master.mkv" -frames:v 150 -vf scale=640:360 -pix_fmt yuv420p "$out/faces-360p30.y4m"
ff -i "$out/astronaut.jpg" -c:v libwebp "$out/astronaut.webp"
echo "$here" >"$out/.made-by"
