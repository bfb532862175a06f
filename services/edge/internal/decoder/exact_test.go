package decoder_test

import (
	"bytes"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/rtp/codecs"

	"github.com/sluice-dev/sluice/pkg/depacket"
	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/services/edge/internal/decoder"
)

const (
	realtimeVP9 = "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -lag-in-frames 0 -b:v 600k -g 15 -f ivf -"
	realtimeAV1 = "-c:v libaom-av1 -usage realtime -cpu-used 8 -lag-in-frames 0 -b:v 600k -g 15 -f ivf -"
)

// ivfFrames gives the frames of an IVF file.
func ivfFrames(ivf []byte) (frames [][]byte) {
	for _, u := range ivfUnits(ivf) {
		frames = append(frames, u.Data)
	}
	return frames
}

// framesOf gives the frames of a file as its codec has them.
func framesOf(codec media.Codec, file []byte) (frames [][]byte) {
	if codec != media.H265 {
		return ivfFrames(file)
	}
	for _, u := range hevcUnits(file) {
		frames = append(frames, u.Data)
	}
	return frames
}

// hevc gives ffmpeg's arguments for H.265; options are x265's.
func hevc(options string) string {
	return "-c:v libx265 -preset ultrafast -x265-params aud=1:repeat-headers=1:keyint=15:min-keyint=15:scenecut=0:log-level=none:" + options + " -f hevc -"
}

// overRTP gives what the assembler makes of frames that came by RTP. payloads gives a frame's packets.
func overRTP(t *testing.T, codec media.Codec, frames [][]byte, payloads func(frame []byte) [][]byte) (units []media.AccessUnit) {
	t.Helper()
	assembler, err := depacket.New(codec, 0)
	if err != nil {
		t.Fatal(err)
	}
	gate := new(depacket.Gate)
	for i, frame := range frames {
		parts := payloads(frame)
		for n, part := range parts {
			p := &rtp.Packet{Header: rtp.Header{Timestamp: uint32(i * 3000), Marker: n == len(parts)-1}, Payload: part}
			for _, u := range assembler.Push(p, time.Now()) {
				if v := gate.Step(&u); v != depacket.Decode {
					t.Fatalf("frame %d: the gate says %v of %+v", i, v, u)
				}
				units = append(units, u.AccessUnit)
			}
		}
	}
	if len(units) != len(frames) {
		t.Fatalf("%d units of %d frames", len(units), len(frames))
	}
	return units
}

// svcPayloads gives the packets of a superframe as browsers send spatial layers: each by itself (RFC 9628).
func svcPayloads(picture *uint16) func([]byte) [][]byte {
	return func(superframe []byte) (out [][]byte) {
		marker := superframe[len(superframe)-1]
		width, count := int(marker>>3&3)+1, int(marker&7)+1
		index := superframe[len(superframe)-1-width*count:]
		for layer := range count {
			size := 0
			for i := range width {
				size |= int(index[layer*width+i]) << (8 * i)
			}
			frame := superframe[:size]
			superframe = superframe[size:]
			for begin := true; begin || len(frame) > 0; begin = false {
				n := min(len(frame), 1000)
				flags := byte(0xa0) // I, L
				if begin {
					flags |= 0x08
				}
				if n == len(frame) {
					flags |= 0x04
				}
				head := []byte{flags, 0x80 | byte(*picture>>8), byte(*picture), byte(layer << 1), 0}
				out = append(out, append(head, frame[:n]...))
				frame = frame[n:]
			}
		}
		*picture++
		return out
	}
}

// section is a run of pictures of one size.
type section struct{ width, height, pictures int }

