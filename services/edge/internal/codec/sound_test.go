//go:build cgo && linux

package codec_test

import (
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/services/edge/internal/codec"
	"github.com/sluice-dev/sluice/services/edge/internal/ipc"
)

// turn takes a step of raw sound and gives the samples, as they lie in the memory.
func turn(t *testing.T, e *codec.Engine, layout ipc.Layout, memory []byte, r ipc.SoundRequest) []byte {
	t.Helper()
	if err := r.Check(layout); err != nil {
		t.Fatal(err)
	}
	var reply ipc.SoundReply
	if e.Sound(&r, &reply); reply.Status != ipc.OK || reply.Samples != r.Samples {
		t.Fatalf("%+v gave %+v", r, reply)
	}
	return layout.Sound(memory)[:2*r.Samples]
}

// TestAnHourOfSoundDoesNotDrift resamples an hour, a click in each step: the samples wanted are those of the media time, and every click, the last
// as the first, comes out at its own place in it, late by the resampler's delay.
func TestAnHourOfSoundDoesNotDrift(t *testing.T) {
	for _, c := range []struct{ source, rate int }{{8000, 16000}, {44100, 16000}, {44101, 16000}, {16000, 44100}, {7999, 8000}} {
		t.Run(fmt.Sprintf("%d to %d Hz", c.source, c.rate), func(t *testing.T) {
			t.Parallel()
			const steps, click = 36000, 10
			layout := ipc.Layout{Unit: 1 << 20, Slots: 1, SlotBytes: 1}
			e, memory := engine(t, layout, 1)
			length := c.source / 10
			input := layout.Input(memory)
			binary.LittleEndian.PutUint16(input[2*click:], 30000)
			given, lag := 0, -1.0
			for i := range steps {
				wanted := (i+1)*length*c.rate/c.source - given
				samples := turn(t, e, layout, memory, ipc.SoundRequest{
					Op: ipc.DecodeSound, Codec: media.PCMS16, Size: uint32(2 * length), Rate: uint32(c.rate), Samples: uint32(wanted), SourceRate: uint32(c.source), Channels: 1,
				})
				// Where the click is, by its centre of gravity, as its neighbours are a second away.
				var sum, weight float64
				for j := range wanted {
					v := float64(int16(binary.LittleEndian.Uint16(samples[2*j:])))
					sum, weight = sum+v*float64(given+j), weight+v
				}
				at := sum/weight - float64(i*length+click)*float64(c.rate)/float64(c.source)
				if lag < 0 {
					lag = at
				}
				if at < lag-1.5 || at > lag+1.5 || weight < 1000 {
					t.Fatalf("after %d s the lag is %.2f samples, at the beginning it was %.2f", i/10, at, lag)
				}
				given += wanted
			}
			if want := steps * length * c.rate / c.source; given != want {
				t.Errorf("%d samples in an hour, want %d", given, want)
			}
			t.Logf("the lag is %.2f samples", lag)
		})
	}
}
