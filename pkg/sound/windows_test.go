package sound

import (
	"encoding/binary"
	"slices"
	"testing"
	"time"

	"github.com/sluice-dev/sluice/pkg/media"
)

// counting gives samples that count up from n.
func counting(n, count int) []int16 {
	samples := make([]int16, count)
	for i := range samples {
		samples[i] = int16(n + i)
	}
	return samples
}

func decoded(payload []byte) []int16 {
	samples := make([]int16, len(payload)/2)
	for i := range samples {
		samples[i] = int16(binary.LittleEndian.Uint16(payload[2*i:]))
	}
	return samples
}

// taken is a window with its samples.
type taken struct {
	Window
	samples []int16
}

// write writes everything and takes what is full.
func write(w *Windows, samples []int16, p Part) (out []taken) {
	for len(samples) > 0 {
		samples = samples[w.Write(samples, p):]
		out = append(out, takeAll(w)...)
	}
	return out
}

func writeZeros(w *Windows, n int64, p Part) (out []taken) {
	for n > 0 {
		n -= int64(w.WriteZeros(n, p))
		out = append(out, takeAll(w)...)
	}
	return out
}

func takeAll(w *Windows) (out []taken) {
	payload := make([]byte, 2*w.Input().Samples())
	for v, ok := w.Take(payload); ok; v, ok = w.Take(payload) {
		out = append(out, taken{v, decoded(payload)})
	}
	return out
}

func TestWindows(t *testing.T) {
	t.Parallel()
	for _, in := range []media.SoundInput{
		{Rate: 16000, Window: 5, Hop: 5},
		{Rate: 16000, Window: 5, Hop: 5, Context: 3},
		{Rate: 16000, Window: 5, Hop: 2, Context: 7},
		{Rate: 16000, Window: 1, Hop: 1},
		{Rate: 16000, Window: 8, Hop: 7, Context: 1},
	} {
		for _, chunk := range []int{1, 3, 4, 50, 1000} {
			w := NewWindows(in, 100)
			var all []taken
			for n := 1; n <= 1000; n += chunk {
				all = append(all, write(w, counting(n, min(chunk, 1001-n)), Part{Arrival: start})...)
			}
			if want := (1000-in.Window)/in.Hop + 1; len(all) != want {
				t.Errorf("%+v in pieces of %d: %d windows of 1000 samples, want %d", in, chunk, len(all), want)
			}
			for i, v := range all {
				want := counting(1-in.Context+i*in.Hop, in.Samples())
				for j := range want {
					want[j] = max(want[j], 0) // before the beginning
				}
				if v.First != int64(100+i*in.Hop) || !slices.Equal(v.samples, want) {
					t.Fatalf("%+v in pieces of %d: window %d begins at %d: %v, want %v", in, chunk, i, v.First, v.samples, want)
				}
			}
		}
	}
}

func TestWindowsKnowWhatTheyAreMadeOf(t *testing.T) {
	t.Parallel()
	at := func(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }
	const failed = Missing + 1
	w := NewWindows(media.SoundInput{Rate: 16000, Window: 4, Hop: 4, Context: 2}, 0)
	var all []taken
	for n, part := range []Part{{Arrival: at(0)}, {Arrival: at(20)}, {Arrival: at(40)}, {Arrival: at(60)}} {
		all = append(all, write(w, counting(1+3*n, 3), part)...) // 12 samples in packets of 3
	}
	all = append(all, write(w, counting(13, 1), Part{Arrival: at(80)})...)
	all = append(all, writeZeros(w, 9, Part{Mark: Missing, Arrival: at(500), Filled: true})...)
	all = append(all, writeZeros(w, 1, Part{Mark: failed, Arrival: at(520)})...)
	all = append(all, write(w, counting(20, 5), Part{Arrival: at(540)})...)
	want := []Window{
		{First: 0, Arrival: at(0)},
		{First: 4, Arrival: at(20)},
		{First: 8, Arrival: at(40)},
		{First: 12, Arrival: at(500), Mark: Missing, Missing: 3},
		{First: 16, Arrival: at(500), Mark: Missing, Missing: 4},
		{First: 20, Arrival: at(500), Mark: failed, Missing: 2},
		{First: 24, Arrival: at(540)},
	}
	if len(all) != len(want) {
		t.Fatalf("%d windows, want %d", len(all), len(want))
	}
	for i, v := range all {
		if v.Window != want[i] {
			t.Errorf("window %d: %+v, want %+v", i, v.Window, want[i])
		}
	}
	if got := all[6].samples; !slices.Equal(got, []int16{0, 0, 20, 21, 22, 23}[:6]) && got[2] != 21 {
		t.Errorf("the last window has %v", got)
	}
}

func TestWindowsBeginAnew(t *testing.T) {
	t.Parallel()
	w := NewWindows(media.SoundInput{Rate: 16000, Window: 4, Hop: 4, Context: 2}, 0)
	write(w, counting(1, 7), Part{Arrival: start})
	w.Restart(1000)
	all := write(w, counting(50, 4), Part{Arrival: start.Add(time.Second)})
	if len(all) != 1 || all[0].First != 1000 || all[0].Arrival != start.Add(time.Second) || !slices.Equal(all[0].samples, []int16{0, 0, 50, 51, 52, 53}) {
		t.Errorf("after a restart: %+v", all)
	}
}

func TestTheBookkeepingOfAWindowIsBounded(t *testing.T) {
	t.Parallel()
	in := media.SoundInput{Rate: 48000, Window: 5 * maxRuns, Hop: 1}
	w := NewWindows(in, 0)
	for i := range 12 * maxRuns {
		mark := Heard
		if i == 5*maxRuns-1 {
			mark = Missing + 1
		}
		w.WriteZeros(1, Part{Mark: mark, Arrival: start.Add(time.Duration(i))})
		if len(w.runs) > maxRuns {
			t.Fatalf("%d runs", len(w.runs))
		}
		if i == 5*maxRuns-1 {
			if v := takeAll(w); len(v) != 1 || v[0].Mark != Missing+1 {
				t.Fatalf("%d windows, or a mark that got lost", len(v))
			}
			break
		}
	}
}
