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

// tone is a sound of half of full scale that rises from 100 Hz to top in so many seconds.
type tone struct{ seconds, top float64 }

// at gives the sound at a time in seconds, in units of 16-bit samples.
func (s tone) at(t float64) float64 {
	if t < 0 || t > s.seconds {
		return 0
	}
	return 16000 * math.Sin(2*math.Pi*(100*t+(s.top-100)*t*t/(2*s.seconds)))
}

// samples gives the sound at a rate.
func (s tone) samples(rate int) []int16 {
	out := make([]int16, int(float64(rate)*s.seconds))
	for i := range out {
		out[i] = int16(math.Round(s.at(float64(i) / float64(rate))))
	}
	return out
}

// ratio gives the signal-to-noise ratio in dB of every nth sample of the sound, which lags by a number of samples.
func (s tone) ratio(got []int16, rate int, lag float64, nth int) float64 {
	var signal, noise float64
	for i := 0; i < len(got); i += nth {
		want := s.at((float64(i) - lag) / float64(rate))
		signal, noise = signal+want*want, noise+(float64(got[i])-want)*(float64(got[i])-want)
	}
	return 10 * math.Log10(signal/max(noise, 1e-9))
}

// fidelity finds the lag, at most so many samples, where the signal-to-noise ratio is best. Codecs and filters lag by fractions of samples.
func (s tone) fidelity(got []int16, rate, most int) (best, lag float64) {
	search := func(from, to, step float64, nth int) {
		best = math.Inf(-1)
		for l := max(from, 0); l <= to; l += step {
			if ratio := s.ratio(got, rate, l, nth); ratio > best {
				best, lag = ratio, l
			}
		}
	}
	search(0, float64(most), 1, 53)
	search(lag-1, lag+1, 1.0/8, 7)
	search(lag-1.0/8, lag+1.0/8, 1.0/128, 3)
	return best, lag
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

// encodeOpus gives the packets that libopus makes of samples at 48 kHz.
func encodeOpus(tb testing.TB, samples []int16, options string) (packets [][]byte) {
	tb.Helper()
	name := tb.TempDir() + "/sound"
	writeFile(tb, name, bytesOf(samples, 1))
	file := ffmpeg(tb, fmt.Sprintf("-f s16le -ar 48000 -ac 1 -i %s -c:a libopus %s -page_duration 1 -f ogg -", name, options))
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

// packet is a packet of sound and the span that it covers.
type packet struct {
	data  []byte
	ticks int // of 1/48000 s
}

// opusPackets gives packets of libopus that last ms milliseconds.
func opusPackets(tb testing.TB, samples []int16, ms string, options string) (packets []packet) {
	tb.Helper()
	var ticks float64
	if _, err := fmt.Sscan(ms, &ticks); err != nil {
		tb.Fatal(err)
	}
	for _, data := range encodeOpus(tb, samples, "-frame_duration "+ms+" "+options) {
		packets = append(packets, packet{data, int(ticks * 48)})
	}
	return packets
}

// plainPackets gives packets of 20 ms of what ffmpeg makes of samples without a container.
func plainPackets(tb testing.TB, samples []int16, rate, bytesPerSecond int, arguments string) (packets []packet) {
	tb.Helper()
	name := tb.TempDir() + "/sound"
	writeFile(tb, name, bytesOf(samples, 1))
	data := ffmpeg(tb, fmt.Sprintf("-f s16le -ar %d -ac 1 -i %s %s -", rate, name, arguments))
	for size := bytesPerSecond / 50; len(data) >= size; data = data[size:] {
		packets = append(packets, packet{data[:size], 960})
	}
	return packets
}

// play decodes packets in their order, as a receiver does: the samples of all steps together are those of the media time so far.
func play(tb testing.TB, d *decoder.Decoder, packets []packet, r decoder.SoundRequest) (samples []int16) {
	tb.Helper()
	total := 0
	for _, p := range packets {
		total += p.ticks
		r.Op, r.Data, r.Samples = decoder.Decode, p.data, total*r.Rate/48000-len(samples)
		samples = step(tb, d, r, samples)
	}
	return samples
}

// TestSoundIsThatOfItsSource decodes what real encoders made of a sweep, at all kinds of rates, and compares it with the sweep at that rate.
func TestSoundIsThatOfItsSource(t *testing.T) {
	sound := tone{seconds: 2, top: 3000}
	wide, narrow, half := sound.samples(48000), sound.samples(8000), sound.samples(16000)
	type source struct {
		codec   media.Codec
		packets []packet
		snr     float64 // dB; of G.711 the law's own, of G.722 and Opus what was measured, less a little
	}
	sources := map[string]source{
		"PCMU": {media.PCMU, plainPackets(t, narrow, 8000, 8000, "-f mulaw"), 38},
		"PCMA": {media.PCMA, plainPackets(t, narrow, 8000, 8000, "-f alaw"), 38},
		"G722": {media.G722, plainPackets(t, half, 16000, 8000, "-c:a g722 -f g722"), 26},
	}
	sources["Opus of two channels"] = source{media.Opus, opusPackets(t, wide, "20", "-af pan=stereo|c0=c0|c1=c0 -b:a 160k"), 38}
	for ms, snr := range map[string]float64{"2.5": 24, "5": 38, "10": 38, "20": 38, "40": 38, "60": 38} {
		sources["Opus of "+ms+" ms"] = source{media.Opus, opusPackets(t, wide, ms, "-b:a 128k"), snr}
	}
	for name, s := range sources {
		d := open(t, nil)
		for _, rate := range []int{8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000} {
			t.Run(fmt.Sprintf("%s to %d Hz", name, rate), func(t *testing.T) {
				got := play(t, d, s.packets, decoder.SoundRequest{Stream: 1, Codec: s.codec, Rate: rate})
				snr, lag := sound.fidelity(got, rate, rate/50)
				t.Logf("%.1f dB at a lag of %.2f samples", snr, lag)
				if snr < s.snr {
					t.Errorf("%.1f dB at a lag of %.2f samples, want at least %.0f dB", snr, lag, s.snr)
				}
			})
		}
	}
}
