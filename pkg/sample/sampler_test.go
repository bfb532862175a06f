package sample

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/sluice-dev/sluice/pkg/media"
)

var start = time.Date(2026, 11, 22, 13, 0, 0, 0, time.UTC)

func sampler(rates ...float64) *Sampler {
	s := new(Sampler)
	var models []media.Model
	for i, r := range rates {
		models = append(models, media.Model{Name: fmt.Sprint("m", i), Rate: r, Deadline: 250 * time.Millisecond})
	}
	s.Set(models)
	return s
}

// picked gives the indices of the units that are due for the first model.
func picked(s *Sampler, pts []time.Duration) []int {
	var out []int
	for i, p := range pts {
		if len(s.Due(nil, p, start, false)) > 0 {
			out = append(out, i)
		}
	}
	return out
}

// camera gives the media times of n units at a rate, rounded to whole milliseconds as Chrome's are.
func camera(rate float64, n int) []time.Duration {
	var out []time.Duration
	for i := range n {
		out = append(out, time.Duration(math.Round(float64(i)*1000/rate))*time.Millisecond)
	}
	return out
}

// every gives 0, n, 2n, … below end.
func every(n, end int) []int {
	var out []int
	for i := 0; i < end; i += n {
		out = append(out, i)
	}
	return out
}

func TestEvenRatesTakeEvenSteps(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		source, rate float64
		step         int
	}{
		{30, 15, 2}, {30, 30, 1}, {30, 10, 3}, {30, 7.5, 4}, {30, 6, 5}, {30, 5, 6}, {30, 1, 30}, {30, 0.5, 60},
		{60, 30, 2}, {60, 15, 4}, {25, 25, 1}, {25, 5, 5}, {24, 12, 2}, {29.97, 30, 1}, {30, 29.97, 1}, {29.97, 15, 2},
		{10, 15, 1}, {1, 15, 1}, {15, 1000, 1}, {30, 0, 1}, {30, -1, 1}, {30, math.NaN(), 1}, {30, math.Inf(1), 1}, {30, 1e300, 1},
	} {
		t.Run(fmt.Sprintf("%v of %v", c.rate, c.source), func(t *testing.T) {
			t.Parallel()
			pts := camera(c.source, 400) // not more: 29.97 and 30 differ by a unit every 1000
			got := picked(sampler(c.rate), pts)
			if want := every(c.step, len(pts)); !slices.Equal(got, want) {
				t.Errorf("picked %d of %d: %v…", len(got), len(pts), got[:min(20, len(got))])
			}
		})
	}
}

func TestOtherRatesKeepTheirMean(t *testing.T) {
	t.Parallel()
	const units = 3000
	for _, c := range []struct{ source, rate float64 }{{30, 20}, {30, 25}, {30, 7}, {31, 30}, {60, 59}, {25, 15}, {30, 14.9}, {30, 29.97}} {
		t.Run(fmt.Sprintf("%v of %v", c.rate, c.source), func(t *testing.T) {
			t.Parallel()
			got := float64(len(picked(sampler(c.rate), camera(c.source, units))))
			want := units / c.source * c.rate
			if math.Abs(got-want) > 2 {
				t.Errorf("picked %v units, want %v", got, want)
			}
		})
	}
}

func TestAJitteryCameraIsSampledEvenly(t *testing.T) {
	t.Parallel()
	// Capture times that wander by 8 ms either way, from a fixed sequence.
	pts := camera(30, 300)
	noise := uint32(1)
	for i := range pts {
		noise = noise*1664525 + 1013904223
		pts[i] += time.Duration(int(noise>>16)%17-8) * time.Millisecond
	}
	if got := len(picked(sampler(30), pts)); got != 300 {
		t.Errorf("rate 30 picked %d of 300", got)
	}
	if got, want := picked(sampler(15), pts), every(2, 300); len(got) < len(want)-1 || len(got) > len(want)+1 {
		t.Errorf("rate 15 picked %d of 300", len(got))
	}
}

func TestJumpsOfMediaTime(t *testing.T) {
	t.Parallel()
	ms := func(values ...int) (out []time.Duration) {
		for _, v := range values {
			out = append(out, time.Duration(v)*time.Millisecond)
		}
		return out
	}
	for _, c := range []struct {
		name string
		rate float64
		pts  []time.Duration
		want []int
	}{
		{"a pause is not made up for", 10, ms(0, 50, 100, 5000, 5050, 5100), []int{0, 2, 3, 5}},
		{"back to the beginning", 10, ms(9000, 9050, 9100, 0, 50, 100), []int{0, 2, 3, 5}},
		{"there and back", 1, ms(0, 500, 900_000, 1000, 1500, 2000), []int{0, 2, 3, 5}},
		{"reordered pictures are not a jump", 10, ms(0, 100, 33, 67, 200, 133, 167, 300), []int{0, 1, 4, 7}},
		{"the same time twice", 10, ms(0, 0, 100, 100), []int{0, 2}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if got := picked(sampler(c.rate), c.pts); !slices.Equal(got, c.want) {
				t.Errorf("picked %v, want %v", got, c.want)
			}
		})
	}
}

