package sound

import (
	"bytes"
	"errors"
	"testing"

	"github.com/sluice-dev/sluice/pkg/media"
)

func TestTicks(t *testing.T) {
	t.Parallel()
	opus := Format{Codec: media.Opus, Clock: 48000}
	const code3, vbr, padded = 3, 0x80, 0x40
	for _, c := range []struct {
		name    string
		format  Format
		payload []byte
		want    int64 // 0 means ErrMalformed
	}{
		{"SILK of 10 ms", opus, []byte{0 << 3}, 480},
		{"SILK of 20 ms", opus, []byte{9<<3 | 4, 1, 2}, 960},
		{"SILK of 40 ms", opus, []byte{6 << 3}, 1920},
		{"SILK of 60 ms", opus, []byte{11 << 3}, 2880},
		{"hybrid of 10 ms", opus, []byte{12 << 3}, 480},
		{"hybrid of 20 ms", opus, []byte{15 << 3}, 960},
		{"CELT of 2.5 ms", opus, []byte{16 << 3}, 120},
		{"CELT of 5 ms", opus, []byte{21 << 3}, 240},
		{"CELT of 10 ms", opus, []byte{26 << 3}, 480},
		{"CELT of 20 ms", opus, []byte{31 << 3}, 960},
		{"two equal frames", opus, []byte{31<<3 | 1, 1, 1}, 1920},
		{"two unequal frames of 60 ms", opus, []byte{3<<3 | 2, 0}, 5760},
		{"three frames", opus, []byte{1<<3 | code3, 3}, 2880},
		{"48 frames", opus, []byte{16<<3 | code3, 48 | vbr | padded}, 5760},
		{"no frames", opus, []byte{code3, 0}, 0},
		{"too many frames", opus, []byte{16<<3 | code3, 49}, 0},
		{"more than 120 ms", opus, []byte{3<<3 | code3, 3}, 0},
		{"no frame count", opus, []byte{code3}, 0},
		{"no bytes", opus, nil, 0},
		{"mu-law", Format{Codec: media.PCMU, Clock: 8000}, make([]byte, 160), 160},
		{"A-law of two channels", Format{Codec: media.PCMA, Clock: 8000, Channels: 2}, make([]byte, 160), 80},
		{"half an A-law sample", Format{Codec: media.PCMA, Clock: 8000, Channels: 2}, make([]byte, 3), 0},
		{"mu-law of 200 ms", Format{Codec: media.PCMU, Clock: 8000}, make([]byte, 1600), 1600},
		{"mu-law beyond", Format{Codec: media.PCMU, Clock: 8000}, make([]byte, 1601), 0},
		{"empty mu-law", Format{Codec: media.PCMU, Clock: 8000}, nil, 0},
		{"G.722 of 20 ms", Format{Codec: media.G722, Clock: 8000, Channels: 1}, make([]byte, 160), 160},
		{"raw", Format{Codec: media.PCMS16, Clock: 16000}, make([]byte, 20000), 10000},
		{"raw floats", Format{Codec: media.PCMF32, Clock: 44100, Channels: 2}, make([]byte, 80), 10},
		{"part of a float", Format{Codec: media.PCMF32, Clock: 44100, Channels: 2}, make([]byte, 84), 0},
	} {
		got, err := c.format.Ticks(c.payload)
		if got != c.want || (err != nil) != (c.want == 0) || err != nil && !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %d ticks, %v; want %d", c.name, got, err, c.want)
		}
	}
	if _, err := (Format{Codec: media.VP8, Clock: 90000}).Ticks([]byte{1}); !errors.Is(err, ErrUnsupported) {
		t.Errorf("a picture: %v", err)
	}
}

func FuzzTicks(f *testing.F) {
	f.Add([]byte{15 << 3})
	f.Add([]byte{16<<3 | 3, 48})
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, payload []byte) {
		for codec := media.Opus; codec <= media.PCMF32; codec++ {
			clock := 8000
			if codec == media.Opus {
				clock = 48000
			}
			n, err := Format{Codec: codec, Clock: clock}.Ticks(payload)
			longest := int64(len(payload))
			switch {
			case codec == media.Opus:
				longest = 5760
			case codec <= media.G722:
				longest = min(longest, 1600)
			}
			if err == nil && (n < 1 || n > longest) || err != nil && n != 0 {
				t.Fatalf("%v: %d ticks, %v", codec, n, err)
			}
		}
	})
}

func TestSamples(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		ticks       int64
		clock, rate int
		want        int64
	}{
		{0, 48000, 16000, 0}, {2, 48000, 16000, 0}, {3, 48000, 16000, 1}, {960, 48000, 44100, 882}, {959, 48000, 44100, 881},
		{160, 8000, 16000, 320}, {1, 8000, 44100, 5}, {1 << 61, 1, 1, 1 << 61}, {1 << 59, 48000, 16000, 1 << 59 / 3},
	} {
		if got := Samples(c.ticks, c.clock, c.rate); got != c.want {
			t.Errorf("%d ticks of %d Hz are %d samples at %d Hz, want %d", c.ticks, c.clock, got, c.rate, c.want)
		}
	}
}

