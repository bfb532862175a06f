package batch

import (
	"context"
	"math"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func arrivals(shape Shape) Arrivals {
	return Arrivals{Shape: shape, Offered: 150, Dilation: 4, Length: 40 * time.Second, Seed: 3}
}

func TestTraces(t *testing.T) {
	t.Parallel()
	for _, shape := range Shapes() {
		t.Run(string(shape), func(t *testing.T) {
			t.Parallel()
			trace, err := NewTrace(arrivals(shape))
			if err != nil {
				t.Fatal(err)
			}
			again, _ := NewTrace(arrivals(shape))
			if !slices.Equal(trace.Arrivals, again.Arrivals) {
				t.Error("the same seed gives another trace")
			}
			// 5, 10, 15 and 30 fps in turn, all four times slower: ten of each are 150 a second.
			if trace.Streams != 40 {
				t.Errorf("%d streams, want 40", trace.Streams)
			}
			if rate := float64(len(trace.Arrivals)) / 40; math.Abs(rate-150) > 5 {
				t.Errorf("%.1f frames a second, want 150", rate)
			}
			counts, before := make([]uint32, trace.Streams), time.Duration(0)
			for _, a := range trace.Arrivals {
				if counts[a.Stream]++; a.Sequence != counts[a.Stream] || a.At < before || a.At >= trace.Length || a.Captured > a.At {
					t.Fatalf("%+v after %s, frame %d of its stream", a, before, counts[a.Stream])
				}
				before = a.At
			}
			if slow, fast := float64(counts[0]), float64(counts[3]); math.Abs(slow-50) > 15 || math.Abs(fast-300) > 45 {
				t.Errorf("%v frames of a camera of 1.25 fps and %v of one of 7.5 fps in 40 s", slow, fast)
			}
		})
	}
}

// TestShapes looks at what makes each shape what it is.
func TestShapes(t *testing.T) {
	t.Parallel()
	// The part of 20 ms slots of the time that see no frame, and the longest wait of a frame between capture and arrival.
	look := func(shape Shape) (idle float64, held time.Duration) {
		trace, err := NewTrace(arrivals(shape))
		if err != nil {
			t.Fatal(err)
		}
		slots := make([]int, trace.Length/(20*time.Millisecond))
		for _, a := range trace.Arrivals {
			slots[a.At/(20*time.Millisecond)]++
			held = max(held, a.At-a.Captured)
		}
		for _, n := range slots {
			if n == 0 {
				idle += 1 / float64(len(slots))
			}
		}
		return idle, held
	}
	if idle, held := look(Periodic); idle > 0.15 || held > 50*time.Millisecond {
		t.Errorf("periodic: nothing comes %.2f of the time, a frame is held up for %s", idle, held)
	}
	if idle, held := look(InPhase); idle < 0.4 || held > 50*time.Millisecond {
		t.Errorf("in phase: nothing comes %.2f of the time, a frame is held up for %s", idle, held)
	}
	if _, held := look(Bursty); held < 400*time.Millisecond || held > 1700*time.Millisecond {
		t.Errorf("bursty: a frame is held up for %s at most, want up to 1.6 s", held)
	}
	if idle, held := look(Poisson); idle < 0.02 || idle > 0.1 || held != 0 {
		t.Errorf("Poisson: nothing comes %.2f of the time, want e⁻³; a frame is held up for %s", idle, held)
	}
}

func TestNewTraceRefuses(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*Arrivals){
		"shape": func(a *Arrivals) { a.Shape = "other" }, "rate": func(a *Arrivals) { a.Offered = 0 },
		"dilation": func(a *Arrivals) { a.Dilation = 0.5 }, "length": func(a *Arrivals) { a.Length = 0 },
	} {
		a := arrivals(Periodic)
		if change(&a); a == arrivals(Periodic) {
			t.Fatal("nothing was changed")
		}
		if _, err := NewTrace(a); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// scripted ends frames as a test says.
type scripted struct {
	end     func(f *Frame)
	running sync.WaitGroup
}

func (s *scripted) Send(f *Frame) { s.running.Go(func() { s.end(f) }) }
func (s *scripted) Close() error  { s.running.Wait(); return nil }

// TestMeasures replays two cameras of 10 fps, of which the second gets every other frame answered.
func TestMeasures(t *testing.T) {
	t.Parallel()
	const ms = time.Millisecond
	trace := &Trace{Streams: 2, Length: 1200 * ms}
	for i := range 12 {
		for stream := range 2 {
			at := time.Duration(i) * 100 * ms
			trace.Arrivals = append(trace.Arrivals, Arrival{Stream: stream, Sequence: uint32(i + 1), At: at, Captured: at})
		}
	}
	record, err := Replay(t.Context(), trace, 100*ms, &scripted{end: func(f *Frame) {
		switch {
		case f.Stream == 0 || f.Sequence%2 == 1:
			f.End(Answered, f.Arrived.Add(50*ms), 4)
		case f.Sequence == 6:
			f.End(Answered, f.Arrived.Add(150*ms), 4) // late, and older than what came before it was answered
		default:
			f.End(Superseded, f.Arrived.Add(ms), 0)
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	m := record.Measure(200 * ms)
	// Arrivals from 0.2 to 1.1 s count: frames 3 to 11 of each.
	if m.Frames != 18 || m.Fates[Answered] != 15 || m.Fates[Superseded] != 3 || m.Late != 1 || len(m.Wasted) != 5 {
		t.Errorf("%+v", m)
	}
	near := func(what string, got, want float64) {
		t.Helper()
		if math.Abs(got-want) > 1e-6 {
			t.Errorf("%s is %v, want %v", what, got, want)
		}
	}
	near("offered", m.Offered, 20)
	near("goodput", m.Goodput, 14/0.9)
	near("batch", m.Batch, 4)
	near("p50", m.P50.Seconds(), 0.05)
	near("p99", m.P99.Seconds(), 0.15)
	// What is fair is half of 14 answers each, but the first camera had nine of its nine, the second five.
	near("share", m.Share, 5.0/7)
	near("Jain", m.Jain, (14.0*14)/2/(9*9+5*5))
	// Of the first camera, ages run from 50 to 150 ms. From 0.2 s, where the newest was captured at 0.1 s.
	first := (0.05*0.125 + 8.5*0.1*0.1 + 0) / 0.9
	if got := 2*m.MeanAge.Seconds() - m.WorstAge.Seconds(); math.Abs(got-first) > 0.01 {
		t.Errorf("the first camera's age is %v, want %v", got, first)
	}
	// The second's from 50 to 250 ms.
	if got := m.WorstAge; got < 140*ms || got > 165*ms {
		t.Errorf("the second camera's age is %s, want about 150ms", got)
	}
}

func TestReplayFindsBrokenPaths(t *testing.T) {
	t.Parallel()
	trace := &Trace{Streams: 1, Length: 20 * time.Millisecond, Arrivals: []Arrival{{Sequence: 1}}}
	for name, end := range map[string]func(*Frame){
		"never": func(*Frame) {},
		"twice": func(f *Frame) { f.End(Answered, time.Now(), 1); f.End(Expired, time.Now(), 0) },
	} {
		if _, err := Replay(t.Context(), trace, time.Millisecond, &scripted{end: end}); err == nil {
			t.Errorf("a frame that ends %s is no error", name)
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Replay(ended, trace, time.Millisecond, &scripted{}); err == nil {
		t.Error("the end of the context is no error")
	}
}

func TestFairShares(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		demand []float64
		total  float64
		want   []float64
	}{
		{[]float64{5, 30, 10}, 24, []float64{5, 9.5, 9.5}},
		{[]float64{5, 30, 10}, 60, []float64{5, 30, 10}},
		{[]float64{4, 4}, 4, []float64{2, 2}},
	} {
		if got := fairShares(c.demand, c.total); !slices.Equal(got, c.want) {
			t.Errorf("%v of %v: %v, want %v", c.total, c.demand, got, c.want)
		}
	}
	if least, jain := shares([]float64{100, 100}, []float64{1, 1}); least != 0 || jain != 0 {
		t.Errorf("shares of almost nothing: %v, %v", least, jain)
	}
}
