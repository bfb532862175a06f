package clip

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sluice-dev/sluice/pkg/media"
)

// ivf builds an IVF file of the fourcc with the frames, 30 a second.
func ivf(fourcc string, frames ...string) []byte { return ivfTicks(fourcc, 30, 1, frames...) }

// ivfTicks builds an IVF file whose header tells so many ticks a second and whose frames are step ticks apart.
func ivfTicks(fourcc string, perSecond uint32, step int, frames ...string) []byte {
	b := binary.LittleEndian.AppendUint16([]byte("DKIF\x00\x00"), 32)
	b = append(b, fourcc...)
	b = binary.LittleEndian.AppendUint16(b, 640)
	b = binary.LittleEndian.AppendUint16(b, 360)
	b = binary.LittleEndian.AppendUint32(b, perSecond)
	b = binary.LittleEndian.AppendUint32(b, 1)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(frames)))
	b = binary.LittleEndian.AppendUint32(b, 0)
	for i, f := range frames {
		b = binary.LittleEndian.AppendUint32(b, uint32(len(f)))
		b = binary.LittleEndian.AppendUint64(b, uint64(i*step))
		b = append(b, f...)
	}
	return b
}

func TestReadIVF(t *testing.T) {
	t.Parallel()
	c, err := ReadIVF(bytes.NewReader(ivf("VP80", "one", "second")))
	if err != nil {
		t.Fatal(err)
	}
	if c.Codec != media.VP8 || c.Rate != 30 || len(c.Units) != 2 || string(c.Units[1]) != "second" {
		t.Errorf("read %+v", c)
	}
	for fourcc, want := range map[string]media.Codec{"VP90": media.VP9, "AV01": media.AV1} {
		if c, err := ReadIVF(bytes.NewReader(ivf(fourcc, "one"))); err != nil || c.Codec != want {
			t.Errorf("%s: read %+v, %v", fourcc, c, err)
		}
	}
	for name, c := range map[string]struct {
		data []byte
		want string
	}{
		"another codec": {ivf("H264", "x"), `"H264"`},
		"no frame":      {ivf("VP80"), "no VP8 picture"},
		"cut off":       {ivf("VP80", "one", "second")[:60], "frame 2"},
	} {
		if _, err := ReadIVF(bytes.NewReader(c.data)); !errors.Is(err, ErrUnreadable) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want ErrUnreadable saying %q", name, err, c.want)
		}
	}
}

func TestRateIsThatOfTheFrames(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		file []byte
		want float64
	}{
		"a tick a frame":            {ivfTicks("VP80", 30, 1, "a", "b", "c"), 30},
		"copied out of WebM":        {ivfTicks("VP80", 1000, 40, "a", "b", "c"), 25},
		"one frame does not tell":   {ivfTicks("VP80", 1000, 40, "a"), 0},
		"all at once does not tell": {ivfTicks("VP80", 1000, 0, "a", "b"), 0},
		"backwards":                 {ivfTicks("VP80", 30, -1, "a", "b"), 0},
		"a thousand a second":       {ivfTicks("VP80", 1000, 1, "a", "b"), 0},
	} {
		got, err := ReadIVF(bytes.NewReader(c.file))
		if err != nil {
			t.Fatal(err)
		}
		if got.Rate != c.want {
			t.Errorf("%s: %g frames a second, want %g", name, got.Rate, c.want)
		}
	}
}

func TestReadH264KeepsSlicesTogether(t *testing.T) {
	t.Parallel()
	nal := func(b ...byte) string { return "\x00\x00\x00\x01" + string(b) }
	sps, pps := nal(0x67, 1, 2), nal(0x68, 3)
	idr1, idr2 := nal(0x65, 0x80, 1), nal(0x65, 0x40, 2) // first_mb_in_slice 0, then 1
	p1, p2 := nal(0x41, 0x80, 3), nal(0x41, 0x40, 4)
	sei, aud := nal(0x06, 5), nal(0x09, 0x10)
	for name, c := range map[string]struct {
		stream string
		want   []string
	}{
		"single slices":         {sps + pps + idr1 + p1, []string{sps + pps + idr1, p1}},
		"two slices a picture":  {sps + pps + idr1 + idr2 + p1 + p2, []string{sps + pps + idr1 + idr2, p1 + p2}},
		"delimiters":            {aud + sps + pps + idr1 + aud + p1, []string{aud + sps + pps + idr1, aud + p1}},
		"SEI before a picture":  {idr1 + sei + p1, []string{idr1, sei + p1}},
		"ends without a slice":  {idr1 + sei, []string{idr1}},
		"parameter sets repeat": {sps + pps + idr1 + sps + pps + idr1, []string{sps + pps + idr1, sps + pps + idr1}},
	} {
		got, err := ReadH264(strings.NewReader(c.stream))
		checkUnits(t, name, got, err, media.H264, c.want)
	}
}