func TestParseWAV(t *testing.T) {
	t.Parallel()
	guid := []byte("\x00\x00\x00\x00\x10\x00\x80\x00\x00\xaa\x00\x38\x9b\x71")
	extension := func(tag byte) []byte { return append([]byte{22, 0, 16, 0, 3, 0, 0, 0, tag, 0}, guid...) }
	for _, c := range []struct {
		name string
		file []byte
		want Raw
		err  error
	}{
		{"16 bits", wav(1, 1, 16000, 16, nil, 4, 1, 2, 3, 4), raw(media.PCMS16, 16000, 1, 1, 2, 3, 4), nil},
		{"floats of two channels", wav(3, 2, 44100, 32, nil, 8, 1, 2, 3, 4, 5, 6, 7, 8), raw(media.PCMF32, 44100, 2, 1, 2, 3, 4, 5, 6, 7, 8), nil},
		{"8 bits", wav(1, 1, 8000, 8, nil, 3, 0x80, 0, 0xff), raw(media.PCMS16, 8000, 1, 0, 0, 0, 0x80, 0, 0x7f), nil},
		{"24 bits", wav(1, 1, 48000, 24, nil, 6, 9, 1, 2, 9, 3, 4), raw(media.PCMS16, 48000, 1, 1, 2, 3, 4), nil},
		{"32 bits", wav(1, 1, 48000, 32, nil, 4, 9, 9, 1, 2), raw(media.PCMS16, 48000, 1, 1, 2), nil},
		{"extensible", wav(0xfffe, 1, 16000, 16, extension(1), 2, 1, 2), raw(media.PCMS16, 16000, 1, 1, 2), nil},
		{"extensible floats", wav(0xfffe, 1, 16000, 32, extension(3), 4, 1, 2, 3, 4), raw(media.PCMF32, 16000, 1, 1, 2, 3, 4), nil},
		{"from a pipe", wav(1, 1, 16000, 16, nil, 0xffffffff, 1, 2, 3, 4, 5), raw(media.PCMS16, 16000, 1, 1, 2, 3, 4), nil},
		{"with a chunk before", with("LIST", 3, []byte{7, 7, 7, 0}), raw(media.PCMS16, 16000, 1, 1, 2), nil},
		{"cut off", wav(1, 1, 16000, 16, nil, 8, 1, 2, 3, 4), Raw{}, ErrMalformed},
		{"a chunk beyond the end", with("LIST", 400, []byte{7}), Raw{}, ErrMalformed},
		{"no samples", wav(1, 1, 16000, 16, nil, 0), Raw{}, ErrMalformed},
		{"frames of another size", wav(1, 1, 16000, 12, nil, 2, 1, 2), Raw{}, ErrUnsupported},
		{"A-law", wav(6, 1, 8000, 8, nil, 2, 1, 2), Raw{}, ErrUnsupported},
		{"doubles", wav(3, 1, 8000, 64, nil, 8, 1, 2, 3, 4, 5, 6, 7, 8), Raw{}, ErrUnsupported},
		{"no channels", wav(1, 0, 8000, 16, nil, 2, 1, 2), Raw{}, ErrUnsupported},
		{"nine channels", wav(1, 9, 8000, 8, nil, 9, make([]byte, 9)...), Raw{}, ErrUnsupported},
		{"too slow", wav(1, 1, 3999, 16, nil, 2, 1, 2), Raw{}, ErrUnsupported},
		{"too fast", wav(1, 1, 192001, 16, nil, 2, 1, 2), Raw{}, ErrUnsupported},
		{"extensible without the rest", wav(0xfffe, 1, 16000, 16, nil, 2, 1, 2), Raw{}, ErrUnsupported},
		{"not a WAVE", []byte("RIFF....WEBPVP8 "), Raw{}, ErrMalformed},
		{"nothing more", []byte("RIFF....WAVE"), Raw{}, ErrMalformed},
		{"no format", []byte("RIFF....WAVEdata\x02\x00\x00\x00ab"), Raw{}, ErrMalformed},
		{"a short format", []byte("RIFF....WAVEfmt \x02\x00\x00\x00ab"), Raw{}, ErrMalformed},
	} {
		got, err := ParseWAV(c.file)
		if !errors.Is(err, c.err) || got.Format != c.want.Format || !bytes.Equal(got.Data, c.want.Data) {
			t.Errorf("%s: %+v, %v", c.name, got, err)
		}
	}
}

func FuzzParseWAV(f *testing.F) {
	f.Add(wav(1, 1, 16000, 16, nil, 4, 1, 2, 3, 4))
	f.Add(wav(3, 2, 44100, 32, nil, 8, 1, 2, 3, 4, 5, 6, 7, 8))
	f.Add(wav(1, 1, 8000, 8, nil, 3, 0x80, 0, 0xff))
	f.Add(wav(1, 1, 48000, 24, nil, 0xffffffff, 9, 1, 2, 9, 3, 4))
	f.Add(with("LIST", 3, []byte{7, 7, 7, 0}))
	f.Add([]byte("RIFF....WAVE"))
	f.Fuzz(func(t *testing.T, file []byte) {
		r, err := ParseWAV(file)
		if err != nil {
			if !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrUnsupported) {
				t.Fatalf("error %v", err)
			}
			return
		}
		if r.Codec != media.PCMS16 && r.Codec != media.PCMF32 || r.Clock < MinSourceRate || r.Clock > MaxSourceRate || r.Channels < 1 || r.Channels > MaxChannels {
			t.Fatalf("format %+v", r.Format)
		}
		if n, err := r.Ticks(r.Data); err != nil || n < 1 || len(r.Data) > 2*len(file) {
			t.Fatalf("%+v: %d ticks in %d bytes of %d, %v", r.Format, n, len(r.Data), len(file), err)
		}
	})
}
