package decoder_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/services/edge/internal/decoder"
)

func floatBytes(samples ...float32) (out []byte) {
	for _, v := range samples {
		out = binary.LittleEndian.AppendUint32(out, math.Float32bits(v))
	}
	return out
}

// TestRawSoundIsExact takes raw sound at the rate wanted: mixing is the average, and nothing else changes.
func TestRawSoundIsExact(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	for _, c := range []struct {
		name     string
		codec    media.Codec
		channels int
		data     []byte
		want     []int16
	}{
		{"integers", media.PCMS16, 1, bytesOf([]int16{0, 1, -1, 32767, -32768}, 1), []int16{0, 1, -1, 32767, -32768}},
		{"two channels", media.PCMS16, 2, bytesOf([]int16{100, 300, -200, 200, 32767, 32767}, 1), []int16{200, 0, 32767}},
		{"eight channels", media.PCMS16, 8, bytesOf([]int16{80, 0, 0, 0, 0, 0, 0, 0}, 1), []int16{10}},
		{"floats", media.PCMF32, 1, floatBytes(0, 0.5, -0.5, 1, -1), []int16{0, 16384, -16384, 32767, -32768}},
		{"floats beyond the scale", media.PCMF32, 1, floatBytes(1.5, -7, 1e30, -1e30), []int16{32767, -32768, 32767, -32768}},
		{"what is no number", media.PCMF32, 1, floatBytes(nan, inf, -inf, 0.25), []int16{0, 0, 0, 8192}},
		{"what is no number beside one", media.PCMF32, 2, floatBytes(nan, 0.5, 0.5, -inf), []int16{8192, 8192}},
		{"fewer than wanted", media.PCMS16, 1, bytesOf([]int16{5}, 1), []int16{5, 0, 0}},
		{"more than wanted", media.PCMS16, 1, bytesOf([]int16{5, 6, 7}, 1), []int16{5}},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := open(t, nil)
			r := decoder.SoundRequest{
				Stream: 1, Codec: c.codec, Op: decoder.Decode, Data: c.data, Rate: 16000, Samples: len(c.want), SourceRate: 16000, Channels: c.channels,
			}
			for range 2 { // the second time nothing may be left of the first
				if got := step(t, d, r, nil); !slices.Equal(got, c.want) {
					t.Errorf("%v, want %v", got, c.want)
				}
			}
		})
	}
}

// TestResamplingKeepsWhatItCanAndNothingElse resamples tones of 44.1 kHz to 16 kHz: those that fit come through, those that do not must not come
// back as others.
func TestResamplingKeepsWhatItCanAndNothingElse(t *testing.T) {
	const source, rate = 44100, 16000
	nothing := math.Inf(-1)
	for _, c := range []struct {
		hertz    float64
		from, to float64 // dB
	}{
		{100, -0.1, 0.1}, {1000, -0.1, 0.1}, {5000, -0.1, 0.1}, {6500, -0.5, 0.1},
		{8100, nothing, -60}, {9000, nothing, -60}, {12000, nothing, -60}, {15990, nothing, -60}, {16000, nothing, -60}, {20000, nothing, -60}, {22000, nothing, -60},
	} {
		t.Run(fmt.Sprintf("%.0f Hz", c.hertz), func(t *testing.T) {
			d := open(t, nil)
			var got []int16
			at, total := 0, 0
			for range 50 {
				run := make([]int16, source/50)
				for i := range run {
					run[i] = int16(math.Round(32000 * math.Sin(2*math.Pi*c.hertz*float64(at)/source)))
					at++
				}
				total += rate / 50
				r := decoder.SoundRequest{Stream: 1, Codec: media.PCMS16, Op: decoder.Decode, Data: bytesOf(run, 1), Rate: rate, Samples: rate / 50, SourceRate: source, Channels: 1}
				got = step(t, d, r, got)
			}
			var energy float64
			for _, v := range got[rate/10:] {
				energy += float64(v) * float64(v)
			}
			level := 10*math.Log10(energy/float64(len(got)-rate/10)) - 10*math.Log10(32000*32000/2)
			if level < c.from || level > c.to {
				t.Errorf("a tone of %.0f Hz comes out at %.2f dB, want %.1f to %.1f", c.hertz, level, c.from, c.to)
			}
		})
	}
}