func TestASourceThatSpeedsUpGetsNoBurst(t *testing.T) {
	t.Parallel()
	pts := camera(1, 10)
	for _, p := range camera(30, 6)[1:] {
		pts = append(pts, 9*time.Second+p)
	}
	if got := len(picked(sampler(5), pts)) - 10; got != 1 {
		t.Errorf("rate 5 picked %d units in the first fast sixth of a second", got)
	}
}

func TestDueNamesModelsAndDeadlines(t *testing.T) {
	t.Parallel()
	s := new(Sampler)
	if got := s.Due(nil, 0, start, true); len(got) > 0 {
		t.Errorf("without models due for %v", got)
	}
	s.Set([]media.Model{{Name: "fast", Rate: 30, Deadline: 100 * time.Millisecond}, {Name: "slow", Rate: 15, Deadline: time.Second}})
	for i, want := range []string{"[fast slow]", "[fast]", "[fast slow]"} {
		arrival := start.Add(time.Duration(i) * time.Hour)
		due := s.Due(nil, time.Duration(i)*time.Second/30, arrival, false)
		var names []string
		for _, d := range due {
			names = append(names, d.Model)
			if left := d.Deadline.Sub(arrival); left != map[string]time.Duration{"fast": 100 * time.Millisecond, "slow": time.Second}[d.Model] {
				t.Errorf("%s: deadline %v after arrival", d.Model, left)
			}
		}
		if fmt.Sprint(names) != want {
			t.Errorf("unit %d due for %v, want %s", i, names, want)
		}
	}
}

func TestSetKeepsTheRhythmOfModelsThatStay(t *testing.T) {
	t.Parallel()
	s := sampler(1, 1)
	s.Due(nil, 0, start, true)
	s.Set([]media.Model{{Name: "m0", Rate: 1}, {Name: "m1", Rate: 2}, {Name: "new", Rate: 1}})
	due := s.Due(nil, 100*time.Millisecond, start, false)
	if len(due) != 2 || due[0].Model != "m1" || due[1].Model != "new" {
		t.Errorf("due for %v, want the changed and the new model", due)
	}
}

// TestLimit changes the limit of a model while a camera of 30 units a second goes on: the number due follows at once, without a burst.
func TestLimit(t *testing.T) {
	t.Parallel()
	for _, own := range []float64{0, 30, 15, 5} {
		s := sampler(own)
		at := 0
		second := func() (due int) {
			for range 30 {
				pts := time.Duration(at) * time.Second / 30
				due += len(s.Due(nil, pts, start, false))
				at++
			}
			return due
		}
		normal := second()
		for _, limit := range []float64{3, 10, 0, 6, 1000, 2, 0} {
			s.Limit(func(string) float64 { return limit })
			want, wantRate := float64(normal), own
			if limit > 0 && limit < want {
				want, wantRate = limit, limit
			} else if own == 0 {
				wantRate = limit
			}
			if got := second(); math.Abs(float64(got)-want) > 1 {
				t.Errorf("rate %v, limit %v: %d due in a second, want %v", own, limit, got, want)
			}
			if rate, _ := s.Fastest(); rate != wantRate {
				t.Errorf("rate %v, limit %v: the fastest takes %v, want %v", own, limit, rate, wantRate)
			}
		}
	}
}

// TestLimitsAreOfEachModel and stay where the models are set again.
func TestLimitsAreOfEachModel(t *testing.T) {
	t.Parallel()
	s := sampler(10, 10)
	s.Limit(func(model string) float64 { return map[string]float64{"m1": 5}[model] })
	s.Set([]media.Model{{Name: "m1", Rate: 10}, {Name: "m0", Rate: 10}})
	counts := map[string]int{}
	for _, pts := range camera(10, 20) {
		for _, d := range s.Due(nil, pts, start, false) {
			counts[d.Model]++
		}
	}
	if counts["m0"] != 20 || counts["m1"] != 10 {
		t.Errorf("due: %v, want 20 of m0 and 10 of m1", counts)
	}
}

