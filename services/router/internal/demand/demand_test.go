package demand

import (
	"fmt"
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/sluice-dev/sluice/pkg/batch"
	"github.com/sluice-dev/sluice/pkg/media"
)

// step is the time between steps in the tests.
const step = 250 * time.Millisecond

// scene is a model of a capacity with streams that keep to what they are told.
type scene struct {
	gauge    *Gauge[string]
	now      time.Time
	capacity float64
	sources  map[string]float64 // frames a second that each would send
	shares   map[string]media.Share
	told     map[string]float64
	due      map[string]float64 // fractions of a frame left over
	messages int
	load     batch.Load
}

func newScene(capacity float64) *scene {
	return &scene{
		gauge: New[string](100), now: time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC), capacity: capacity,
		sources: map[string]float64{}, told: map[string]float64{}, due: map[string]float64{},
	}
}

// run lets time pass.
func (s *scene) run(d time.Duration) {
	for range d / step {
		total := 0.0
		for name, rate := range s.sources {
			if limit := s.told[name]; limit > 0 {
				rate = min(rate, limit)
			}
			total += rate
			s.due[name] += rate * step.Seconds()
			for ; s.due[name] >= 1; s.due[name]-- {
				s.gauge.Arrived(name, Weight(s.shares[name]))
			}
		}
		s.now = s.now.Add(step)
		if over := total > 1.03*s.capacity; over != s.load.Overloaded {
			s.load.Overloaded, s.load.Since = over, s.now
		}
		s.load.Capacity = s.capacity
		for _, c := range s.gauge.Step(s.now, s.load) {
			s.told[c.Key] = c.Rate
			s.messages++
		}
	}
}

func (s *scene) expect(t *testing.T, when string, want float64) {
	t.Helper()
	for name := range s.sources {
		if got := s.told[name]; math.Abs(got-want) > 0.11*want {
			t.Errorf("%s: stream %s is told %.2f frames a second, want %.2f", when, name, got, want)
		}
	}
}

func TestDemandFollowsTheLoad(t *testing.T) {
	t.Parallel()
	s := newScene(100)
	for i := range 5 {
		s.sources[fmt.Sprint(i)] = 15
	}
	s.run(10 * time.Second)
	s.expect(t, "below capacity", 0)
	if s.messages > 0 {
		t.Errorf("%d messages without overload", s.messages)
	}
	for i := range 20 {
		s.sources[fmt.Sprint(i)] = 15
	}
	s.run(patience)
	s.expect(t, "overloaded for a moment", 0)
	s.run(3 * time.Second)
	s.expect(t, "overloaded", 4.75)
	before := s.messages
	s.run(time.Minute)
	s.expect(t, "a minute later, all keeping to it", 4.75)
	if s.messages != before {
		t.Errorf("%d messages while nothing changed", s.messages-before)
	}
	s.capacity = 200
	s.run(2 * time.Second)
	s.expect(t, "with twice the capacity", 9.5)
	s.run(time.Minute)
	s.expect(t, "a minute after that", 9.5)
	for i := 10; i < 20; i++ {
		delete(s.sources, fmt.Sprint(i))
		s.gauge.Forget(fmt.Sprint(i))
	}
	s.run(4 * time.Second)
	s.expect(t, "when the others have gone", 0)
}

// TestSlowStreamsHaveAllTheySend gives what they leave over to the others.
func TestSlowStreamsHaveAllTheySend(t *testing.T) {
	t.Parallel()
	s := newScene(100)
	s.sources = map[string]float64{"a": 30, "b": 30, "c": 30, "d": 30, "slow": 5, "slower": 2}
	s.run(10 * time.Second)
	s.expect(t, "with two slow ones", (95-7)/4.)
}

