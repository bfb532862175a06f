package clip

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sluice-dev/sluice/pkg/media"
)

// ogg builds an Ogg stream whose pages hold the packets; one of 255 bytes or more takes several segments.
func ogg(serial uint32, pages ...[]string) []byte {
	var b []byte
	for n, packets := range pages {
		var lacing, body []byte
		for _, p := range packets {
			for range len(p) / 255 {
				lacing = append(lacing, 255)
			}
			lacing = append(lacing, byte(len(p)%255))
			body = append(body, p...)
		}
		b = append(b, "OggS\x00\x00"...)
		b = binary.LittleEndian.AppendUint64(b, 0)
		b = binary.LittleEndian.AppendUint32(b, serial)
		b = binary.LittleEndian.AppendUint32(b, uint32(n))
		b = append(append(append(b, 0, 0, 0, 0, byte(len(lacing))), lacing...), body...)
	}
	return b
}

const (
	opusHead = "OpusHead\x01\x01\x38\x01\x80\xbb\x00\x00\x00\x00\x00" // one channel, 312 samples to skip
	opusTags = "OpusTags"
)

func TestReadOgg(t *testing.T) {
	t.Parallel()
	long := "\x08" + strings.Repeat("x", 600)
	c, err := ReadOgg(bytes.NewReader(ogg(7, []string{opusHead}, []string{opusTags}, []string{"\x08one", long, "\x08"}, []string{"\x09two"})))
	if err != nil {
		t.Fatal(err)
	}
	// Configuration 1 is 20 ms, and code 1 two frames of it (RFC 6716 section 3.1).
	if c.Codec != media.Opus || c.Sound.Skip != 312 || c.Sound.Channels != 1 || c.Sound.Clock != 48000 || !slices.Equal(c.Sound.Ticks, []int{960, 960, 960, 1920}) {
		t.Errorf("read %+v, %+v", c, c.Sound)
	}
	if len(c.Units) != 4 || string(c.Units[1]) != long || !Silent(c.Units[2]) || Silent(c.Units[0]) {
		t.Errorf("units %q", c.Units)
	}
	whole := ogg(7, []string{opusHead}, []string{opusTags}, []string{"\x08one"})
	for name, c := range map[string]struct {
		data []byte
		want string
	}{
		"Vorbis":          {ogg(7, []string{"\x01vorbis and more of its header"}, []string{"x"}), "no Opus"},
		"nothing":         {nil, "no Opus"},
		"no packets":      {ogg(7, []string{opusHead}, []string{opusTags}), "no Opus sound"},
		"two streams":     {append(bytes.Clone(whole), ogg(8, []string{opusHead})...), "several streams"},
		"cut in a header": {whole[:40], "page"},
		"cut in a packet": {whole[:len(whole)-2], "page 3"},
		"no packet":       {ogg(7, []string{opusHead}, []string{opusTags}, []string{"\x0b"}), "packet 1"},
	} {
		if _, err := ReadOgg(bytes.NewReader(c.data)); !errors.Is(err, ErrUnreadable) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want ErrUnreadable saying %q", name, err, c.want)
		}
	}
}

// wav builds a WAV file.
func wav(format, channels uint16, rate uint32, bits uint16, samples int) []byte {
	b := append([]byte("RIFF\x00\x00\x00\x00WAVELIST\x03\x00\x00\x00odd\x00fmt "), 16, 0, 0, 0)
	b = binary.LittleEndian.AppendUint16(b, format)
	b = binary.LittleEndian.AppendUint16(b, channels)
	b = binary.LittleEndian.AppendUint32(b, rate)
	b = binary.LittleEndian.AppendUint32(b, 0)
	b = binary.LittleEndian.AppendUint16(b, 0)
	b = binary.LittleEndian.AppendUint16(b, bits)
	b = binary.LittleEndian.AppendUint32(append(b, "data"...), 0xffffffff) // as ffmpeg writes to a pipe
	for n := range samples * int(channels) {
		b = binary.LittleEndian.AppendUint16(b, uint16(n))
	}
	return b
}