// TestSoundIsRefusedWithItsReason shows each what it is, and that the process carries on.
func TestSoundIsRefusedWithItsReason(t *testing.T) {
	good := decoder.SoundRequest{Stream: 1, Codec: media.PCMS16, Op: decoder.Decode, Data: make([]byte, 640), Rate: 16000, Samples: 320, SourceRate: 16000, Channels: 1}
	for name, c := range map[string]struct {
		change func(*decoder.SoundRequest)
		want   string
	}{
		"no operation":          {func(r *decoder.SoundRequest) { r.Op = 0 }, "UNSUPPORTED"},
		"unknown operation":     {func(r *decoder.SoundRequest) { r.Op = 9 }, "UNSUPPORTED"},
		"picture":               {func(r *decoder.SoundRequest) { r.Codec = media.VP8 }, "UNSUPPORTED"},
		"no rate":               {func(r *decoder.SoundRequest) { r.Rate = 0 }, "UNSUPPORTED"},
		"negative rate":         {func(r *decoder.SoundRequest) { r.Rate = -16000 }, "UNSUPPORTED"},
		"rate beyond 32 bits":   {func(r *decoder.SoundRequest) { r.Rate = 16000 + 1<<32 }, "UNSUPPORTED"},
		"nothing wanted":        {func(r *decoder.SoundRequest) { r.Samples = 0 }, "UNSUPPORTED"},
		"more than a second":    {func(r *decoder.SoundRequest) { r.Samples = 16001 }, "UNSUPPORTED"},
		"channels beyond 8":     {func(r *decoder.SoundRequest) { r.Channels = 257 }, "UNSUPPORTED"},
		"negative channels":     {func(r *decoder.SoundRequest) { r.Channels = -1 }, "UNSUPPORTED"},
		"half a sample":         {func(r *decoder.SoundRequest) { r.Data = make([]byte, 641) }, "DECODER"},
		"half a frame":          {func(r *decoder.SoundRequest) { r.Channels, r.Data = 4, make([]byte, 644) }, "DECODER"},
		"no samples":            {func(r *decoder.SoundRequest) { r.Data = nil }, "DECODER"},
		"larger than a unit":    {func(r *decoder.SoundRequest) { r.Data = make([]byte, 4<<20+1) }, "TOO_LARGE"},
		"no packet of Opus":     {func(r *decoder.SoundRequest) { *r = opus(*r, nil) }, "DECODER"},
		"a broken one":          {func(r *decoder.SoundRequest) { *r = opus(*r, []byte{0xff, 0xff, 1, 2}) }, "DECODER"},
		"one of 240 ms":         {func(r *decoder.SoundRequest) { *r = opus(*r, append([]byte{0x1f, 0x04}, make([]byte, 400)...)) }, "DECODER"},
		"one beyond all":        {func(r *decoder.SoundRequest) { *r = opus(*r, make([]byte, 1<<16+1)) }, "UNSUPPORTED"},
		"Opus with channels":    {func(r *decoder.SoundRequest) { r.Codec = media.Opus }, "UNSUPPORTED"},
		"recovery of nothing":   {func(r *decoder.SoundRequest) { *r = opus(*r, nil); r.Op = decoder.Recover }, "DECODER"},
		"recovery from a scrap": {func(r *decoder.SoundRequest) { *r = opus(*r, []byte{0xff, 0xff}); r.Op = decoder.Recover }, "DECODER"},
	} {
		t.Run(name, func(t *testing.T) {
			d := open(t, nil)
			if err := d.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
			process, r := d.PID(), good
			c.change(&r)
			given := []int16{1, 2, 3}
			got, err := d.DecodeSound(context.Background(), r, given)
			if reason(err) != c.want || !slices.Equal(got, given) {
				t.Errorf("%v with %d samples, want %s and the three that were there", err, len(got), c.want)
			}
			step(t, d, good, nil)
			if d.PID() != process {
				t.Error("the process was restarted")
			}
		})
	}
}

// opus makes a request of raw sound one of Opus.
func opus(r decoder.SoundRequest, data []byte) decoder.SoundRequest {
	r.Codec, r.Data, r.SourceRate, r.Channels = media.Opus, data, 0, 0
	return r
}

