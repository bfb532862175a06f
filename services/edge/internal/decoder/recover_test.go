package decoder_test

import (
	"errors"
	"fmt"
	"math"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/services/edge/internal/decoder"
)

// voice gives seconds of what a speech codec takes for speech: a buzz with three formants whose pitch and loudness move, at 48 kHz.
func voice(seconds float64) []int16 {
	const rate = 48000
	out := make([]int16, int(seconds*rate))
	phase := 0.0
	for i := range out {
		t := float64(i) / rate
		pitch := 120 + 40*math.Sin(2*math.Pi*0.7*t) + 15*math.Sin(2*math.Pi*2.3*t)
		phase += 2 * math.Pi * pitch / rate
		first, second := 500+250*math.Sin(2*math.Pi*1.9*t), 1500+500*math.Sin(2*math.Pi*1.3*t+1)
		sum := 0.0
		for h := 1; float64(h)*pitch < 3500; h++ {
			f := float64(h) * pitch
			formant := func(at, width float64) float64 { return 1 / (1 + (f-at)*(f-at)/(width*width)) }
			sum += math.Sin(float64(h)*phase) * (formant(first, 90) + 0.5*formant(second, 120) + 0.2*formant(2700, 200))
		}
		out[i] = int16(3500 * (0.6 + 0.4*math.Sin(2*math.Pi*3.1*t)) * sum)
	}
	return out
}

// difference gives the energy of a-b as a part of that of b, in dB.
func difference(a, b []int16) float64 {
	var signal, noise float64
	for i, v := range b {
		signal += float64(v) * float64(v)
		noise += (float64(a[i]) - float64(v)) * (float64(a[i]) - float64(v))
	}
	return 10 * math.Log10(max(noise, 1e-9)/max(signal, 1e-9))
}

// repeats tells whether a packet of one SILK or hybrid frame holds the one before it as well (RFC 6716 section 4.2.3).
func repeats(data []byte) bool { return data[0]&0x80 == 0 && data[1]&0x40 != 0 }

// TestRecoveryUsesTheNextPacket loses packets of speech, one at a time. libopus repeats each in the next one, when told that packets get lost;
// what is recovered must be much closer to what was lost than what is invented.
func TestRecoveryUsesTheNextPacket(t *testing.T) {
	for _, rate := range []int{16000, 44100} {
		t.Run(fmt.Sprintf("%d Hz", rate), func(t *testing.T) {
			packets := opusPackets(t, voice(3), "20", "-application voip -b:a 24k -fec 1 -packet_loss 10")
			samples := rate / 50
			play := func(op decoder.SoundOp) []int16 {
				d := open(t, nil)
				var out []int16
				for i, p := range packets {
					r := decoder.SoundRequest{Stream: 1, Codec: media.Opus, Op: decoder.Decode, Data: p.data, Rate: rate, Samples: samples}
					if op != decoder.Decode && i%5 == 4 && i+1 < len(packets) {
						if r.Op, r.Data = op, nil; op == decoder.Recover {
							r.Data = packets[i+1].data
						}
					}
					out = step(t, d, r, out)
				}
				return out
			}
			whole, recovered, concealed := play(decoder.Decode), play(decoder.Recover), play(decoder.Conceal)
			var better, lost int
			var gain float64
			for i := 29; i+1 < len(packets)-1; i += 5 {
				if !repeats(packets[i+1].data) {
					continue // libopus saw no speech in it that would be worth the bits
				}
				from, to := i*samples, (i+1)*samples
				r, c := difference(recovered[from:to], whole[from:to]), difference(concealed[from:to], whole[from:to])
				lost++
				if gain += c - r; r < c {
					better++
				}
			}
			t.Logf("%d of %d recovered packets are closer to the truth, by %.1f dB on average", better, lost, gain/float64(lost))
			if lost < 12 || better < lost || gain < 10*float64(lost) {
				t.Errorf("%d of %d recovered packets are closer to the truth, by %.1f dB on average; want all of at least 12, and 10 dB", better, lost, gain/float64(lost))
			}
			if len(concealed) != len(whole) || len(recovered) != len(whole) {
				t.Error("the sound with losses is not as long as that without")
			}
		})
	}
}

// TestConcealmentOfWhatNothingIsKnownOf continues each codec through gaps of odd lengths, with exact numbers of samples, and ends in silence, or Opus
// in a hum.
func TestConcealmentOfWhatNothingIsKnownOf(t *testing.T) {
	sound := tone{seconds: 1, top: 500}
	for codec, p := range map[media.Codec][]packet{
		media.Opus: opusPackets(t, sound.samples(48000), "20", "-b:a 64k"),
		media.PCMU: plainPackets(t, sound.samples(8000), 8000, 8000, "-f mulaw"),
		media.G722: plainPackets(t, sound.samples(16000), 16000, 8000, "-c:a g722 -f g722"),
	} {
		for _, rate := range []int{16000, 44100} {
			t.Run(fmt.Sprintf("%v to %d Hz", codec, rate), func(t *testing.T) {
				d := open(t, nil)
				r := decoder.SoundRequest{Stream: 1, Codec: codec, Rate: rate}
				out := play(t, d, p[:20], r)
				r.Op = decoder.Conceal
				for _, r.Samples = range []int{1, 7, 313, 320, rate / 10, rate} {
					out = step(t, d, r, out)
				}
				if end := loudest(out[len(out)-rate/50:]); codec != media.Opus && end > 1 || end > 4000 {
					t.Errorf("at the end of a gap of more than a second the loudest sample is %d", end)
				}
				// And on, though nothing is known of what to recover from an empty packet.
				r.Op, r.Samples, r.Data = decoder.Recover, rate/50, p[20].data
				out = step(t, d, r, out)
				r.Op = decoder.Decode
				for _, r.Data = range [][]byte{p[20].data, p[21].data, p[22].data} {
					out = step(t, d, r, out)
				}
				if loudest(out[len(out)-rate/50:]) < 8000 {
					t.Errorf("after the gap the loudest sample is %d", loudest(out[len(out)-rate/50:]))
				}
			})
		}
	}
}

func loudest(samples []int16) (most int) {
	for _, v := range samples {
		most = max(most, int(v), -int(v))
	}
	return most
}

// TestSoundAfterACrash kills the process between two packets: the next step says so, and the one after is as good as new.
func TestSoundAfterACrash(t *testing.T) {
	d := open(t, nil)
	packets := opusPackets(t, tone{seconds: 1, top: 500}.samples(48000), "20", "-b:a 64k")
	r := decoder.SoundRequest{Stream: 1, Codec: media.Opus, Op: decoder.Decode, Data: packets[10].data, Rate: 16000, Samples: 320}
	out := step(t, d, r, nil)
	if err := unix.Kill(d.PID(), unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	again, err := d.DecodeSound(t.Context(), r, out)
	var e *decoder.Error
	if !errors.As(err, &e) || e.Code != media.DecoderError || !e.Crashed || len(again) != len(out) {
		t.Fatalf("after a crash: %v with %d more samples, want DECODER, a crash and none", err, len(again)-len(out))
	}
	for _, p := range packets[11:15] {
		r.Data = p.data
		out = step(t, d, r, out)
	}
	if loudest(out[len(out)-320:]) < 8000 {
		t.Error("there is no sound after the crash")
	}
}