func TestReadWAV(t *testing.T) {
	t.Parallel()
	c, err := ReadWAV(bytes.NewReader(wav(1, 2, 16000, 16, 1000)))
	if err != nil {
		t.Fatal(err)
	}
	if c.Codec != media.PCMS16 || c.Sound.Clock != 16000 || c.Sound.Channels != 2 || c.Rate != 50 || !slices.Equal(c.Sound.Ticks, []int{320, 320, 320}) || len(c.Units) != 3 {
		t.Errorf("read %+v, %+v", c, c.Sound)
	}
	if second := c.Units[1]; len(second) != 1280 || binary.LittleEndian.Uint16(second) != 640 {
		t.Errorf("the second unit has %d bytes and begins with sample %d", len(second), binary.LittleEndian.Uint16(second))
	}
	for name, c := range map[string]struct {
		data []byte
		want string
	}{
		"floats":       {wav(3, 1, 16000, 32, 1000), "16-bit"},
		"24 bits":      {wav(1, 1, 16000, 24, 1000), "16-bit"},
		"no channel":   {wav(1, 0, 16000, 16, 1000), "0 channels"},
		"no rate":      {wav(1, 1, 0, 16, 1000), "0 samples"},
		"too short":    {wav(1, 1, 16000, 16, 100), "no PCMS16 sound"},
		"no data":      {wav(1, 1, 16000, 16, 0)[:50], "lacks"},
		"something":    {[]byte("RIFFxxxxAVI LIST"), "no RIFF WAVE"},
		"nothing":      {nil, "no RIFF WAVE"},
		"a stray size": {append([]byte("RIFF\x00\x00\x00\x00WAVEfmt "), 255, 255, 255, 255), "lacks"},
	} {
		if _, err := ReadWAV(bytes.NewReader(c.data)); !errors.Is(err, ErrUnreadable) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want ErrUnreadable saying %q", name, err, c.want)
		}
	}
}

func TestOpenTellsSoundByContent(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		data []byte
		want media.Codec
	}{"voice.opus": {ogg(1, []string{opusHead}, []string{opusTags}, []string{"\x08one"}), media.Opus}, "voice.WAV": {wav(1, 1, 8000, 16, 800), media.PCMS16}} {
		file := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(file, c.data, 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := Open(t.Context(), file); err != nil || got.Codec != c.want {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

// TestOpenSoundThatIsNotTaken tells what to do with sound that only ffmpeg reads.
func TestOpenSoundThatIsNotTaken(t *testing.T) {
	t.Parallel()
	// Sun's format: the length of the header and of the data, 16-bit samples, 8000 a second, one channel.
	au := append([]byte(".snd"), 0, 0, 0, 24, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 3, 0, 0, 0x1f, 0x40, 0, 0, 0, 1)
	file := filepath.Join(t.TempDir(), "voice.au")
	if err := os.WriteFile(file, append(au, make([]byte, 1600)...), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), file); !errors.Is(err, ErrUnreadable) || !strings.Contains(err.Error(), "-c:a libopus") {
		t.Errorf("error %v, want one that tells how to make a file of sound", err)
	}
}

func FuzzReadSound(f *testing.F) {
	f.Add(ogg(7, []string{opusHead}, []string{opusTags}, []string{"\x08one"}))
	f.Add(wav(1, 2, 16000, 16, 1000))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, read := range []func() (*Clip, error){
			func() (*Clip, error) { return ReadOgg(bytes.NewReader(data)) }, func() (*Clip, error) { return ReadWAV(bytes.NewReader(data)) },
		} {
			if c, err := read(); err == nil && (len(c.Units) == 0 || len(c.Units) != len(c.Sound.Ticks)) {
				t.Error("neither units nor an error, or units without a length")
			}
		}
	})
}