// TestSharesCount has streams of several weights and classes share a model.
func TestSharesCount(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		shares map[string]media.Share
		want   map[string]float64
	}{
		"weights": {
			map[string]media.Share{"a": {Weight: 3}, "b": {Weight: 1}, "c": {}},
			map[string]float64{"a": 28.5, "b": 9.5, "c": 9.5},
		},
		"a class that wants all": {
			map[string]media.Share{"a": {}, "b": {}, "c": {Class: 1}},
			map[string]float64{"a": 47.5 / 2.05, "b": 47.5 / 2.05, "c": 47.5 * .05 / 2.05},
		},
		"a class that leaves some": {
			map[string]media.Share{"a": {}, "b": {Class: 1}, "c": {Class: 1}},
			map[string]float64{"b": 17.5 / 2, "c": 17.5 / 2},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScene(50)
			s.shares = c.shares
			s.sources = map[string]float64{"a": 30, "b": 30, "c": 30}
			s.run(20 * time.Second)
			for stream, want := range c.want {
				if got := s.told[stream]; math.Abs(got-want) > 0.11*want {
					t.Errorf("stream %s is told %.2f frames a second, want %.2f", stream, got, want)
				}
			}
			if told := s.told["a"]; c.want["a"] == 0 && told < s.sources["a"] {
				t.Errorf("the first class is told %.2f frames a second, and there is room for all of it", told)
			}
		})
	}
}

// TestAStreamThatSlowsDownLeavesItsShare to the others, although it was told to send less than it did.
func TestAStreamThatSlowsDownLeavesItsShare(t *testing.T) {
	t.Parallel()
	s := newScene(100)
	s.sources = map[string]float64{"a": 30, "b": 30, "c": 30, "d": 30, "e": 30}
	s.run(10 * time.Second)
	s.expect(t, "five alike", 19)
	s.sources["e"] = 4
	s.run(20 * time.Second)
	s.expect(t, "one has slowed down", (95-4)/4.)
	s.sources["e"] = 30
	s.run(10 * time.Second)
	s.expect(t, "five alike again", 19)
}

// TestNoCapacityIsNoDemand leaves things as they are while no instance is there.
func TestNoCapacityIsNoDemand(t *testing.T) {
	t.Parallel()
	s := newScene(0)
	s.sources = map[string]float64{"a": 30}
	s.run(time.Minute)
	s.expect(t, "without an instance", 0)
}

func TestStreamsAreBounded(t *testing.T) {
	t.Parallel()
	g := New[int](3)
	for i := range 10 {
		g.Arrived(i, 1)
	}
	if g.Streams() != 3 {
		t.Errorf("%d streams are followed, want 3", g.Streams())
	}
	g.Forget(0)
	g.Arrived(11, 1)
	if g.Streams() != 3 {
		t.Errorf("%d streams are followed after one ended, want 3", g.Streams())
	}
}

// TestShare checks the definition of max-min fairness on random streams.
func TestShare(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		g := New[int](100)
		total := 0.0
		for i, rate := range rapid.SliceOfN(rapid.Float64Range(0, 60), 0, 40).Draw(t, "rates") {
			g.streams[i] = &stream{natural: rate, weight: rapid.SampledFrom([]float64{1, 1, 4, 100, 0.05}).Draw(t, "weight")}
			total += rate
		}
		capacity := rapid.Float64Range(1, 1000).Draw(t, "capacity")
		level := g.share(capacity)
		if level == 0 {
			if total > capacity+1e-6 {
				t.Fatalf("no demand though %v come and %v fit", total, capacity)
			}
			return
		}
		if total < capacity-1e-6 {
			t.Fatalf("a demand of %v though %v come and %v fit", level, total, capacity)
		}
		sum := 0.0
		for _, s := range g.streams {
			sum += min(s.natural, level*s.weight)
		}
		if math.Abs(sum-capacity) > 1e-6*capacity {
			t.Fatalf("a demand of %v lets %v through, want %v", level, sum, capacity)
		}
	})
}

func TestStepDoesNotAllocate(t *testing.T) {
	g := New[int](100)
	now := time.Now()
	load := batch.Load{Overloaded: true, Since: now.Add(-time.Minute), Capacity: 50}
	if n := testing.AllocsPerRun(100, func() {
		for i := range 100 {
			g.Arrived(i, 1)
		}
		now = now.Add(step)
		g.Step(now, load)
	}); n > 1 { // of the first runs
		t.Errorf("%v allocations a step, want none", n)
	}
}