// TestPicturesAreExact takes real encoders' output through RTP and the sandboxed process: every picture must be that of another decoder, byte
// for byte. Its planes come to the same conversion without loss.
func TestPicturesAreExact(t *testing.T) {
	source := func(size string) string {
		return "-f lavfi -i testsrc2=size=" + size + ":rate=30 -frames:v 30 -pix_fmt yuv420p "
	}
	odd := source("320x180") + "-vf crop=213:119:0:0:exact=1 "
	file := func(name string) []byte {
		b, err := os.ReadFile("testdata/" + name)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	whole := func(width, height int) []section { return []section{{width, height, 30}} }
	pion := func(p rtp.Payloader) func([]byte) [][]byte {
		return func(frame []byte) [][]byte { return p.Payload(1200, frame) }
	}
	for _, c := range []struct {
		name     string
		codec    media.Codec
		file     []byte
		payloads func([]byte) [][]byte
		peer     string
		sections []section
	}{
		{"VP9", media.VP9, clip(t, source("640x360")+realtimeVP9), pion(&codecs.VP9Payloader{}), "vp9", whole(640, 360)},
		{"VP9 by libvpx, odd size, flexible", media.VP9, clip(t, odd+realtimeVP9), pion(&codecs.VP9Payloader{FlexibleMode: true}), "libvpx-vp9", whole(213, 119)},
		{"VP9 with hidden frames", media.VP9, clip(t, source("320x180")+"-c:v libvpx-vp9 -deadline good -cpu-used 5 -lag-in-frames 12 -auto-alt-ref 1 -b:v 300k -f ivf -"),
			pion(&codecs.VP9Payloader{}), "libvpx-vp9", whole(320, 180)},
		{"VP9 with three spatial layers", media.VP9, file("vp9-svc.ivf"), svcPayloads(new(uint16)), "libvpx-vp9", []section{{320, 180, 12}}},
		{"VP9 that changes its size between key frames", media.VP9, file("vp9-resized.ivf"), pion(&codecs.VP9Payloader{}), "libvpx-vp9",
			[]section{{320, 180, 3}, {240, 134, 3}, {213, 119, 3}, {320, 180, 3}}},
		{"AV1", media.AV1, clip(t, source("640x360")+realtimeAV1), pion(&codecs.AV1Payloader{}), "libdav1d", whole(640, 360)},
		{"AV1 by libaom, odd size", media.AV1, clip(t, odd+realtimeAV1), pion(&codecs.AV1Payloader{}), "libaom-av1", whole(213, 119)},
		{"AV1 with hidden frames", media.AV1, clip(t, source("320x180")+"-c:v libaom-av1 -usage good -cpu-used 8 -lag-in-frames 12 -b:v 300k -f ivf -"),
			pion(&codecs.AV1Payloader{}), "libdav1d", whole(320, 180)},
		// Made by ffmpeg -f lavfi -i testsrc2=size=320x180:rate=30 -frames:v 12 -pix_fmt yuv420p clip.y4m and aomenc clip.y4m --rt --cpu-used=8
		// --lag-in-frames=0 --kf-max-dist=999 --target-bitrate=100 --resize-mode=2 --ivf -o av1-resized.ivf: no picture is of the size of the one
		// before, and only the first is a key frame.
		{"AV1 that changes its size between key frames", media.AV1, file("av1-resized.ivf"), pion(&codecs.AV1Payloader{}), "libaom-av1", []section{
			{213, 120, 1}, {171, 96, 1}, {233, 131, 1}, {197, 111, 1}, {213, 120, 1}, {171, 96, 1}, {233, 131, 1}, {197, 111, 1}, {320, 180, 1},
			{213, 120, 2}, {256, 144, 1},
		}},
		{"VP8, odd size", media.VP8, clip(t, source("854x480")+"-vf crop=853:479:0:0:exact=1 -c:v libvpx -deadline realtime -cpu-used 8 -g 15 -f ivf -"),
			pion(&codecs.VP8Payloader{EnablePictureID: true}), "libvpx", whole(853, 479)},
		{"VP9, odd size", media.VP9, clip(t, source("854x480")+"-vf crop=853:479:0:0:exact=1 "+realtimeVP9), pion(&codecs.VP9Payloader{}), "vp9", whole(853, 479)},
		{"H.265", media.H265, clip(t, source("640x360")+hevc("bframes=0")), pion(&codecs.H265Payloader{}), "hevc", whole(640, 360)},
		{"H.265 cropped, in slices, of small blocks", media.H265, clip(t, source("426x240")+hevc("bframes=0:slices=3:ctu=16")), pion(&codecs.H265Payloader{}), "hevc", whole(426, 240)},
		{"H.265 with temporal layers", media.H265, clip(t, source("640x360")+hevc("bframes=0:temporal-layers=1")), pion(&codecs.H265Payloader{}), "hevc", whole(640, 360)},
	} {
		t.Run(c.name, func(t *testing.T) {
			frames := framesOf(c.codec, c.file)
			units := overRTP(t, c.codec, frames, c.payloads)
			name := t.TempDir() + "/clip"
			writeFile(t, name, c.file)
			checkExact(t, units, ffmpeg(t, "-c:v "+c.peer+" -i "+name+" -autoscale 0 -pix_fmt yuv420p -f rawvideo -"), c.sections)
		})
	}
}

// TestReorderedPicturesAreExact does the same for B pictures, which come out in the display's order, but for the last, which wait for more.
func TestReorderedPicturesAreExact(t *testing.T) {
	const source = "-f lavfi -i testsrc2=size=320x180:rate=30 -frames:v 30 -pix_fmt yuv420p "
	for codec, file := range map[media.Codec][]byte{
		media.H264: clip(t, source+"-c:v libx264 -preset veryfast -g 15 -x264-params aud=1:repeat-headers=1:bframes=4:b-pyramid=normal -f h264 -"),
		media.H265: clip(t, source+hevc("bframes=4:b-pyramid=1")),
	} {
		t.Run(codec.String(), func(t *testing.T) {
			units, format := annexBUnits(file), "h264"
			if codec == media.H265 {
				units, format = hevcUnits(file), "hevc"
			}
			name := t.TempDir() + "/clip"
			writeFile(t, name, file)
			whole := section{320, 180, 30}
			reference := lossless(t, ffmpeg(t, "-f "+format+" -i "+name+" -pix_fmt yuv420p -f rawvideo -"), whole)
			d, peer, n := open(t, nil), open(t, nil), 0
			for i, u := range units {
				pictures, err := decode(d, 1, uint64(i), u, native(320, 180))
				if err != nil {
					t.Fatalf("unit %d: %v", i, err)
				}
				for _, p := range pictures {
					if !bytes.Equal(p.Payload, shown(t, peer, n, reference[n], whole)) {
						t.Fatalf("picture %d of the display differs", n)
					}
					n++
				}
				release(pictures)
			}
			if n < 25 {
				t.Errorf("%d of 30 pictures came out", n)
			}
		})
	}
}

// checkExact compares the pictures of units with planes, the pictures of the sections one after the other.
func checkExact(t *testing.T, units []media.AccessUnit, planes []byte, sections []section) {
	t.Helper()
	d, peer := open(t, nil), open(t, nil)
	n := 0
	for _, s := range sections {
		size := s.width*s.height + 2*((s.width+1)/2)*((s.height+1)/2)
		if len(planes) < size*s.pictures {
			t.Fatalf("the reference has %d bytes left, want %d", len(planes), size*s.pictures)
		}
		reference := lossless(t, planes[:size*s.pictures], s)
		planes = planes[size*s.pictures:]
		for _, r := range reference {
			want := shown(t, peer, n, r, s)
			if got := shown(t, d, n, units[n], s); !bytes.Equal(got, want) {
				t.Fatalf("picture %d differs", n)
			}
			n++
		}
	}
	if n != len(units) || len(planes) > 0 {
		t.Errorf("%d of %d units compared, %d bytes of the reference left", n, len(units), len(planes))
	}
}

// shown decodes a unit to a picture of its own size.
func shown(t *testing.T, d *decoder.Decoder, n int, u media.AccessUnit, s section) []byte {
	t.Helper()
	pictures, err := decode(d, 1, uint64(n), u, native(s.width, s.height))
	if err != nil || len(pictures) != 1 {
		t.Fatalf("unit %d: %d pictures, %v", n, len(pictures), err)
	}
	defer pictures[0].Release()
	if p := pictures[0].Placement; p.SourceWidth != s.width || p.SourceHeight != s.height {
		t.Fatalf("unit %d is of %d×%d, want %d×%d", n, p.SourceWidth, p.SourceHeight, s.width, s.height)
	}
	return bytes.Clone(pictures[0].Payload)
}

// lossless gives planes as H.264, or as VP9 where a side is odd, which x264 does not take.
func lossless(t *testing.T, planes []byte, s section) (units []media.AccessUnit) {
	t.Helper()
	name := t.TempDir() + "/planes"
	writeFile(t, name, planes)
	input := fmt.Sprintf("-f rawvideo -pix_fmt yuv420p -s %dx%d -r 30 -i %s ", s.width, s.height, name)
	if (s.width|s.height)&1 == 0 {
		units = annexBUnits(ffmpeg(t, input+"-c:v libx264 -preset ultrafast -qp 0 -bf 0 -x264-params aud=1 -f h264 -"))
	} else {
		for _, frame := range ivfFrames(ffmpeg(t, input+"-c:v libvpx-vp9 -lossless 1 -deadline realtime -cpu-used 8 -lag-in-frames 0 -g 1 -f ivf -")) {
			units = append(units, unit(media.VP9, frame))
		}
	}
	if len(units) != s.pictures {
		t.Fatalf("%d units of %d pictures", len(units), s.pictures)
	}
	return units
}
