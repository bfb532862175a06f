package decoder_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"testing"

	"github.com/pion/webrtc/v4/pkg/media/oggreader"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/services/edge/internal/decoder"
)

// sweep gives seconds of a tone that rises from 100 Hz to top, half of full scale, as 16-bit samples.
func sweep(rate int, seconds, top float64) []int16 {
	out := make([]int16, int(float64(rate)*seconds))
	for i := range out {
		t := float64(i) / float64(rate)
		out[i] = int16(math.Round(16000 * math.Sin(2*math.Pi*(100*t+(top-100)*t*t/(2*seconds)))))
	}
	return out
}

// bytesOf gives samples as PCMS16 of the given number of channels, all alike.
func bytesOf(samples []int16, channels int) (out []byte) {
	for _, v := range samples {
		for range channels {
			out = binary.LittleEndian.AppendUint16(out, uint16(v))
		}
	}
	return out
}

// encodeSound gives the packets that ffmpeg makes of samples. arguments choose the encoder.
func encodeSound(tb testing.TB, samples []int16, rate int, arguments string) (packets [][]byte) {
	tb.Helper()
	name := tb.TempDir() + "/sound"
	writeFile(tb, name, bytesOf(samples, 1))
	file := ffmpeg(tb, fmt.Sprintf("-f s16le -ar %d -ac 1 -i %s %s -page_duration 1 -f ogg -", rate, name, arguments))
	reader, _, err := oggreader.NewWith(bytes.NewReader(file))
	if err != nil {
		tb.Fatal(err)
	}
	for {
		packet, _, err := reader.ParseNextPage()
		if errors.Is(err, io.EOF) {
			return packets
		}
		if err != nil {
			tb.Fatal(err)
		}
		if !bytes.HasPrefix(packet, []byte("OpusTags")) {
			packets = append(packets, bytes.Clone(packet))
		}
	}
}

// step takes one step that must succeed and checks that exactly the samples asked for were appended.
func step(tb testing.TB, d *decoder.Decoder, r decoder.SoundRequest, dst []int16) []int16 {
	tb.Helper()
	out, err := d.DecodeSound(context.Background(), r, dst)
	if err != nil {
		tb.Fatal(err)
	}
	if len(out) != len(dst)+r.Samples {
		tb.Fatalf("%d samples came, %d were asked for", len(out)-len(dst), r.Samples)
	}
	return out
}

// fidelity gives the signal-to-noise ratio of got against want in dB at the lag, at most the given number of samples, where it is best.
func fidelity(got, want []int16, most int) (best float64, lag int) {
	best = math.Inf(-1)
	for l := range most + 1 {
		var signal, noise float64
		for i := 0; i+l < len(got) && i < len(want); i++ {
			w, d := float64(want[i]), float64(got[i+l])-float64(want[i])
			signal, noise = signal+w*w, noise+d*d
		}
		if snr := 10 * math.Log10(signal/max(noise, 1e-9)); snr > best {
			best, lag = snr, l
		}
	}
	return best, lag
}

func TestSoundOfRealEncoders(t *testing.T) {
	const seconds = 2
	for _, c := range []struct {
		name      string
		codec     media.Codec
		source    int // Hz
		top       float64
		arguments string
		ticks     int // of the packet, in ms
		rate      int
		snr       float64
	}{
		{"Opus to 16 kHz", media.Opus, 48000, 6000, "-c:a libopus -b:a 128k -frame_duration 20", 20, 16000, 20},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := open(t, nil)
			packets := encodeSound(t, sweep(c.source, seconds, c.top), c.source, c.arguments)
			var got []int16
			for _, p := range packets {
				got = step(t, d, decoder.SoundRequest{Stream: 1, Codec: c.codec, Op: decoder.Decode, Data: p, Rate: c.rate, Samples: c.rate * c.ticks / 1000}, got)
			}
			snr, lag := fidelity(got, sweep(c.rate, seconds, c.top), c.rate/20)
			t.Logf("%d packets, SNR %.1f dB at a lag of %d samples", len(packets), snr, lag)
			if snr < c.snr {
				t.Errorf("SNR %.1f dB, want %.1f", snr, c.snr)
			}
		})
	}
}