func TestReadH265KeepsSlicesTogether(t *testing.T) {
	t.Parallel()
	nal := func(kind byte, b ...byte) string {
		return "\x00\x00\x00\x01" + string([]byte{kind << 1, 1}) + string(b)
	}
	sets := nal(32, 1) + nal(33, 2) + nal(34, 3)
	idr1, idr2 := nal(19, 0x80, 1), nal(19, 0x40, 2) // first_slice_segment_in_pic_flag
	p1, p2 := nal(1, 0x80, 3), nal(1, 0x40, 4)
	aud, prefix, suffix, end := nal(35, 0x50), nal(39, 5), nal(40, 6), nal(36)
	upper := "\x00\x00\x00\x01\x02\x09\x80" // the same picture's second layer
	for name, c := range map[string]struct {
		stream string
		want   []string
	}{
		"single slices":          {sets + idr1 + p1, []string{sets + idr1, p1}},
		"two slices a picture":   {sets + idr1 + idr2 + p1 + p2, []string{sets + idr1 + idr2, p1 + p2}},
		"delimiters":             {aud + sets + idr1 + aud + p1, []string{aud + sets + idr1, aud + p1}},
		"SEI before and after":   {idr1 + suffix + prefix + p1, []string{idr1 + suffix, prefix + p1}},
		"the end of a sequence":  {idr1 + end + idr1, []string{idr1 + end, idr1}},
		"two layers":             {idr1 + upper + p1 + upper, []string{idr1 + upper, p1 + upper}},
		"ends without a slice":   {idr1 + prefix, []string{idr1}},
		"parameter sets repeat":  {sets + idr1 + sets + idr1, []string{sets + idr1, sets + idr1}},
		"nothing but parameters": {sets, nil},
	} {
		got, err := ReadH265(strings.NewReader(c.stream))
		if c.want == nil {
			if !errors.Is(err, ErrUnreadable) {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		checkUnits(t, name, got, err, media.H265, c.want)
	}
}

func checkUnits(t *testing.T, name string, got *Clip, err error, codec media.Codec, want []string) {
	t.Helper()
	if err != nil {
		t.Errorf("%s: %v", name, err)
		return
	}
	if got.Codec != codec || len(got.Units) != len(want) {
		t.Errorf("%s: %d units of %v, want %d of %v", name, len(got.Units), got.Codec, len(want), codec)
		return
	}
	for i := range want {
		if string(got.Units[i]) != want[i] {
			t.Errorf("%s: unit %d is %x, want %x", name, i, got.Units[i], want[i])
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	short := filepath.Join(t.TempDir(), "short.ivf")
	noise := filepath.Join(t.TempDir(), "noise.mp4")
	for file, text := range map[string]string{short: "DKI", noise: "this is no film at all"} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(t.Context(), file); !errors.Is(err, ErrUnreadable) || !strings.Contains(err.Error(), file) {
			t.Errorf("%s: %v, want ErrUnreadable naming the file", text, err)
		}
	}
	if _, err := Open(t.Context(), "/nowhere.ivf"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
}

func TestOpenTranscodes(t *testing.T) {
	t.Parallel()
	// One second of uncompressed film: the smallest thing that only ffmpeg reads.
	film := []byte("YUV4MPEG2 W32 H32 F30:1 Ip A1:1 C420jpeg\n")
	for range 30 {
		film = append(append(film, "FRAME\n"...), bytes.Repeat([]byte{128}, 32*32*3/2)...)
	}
	file := filepath.Join(t.TempDir(), "film.y4m")
	if err := os.WriteFile(file, film, 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := Open(t.Context(), file)
	if err != nil {
		t.Fatal(err)
	}
	if c.Codec != media.VP8 || len(c.Units) != 30 || c.Rate != 30 {
		t.Errorf("%d units of %s at %g a second, want 30 of VP8 at 30", len(c.Units), c.Codec, c.Rate)
	}
}

// TestOpenReadsH265 opens what libx265 made.
func TestOpenReadsH265(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "film.hevc")
	command := exec.Command("ffmpeg", "-nostdin", "-hide_banner", "-loglevel", "error", "-f", "lavfi", "-i", "testsrc2=size=320x180:rate=30", "-frames:v", "30",
		"-pix_fmt", "yuv420p", "-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "log-level=none:slices=2:bframes=2", file)
	if words, err := command.CombinedOutput(); err != nil {
		t.Fatalf("ffmpeg with libx265 (is it installed?): %v\n%s", err, words)
	}
	c, err := Open(t.Context(), file)
	if err != nil {
		t.Fatal(err)
	}
	if c.Codec != media.H265 || len(c.Units) != 30 {
		t.Errorf("%d units of %v, want 30 of H265", len(c.Units), c.Codec)
	}
}

func FuzzReadH265(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x01\x26\x01\x80\x01"))
	f.Add([]byte("\x00\x00\x01\x26"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := ReadH265(bytes.NewReader(data))
		if err == nil && len(c.Units) == 0 {
			t.Error("neither a unit nor an error")
		}
	})
}

func FuzzReadH264(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x01\x65\x80\x01"))
	f.Add([]byte("\x00\x00\x01\x65"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := ReadH264(bytes.NewReader(data))
		if err == nil && len(c.Units) == 0 {
			t.Error("neither a unit nor an error")
		}
	})
}
