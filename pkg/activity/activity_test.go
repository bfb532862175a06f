package activity

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/sluice-dev/sluice/pkg/media"
)

var start = time.Date(2026, 11, 23, 3, 0, 0, 123456789, time.UTC)

func at(s float64) time.Time { return start.Add(time.Duration(s * float64(time.Second))) }

func near(a, b float64) bool { return math.Abs(a-b) < 1e-9 }

func TestRates(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		every float64 // seconds
		last  float64 // second of the last unit
		now   float64
		want  float64
	}{
		{"the first unit is one a second", 1, 0, 0, 1},
		{"a young stream's rate is of its life", 0.5, 2, 2.5, 2},
		{"thirty a second", 1. / 32, 40, 40, 32},
		{"one in two seconds", 2, 40, 40.5, 5 / 9.5},
		{"it goes down after the end", 0.5, 20, 25.5, (2*4 + 1) / 9.5},
		{"ten seconds later it is over", 0.5, 20, 31, 0},
		{"long after the end too", 0.5, 20, 100_000, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var b Board
			for i := 0; float64(i)*c.every <= c.last; i++ {
				b.Unit("camera", at(float64(i)*c.every))
			}
			a := b.Stream("camera", at(c.now))
			if tolerance := 0.06 * c.want; math.Abs(a.Units-c.want) > tolerance {
				t.Errorf("%g units a second, want %g", a.Units, c.want)
			}
			if last := at(math.Floor(c.last/c.every) * c.every); a.Newest.Sub(last).Abs() > time.Microsecond {
				t.Errorf("newest at %v, want %v", a.Newest, last)
			}
		})
	}
}

func TestOutcomesAreToldApart(t *testing.T) {
	t.Parallel()
	var b Board
	b.Outcome(&media.Outcome{Stream: "camera", Model: "faces", Drop: media.Expired}, 0, start) // before any unit
	b.Unit("camera", start)
	for i := range 20 {
		b.Outcome(&media.Outcome{Stream: "camera", Model: "faces", Result: &media.Result{}}, time.Duration(i+1)*time.Millisecond, at(1))
	}
	b.Outcome(&media.Outcome{Stream: "camera", Model: "faces", Drop: media.Expired}, time.Hour, at(2))
	b.Outcome(&media.Outcome{Stream: "camera", Model: "faces", Drop: media.Expired}, time.Hour, at(2))
	b.Outcome(&media.Outcome{Stream: "camera", Model: "a first one", Error: media.Internal}, time.Hour, at(2))
	a := b.Stream("camera", at(4))
	names := slices.Collect(func(yield func(string) bool) {
		for _, m := range a.Models {
			if !yield(m.Model) {
				return
			}
		}
	})
	if fmt.Sprint(names) != "[a first one faces]" {
		t.Fatalf("models %q", names)
	}
	first, faces := a.Models[0], a.Models[1]
	if !near(first.Errors, 0.25) || first.Results != 0 || first.Drops != 0 || first.P50 != 0 || !first.Newest.IsZero() {
		t.Errorf("the first model: %+v", first)
	}
	if !near(faces.Results, 5) || !near(faces.Drops, 0.5) || faces.Errors != 0 || !faces.Newest.Equal(at(1)) {
		t.Errorf("faces: %+v", faces)
	}
	if faces.P50 != 10*time.Millisecond || faces.P95 != 19*time.Millisecond {
		t.Errorf("p50 %v, p95 %v, want 10 ms and 19 ms", faces.P50, faces.P95)
	}
}

func TestOnlyTheNewestLatenciesCount(t *testing.T) {
	t.Parallel()
	var l latencies
	for range 1000 {
		l.add(time.Hour)
	}
	for range samples {
		l.add(time.Millisecond)
	}
	if p50, p95 := l.quantiles(); p50 != time.Millisecond || p95 != time.Millisecond {
		t.Errorf("p50 %v, p95 %v", p50, p95)
	}
}

func TestBoundsAndForget(t *testing.T) {
	t.Parallel()
	var b Board
	for i := range maxStreams + 3 {
		b.Unit(fmt.Sprint(i), start)
	}
	for i := range maxModels + 3 {
		b.Outcome(&media.Outcome{Stream: "0", Model: fmt.Sprint(i), Result: &media.Result{}}, 0, start)
	}
	if n := len(b.streams); n != maxStreams {
		t.Errorf("%d streams are kept", n)
	}
	if n := len(b.Stream("0", start).Models); n != maxModels {
		t.Errorf("%d models are kept", n)
	}
	b.Forget("0")
	if a := b.Stream("0", start); a.Units != 0 || a.Stream != "0" || a.Models != nil {
		t.Errorf("after Forget: %+v", a)
	}
	if len(b.streams) != maxStreams-1 {
		t.Error("Forget kept the stream")
	}
}

func TestTimeThatRunsBackwardsIsNoHarm(t *testing.T) {
	t.Parallel()
	m := newMeter(at(5))
	m.add(at(20))
	m.add(at(1)) // before its birth
	if r := m.rate(at(3)); math.IsNaN(r) || math.IsInf(r, 0) || r < 0 {
		t.Errorf("rate %g", r)
	}
}

func BenchmarkOutcome(b *testing.B) {
	var board Board
	o := media.Outcome{Stream: "camera", Model: "faces", Result: &media.Result{}}
	now := start
	b.ReportAllocs()
	for b.Loop() {
		now = now.Add(33 * time.Millisecond)
		board.Unit("camera", now)
		board.Outcome(&o, 20*time.Millisecond, now)
	}
}