// TestModelsOfKeyUnits has a sender make key units of its own accord, and such as were asked for.
func TestModelsOfKeyUnits(t *testing.T) {
	t.Parallel()
	s := new(Sampler)
	s.Set([]media.Model{{Name: "rated", Rate: 1, KeyOnly: true}, {Name: "any", KeyOnly: true}})
	if _, others := s.Fastest(); others {
		t.Error("others than key units are needed")
	}
	for _, c := range []struct {
		ms     int
		key    bool
		awaits bool // after it
		want   string
	}{
		{0, false, true, "[]"}, // none so far
		{100, true, false, "[rated any]"},
		{200, false, false, "[]"},
		{600, true, false, "[any]"}, // too soon
		{1000, false, false, "[]"},
		{1100, false, true, "[]"},
		{1200, false, true, "[]"}, // it takes a while
		{1300, true, false, "[rated any]"},
		{2000, false, false, "[]"},
		{2100, false, true, "[]"}, // the rhythm goes on from what was due
		{2150, true, false, "[rated any]"},
		{9000, false, true, "[]"},
		{9100, true, false, "[rated any]"},
		{9500, true, false, "[any]"}, // nothing is made up for
	} {
		pts := time.Duration(c.ms) * time.Millisecond
		names := []string{}
		for _, d := range s.Due(nil, pts, start, c.key) {
			names = append(names, d.Model)
		}
		if fmt.Sprint(names) != c.want || s.AwaitsKey(pts) != c.awaits {
			t.Errorf("at %d ms: due for %v, want %s; awaits a key unit: %v, want %v", c.ms, names, c.want, s.AwaitsKey(pts), c.awaits)
		}
	}
	for _, c := range []struct {
		models []media.Model
		rate   float64
		ok     bool
	}{
		{nil, 0, false},
		{[]media.Model{{Name: "k", Rate: 1, KeyOnly: true}, {Name: "a", Rate: 5}, {Name: "b", Rate: 15}}, 15, true},
		{[]media.Model{{Name: "a", Rate: 5}, {Name: "b"}}, 0, true},
	} {
		s.Set(c.models)
		if rate, ok := s.Fastest(); rate != c.rate || ok != c.ok {
			t.Errorf("of %v the fastest takes %v, %v, want %v, %v", c.models, rate, ok, c.rate, c.ok)
		}
	}
}

func TestNoRateIsExceeded(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		rate := rapid.Float64Range(0.5, 60).Draw(t, "rate")
		s := sampler(rate)
		var pts []time.Duration
		now := time.Duration(0)
		for range rapid.IntRange(1, 400).Draw(t, "units") {
			now += time.Duration(rapid.IntRange(1, 200).Draw(t, "step")) * time.Millisecond
			pts = append(pts, now)
		}
		got := picked(s, pts)
		if got[0] != 0 {
			t.Fatal("the first unit is not due")
		}
		if most := (pts[len(pts)-1]-pts[0]).Seconds()*rate + 2; float64(len(got)) > most {
			t.Fatalf("%d due in %v at rate %v, at most %.1f", len(got), pts[len(pts)-1]-pts[0], rate, most)
		}
		for i := 1; i < len(got); i++ { // nor does it fall asleep
			limit := pts[got[i-1]] + time.Duration(2.5*float64(time.Second)/rate)
			if skipped := got[i] - 1; skipped > got[i-1] && pts[skipped] > limit {
				t.Fatalf("unit at %v was not due after the one at %v, rate %v", pts[skipped], pts[got[i-1]], rate)
			}
		}
	})
}

func TestTimeline(t *testing.T) {
	t.Parallel()
	const second = 90000
	for _, c := range []struct {
		name  string
		rate  uint32
		stamp []uint32
		want  []time.Duration
	}{
		{"from anywhere", second, []uint32{5, 5 + second, 5 + 3*second}, []time.Duration{0, time.Second, 3 * time.Second}},
		{"over the wrap", second, []uint32{math.MaxUint32 - 44999, 45000}, []time.Duration{0, time.Second}},
		{"back", second, []uint32{0, 6000, 3000, 9000}, []time.Duration{0, 66666666, 33333333, 100 * time.Millisecond}},
		{"back over the wrap", second, []uint32{0, math.MaxUint32 - 89999}, []time.Duration{0, -time.Second}},
		{"sound", 48000, []uint32{0, 960, 1920}, []time.Duration{0, 20 * time.Millisecond, 40 * time.Millisecond}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			line := NewTimeline(c.rate)
			for i, stamp := range c.stamp {
				if got := line.At(stamp); got != c.want[i] {
					t.Errorf("At(%d) = %v, want %v", stamp, got, c.want[i])
				}
			}
		})
	}
}

func TestTimelineOfADay(t *testing.T) {
	t.Parallel()
	line := NewTimeline(90000)
	var got time.Duration
	const steps = 24 * 3600 * 10
	for i := range steps + 1 {
		got = line.At(uint32(i * 9000))
	}
	if got != 24*time.Hour {
		t.Errorf("after a day in 100 ms steps: %v", got)
	}
}

func TestTimelineNeedsARate(t *testing.T) {
	t.Parallel()
	defer func() {
		if recover() == nil {
			t.Error("NewTimeline(0) did not panic")
		}
	}()
	NewTimeline(0)
}

func BenchmarkDue(b *testing.B) {
	s := sampler(15, 5)
	line := NewTimeline(90000)
	var dst []media.Due
	stamp := uint32(0)
	b.ReportAllocs()
	for b.Loop() {
		stamp += 3000
		dst = s.Due(dst[:0], line.At(stamp), start, false)
	}
}
