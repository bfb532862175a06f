package decoder_test

import (
	"bytes"
	"encoding/binary"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/sluice-dev/sluice/pkg/media"
)

// ffmpeg runs ffmpeg on a synthetic picture source and gives what it writes.
func ffmpeg(tb testing.TB, arguments string) []byte {
	tb.Helper()
	cmd := exec.Command("ffmpeg", append([]string{"-hide_banner", "-loglevel", "error", "-nostdin"}, strings.Fields(arguments)...)...)
	var out, words bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &words
	if err := cmd.Run(); err != nil {
		tb.Fatalf("ffmpeg %s (is ffmpeg installed?): %v\n%s", arguments, err, words.String())
	}
	return out.Bytes()
}

// clips keeps what ffmpeg made, since several tests use the same.
var clips sync.Map

func clip(tb testing.TB, arguments string) []byte {
	tb.Helper()
	once, _ := clips.LoadOrStore(arguments, sync.OnceValue(func() []byte { return ffmpeg(tb, arguments) }))
	return once.(func() []byte)()
}

// vp8Clip gives the frames of a clip of 720p30 with a key frame at the start and every 15 frames.
func vp8Clip(tb testing.TB) []media.AccessUnit {
	tb.Helper()
	return ivfUnits(clip(tb, "-f lavfi -i testsrc2=size=1280x720:rate=30 -frames:v 30 -c:v libvpx -deadline realtime -cpu-used 8 -b:v 1600k -g 15 -f ivf -"))
}

// h264Clip gives access units; options are x264's.
func h264Clip(tb testing.TB, size string, options string) []media.AccessUnit {
	tb.Helper()
	return annexBUnits(clip(tb, "-f lavfi -i testsrc2=size="+size+":rate=30 -frames:v 30 -pix_fmt yuv420p -c:v libx264 -preset veryfast -g 15 "+
		"-x264-params aud=1:repeat-headers=1:"+options+" -f h264 -"))
}

// h265Clip gives access units; options are x265's.
func h265Clip(tb testing.TB, size string, options string) []media.AccessUnit {
	tb.Helper()
	return hevcUnits(clip(tb, "-f lavfi -i testsrc2=size="+size+":rate=30 -frames:v 30 -pix_fmt yuv420p "+hevc(options)))
}

// vp9Clip and av1Clip give a clip like vp8Clip's.
func vp9Clip(tb testing.TB) []media.AccessUnit {
	tb.Helper()
	return ivfUnits(clip(tb, "-f lavfi -i testsrc2=size=1280x720:rate=30 -frames:v 30 -pix_fmt yuv420p "+realtimeVP9))
}

func av1Clip(tb testing.TB) []media.AccessUnit {
	tb.Helper()
	return ivfUnits(clip(tb, "-f lavfi -i testsrc2=size=1280x720:rate=30 -frames:v 30 -pix_fmt yuv420p "+realtimeAV1))
}

// ivfUnits gives the frames of an IVF file. Encoders put AV1's sequence headers before key frames and nowhere else.
func ivfUnits(ivf []byte) (units []media.AccessUnit) {
	codec := map[string]media.Codec{"VP80": media.VP8, "VP90": media.VP9, "AV01": media.AV1}[string(ivf[8:12])]
	for b := ivf[32:]; len(b) >= 12; {
		size := binary.LittleEndian.Uint32(b)
		data := b[12 : 12+size]
		key := map[media.Codec]bool{media.VP8: data[0]&1 == 0, media.VP9: data[0]&0xec == 0x80, media.AV1: data[2] == 0x0a}[codec]
		units = append(units, media.AccessUnit{Codec: codec, Data: data, Key: key})
		b = b[12+size:]
	}
	return units
}

// annexBUnits splits H.264 at access unit delimiters.
func annexBUnits(stream []byte) (units []media.AccessUnit) {
	for _, data := range splitAt(stream, []byte{0, 0, 0, 1, 9}) {
		key := false
		for _, n := range nals(data) {
			key = key || n[0]&0x1f == 5
		}
		units = append(units, media.AccessUnit{Codec: media.H264, Data: data, Key: key})
	}
	return units
}

// hevcUnits does the same for H.265.
func hevcUnits(stream []byte) (units []media.AccessUnit) {
	for _, data := range splitAt(stream, []byte{0, 0, 0, 1, 35 << 1}) {
		key := false
		for _, n := range nals(data) {
			key = key || n[0]>>1 >= 16 && n[0]>>1 <= 21
		}
		units = append(units, media.AccessUnit{Codec: media.H265, Data: data, Key: key})
	}
	return units
}

func splitAt(stream, delimiter []byte) (parts [][]byte) {
	for len(stream) > 0 {
		end := len(stream)
		if i := bytes.Index(stream[len(delimiter):], delimiter); i >= 0 {
			end = i + len(delimiter)
		}
		parts = append(parts, stream[:end])
		stream = stream[end:]
	}
	return parts
}

// nals gives the NAL units of an access unit without their start codes.
func nals(unit []byte) (out [][]byte) {
	for _, part := range bytes.Split(unit, []byte{0, 0, 1}) {
		if part = bytes.TrimRight(part, "\x00"); len(part) > 0 {
			out = append(out, part)
		}
	}
	return out
}

func joinNALs(parts [][]byte) (unit []byte) {
	for _, p := range parts {
		unit = append(append(unit, 0, 0, 0, 1), p...)
	}
	return unit
}

func writeFile(tb testing.TB, name string, data []byte) {
	tb.Helper()
	if err := os.WriteFile(name, data, 0o600); err != nil {
		tb.Fatal(err)
	}
}
