#!/usr/bin/env bash
# make.sh  Makes the test clips in .cache/clips: a real face (Eileen Collins, NASA, public domain) that moves over a brick wall (CC0) on a known path. Frame n has
# the face's centre at
#   x = centre + 280 sin(2 pi n / 60) pixels,  y = centre + 90 sin(2 pi n / 90) pixels,  of 1280 x 720 at 30 frames a second,
# so that a result can be told from its neighbour's. Both pictures come out of the Python package scikit-image, of pinned version and checksum.
set -euo pipefail
root=$(cd "$(dirname "$0")/../../.." && pwd)
out=$root/.cache/clips
folder=$(dirname "$0")
here=$(cat "$0" "$folder/voice.py" | sha256sum | cut -c1-16)
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

# The same by GStreamer's encoders, which know neither IVF nor, here, AV1 without a container: ffmpeg copies the pictures out of Matroska.
gst() { gst-launch-1.0 -q filesrc location="$out/faces-360p30.y4m" ! y4mdec ! videoconvert ! "$@" >"$work/gst.log" || { cat "$work/gst.log" >&2; exit 1; }; }
gst vp8enc deadline=1 cpu-used=8 target-bitrate=800000 keyframe-max-dist=30 ! matroskamux ! filesink location="$work/gst-vp8.mkv"
gst vp9enc deadline=1 cpu-used=8 target-bitrate=800000 keyframe-max-dist=30 lag-in-frames=0 ! matroskamux ! filesink location="$work/gst-vp9.mkv"
gst av1enc usage-profile=realtime cpu-used=8 end-usage=cbr max-quantizer=56 target-bitrate=800 keyframe-max-dist=30 lag-in-frames=0 ! av1parse ! matroskamux ! \
  filesink location="$work/gst-av1.mkv"
for codec in vp8 vp9 av1; do ff -i "$work/gst-$codec.mkv" -c copy "$out/gst-$codec.ivf"; done
gst x264enc tune=zerolatency speed-preset=veryfast bitrate=800 key-int-max=30 ! video/x-h264,profile=constrained-baseline,stream-format=byte-stream,alignment=au ! \
  filesink location="$out/gst.h264"
gst x265enc tune=zerolatency speed-preset=veryfast bitrate=800 key-int-max=30 option-string=repeat-headers=1:log-level=error ! video/x-h265,stream-format=byte-stream,alignment=au ! \
  filesink location="$out/gst.h265"

# Sentences by espeak-ng between digital silence, and Opus as a browser sends it: speech at 24 kbit/s in packets of 20 ms, each with what helps to recover the one before, and next
# to nothing in silence.
python3 "$folder/voice.py" "$out"
gst-launch-1.0 -q filesrc location="$out/voice.wav" ! wavparse ! audioconvert ! opusenc audio-type=voice inband-fec=true packet-loss-percentage=10 dtx=true bitrate=24000 frame-size=20 ! \
  oggmux ! filesink location="$out/voice.ogg"
ff -i "$out/voice.wav" -c:a libopus -b:a 24k -application voip -fec 1 -packet_loss 10 "$out/voice.opus"
echo "$here" >"$out/.made-by"