// TestSoundsAreForgotten takes as many streams of sound as there may be, and more after some were forgotten.
func TestSoundsAreForgotten(t *testing.T) {
	d := open(t, nil)
	r := decoder.SoundRequest{Codec: media.PCMU, Op: decoder.Decode, Data: make([]byte, 160), Samples: 160}
	for r.Stream = range 16 {
		for _, r.Rate = range []int{8000, 16000} {
			step(t, d, r, nil)
		}
	}
	r.Stream = 16
	if _, err := d.DecodeSound(context.Background(), r, nil); reason(err) != "OVERLOADED" {
		t.Errorf("a 33rd decoder of sound: %v, want OVERLOADED", err)
	}
	d.Forget(3)
	for _, r.Rate = range []int{8000, 16000} {
		step(t, d, r, nil)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := d.DecodeSound(context.Background(), r, nil); reason(err) != "DRAINING" {
		t.Errorf("after the end: %v, want DRAINING", err)
	}
}

// TestStreamsOfSoundAndPicturesShareADecoder changes codecs, rates and sources in one stream, between pictures of the same number.
func TestStreamsOfSoundAndPicturesShareADecoder(t *testing.T) {
	d := open(t, nil)
	image := unit(media.PNG, encodePNG(t, noise(16, 16)))
	var out []int16
	for i := range 20 {
		pictures, err := decode(d, 1, uint64(i), image, faces)
		if release(pictures) != 1 || err != nil {
			t.Fatalf("picture %d: %v", i, err)
		}
		r := decoder.SoundRequest{Stream: 1, Codec: media.PCMU, Op: decoder.Decode, Data: make([]byte, 160), Rate: 16000, Samples: 320}
		if i%2 == 1 {
			r.Codec, r.SourceRate, r.Channels, r.Data = media.PCMF32, 8000*(1+i%4), 1+i%8, make([]byte, 640*(1+i%8))
		}
		out = step(t, d, r, out)
	}
	d.Forget(1)
}

// soundSeeds gives a packet of each codec.
func soundSeeds(tb testing.TB) map[media.Codec][]byte {
	tb.Helper()
	sound := tone{seconds: 0.1, top: 1000}
	return map[media.Codec][]byte{
		media.Opus:   encodeOpus(tb, voice(0.2), "-application voip -b:a 24k -fec 1 -packet_loss 20 -frame_duration 60")[2],
		media.PCMU:   bytesOf(sound.samples(8000), 1)[:160],
		media.PCMA:   bytesOf(sound.samples(8000), 1)[:160],
		media.G722:   bytesOf(sound.samples(16000), 1)[:160],
		media.PCMS16: bytesOf(sound.samples(16000), 1),
		media.PCMF32: floatBytes(0, 0.5, -1, float32(math.NaN())),
	}
}

// checkHostileSound takes a step of bytes that may be anything.
func checkHostileSound(tb testing.TB, d *decoder.Decoder, codec media.Codec, op decoder.SoundOp, rate int, data []byte) {
	tb.Helper()
	r := decoder.SoundRequest{Stream: 1, Codec: codec, Op: op, Data: data, Rate: rate, Samples: rate / 50}
	if codec == media.PCMS16 || codec == media.PCMF32 {
		r.SourceRate, r.Channels = 4000+len(data)%188001, 1+len(data)%8
	}
	got, err := d.DecodeSound(context.Background(), r, nil)
	if why := reason(err); why != "" && why != "DECODER" && why != "UNSUPPORTED" && why != "TOO_LARGE" || (len(got) == r.Samples) != (err == nil) {
		tb.Fatalf("%d samples, %v", len(got), err)
	}
}

// TestMutatedSound feeds packets with random damage. The process must live on.
func TestMutatedSound(t *testing.T) {
	d, random := open(t, nil), rand.New(rand.NewPCG(3, 4))
	if err := d.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	process, seeds := d.PID(), soundSeeds(t)
	for round := range 500 {
		for codec, data := range seeds {
			checkHostileSound(t, d, codec, decoder.SoundOp(1+round%3), []int{16000, 44100}[round%2], mutate(random, data))
		}
	}
	if d.PID() != process {
		t.Error("the process was restarted")
	}
}

// FuzzSound feeds any bytes as sound of any codec to the sandboxed process.
func FuzzSound(f *testing.F) {
	for codec, data := range soundSeeds(f) {
		for op := range 3 {
			f.Add(uint8(codec-media.Opus), uint8(op), data)
		}
	}
	d, err := decoder.New(decoder.Config{Path: program})
	if err != nil {
		f.Fatal(err)
	}
	defer d.Close()
	f.Fuzz(func(t *testing.T, codec, op uint8, data []byte) {
		checkHostileSound(t, d, media.Opus+media.Codec(codec%6), decoder.SoundOp(1+op%3), []int{16000, 44100}[op%2], data)
		if d.PID() == 0 {
			t.Error("the process ended")
		}
	})
}
