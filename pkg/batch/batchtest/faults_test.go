package batchtest

import (
	"math"
	"testing"
	"time"
)

// rate gives the answers in time a second between two times.
func (s *simulation) rate(from, until time.Duration) float64 {
	n := 0
	for _, quarter := range s.timeline[from/shareAll : until/shareAll] {
		n += quarter
	}
	return float64(n) / (until - from).Seconds()
}

// TestOneOfTwo lets one of two instances fail while each has a little less than it can do alone.
func TestOneOfTwo(t *testing.T) {
	t.Parallel()
	const fails = 5 * time.Second
	for _, c := range []struct {
		name   string
		factor float64
		hidden bool
	}{{"hangs", 0, false}, {"becomes four times slower", 4, false}, {"hangs, and tells nothing", 0, true}, {"becomes four times slower, and tells nothing", 4, true}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			const seeds = 5
			var atOnce, later float64 // of the rate before
			for seed := range uint64(seeds) {
				s := newSimulation(scenario{
					base: 5 * time.Millisecond, each: time.Millisecond, instances: 2, load: 0.45, shape: Periodic, seed: seed + 1, length: 10 * time.Second,
					hidden: c.hidden, faults: []fault{{fails, 0, c.factor}},
				})
				s.run()
				before := s.rate(2*time.Second, fails)
				atOnce += s.rate(fails, fails+shareAll) / before / seeds
				later += s.rate(fails+2*shareAll, s.length) / before / seeds
			}
			t.Logf("in the first quarter of a second %.2f of before, from half a second on %.3f", atOnce, later)
			if atOnce < 0.75 || later < 0.97 {
				t.Errorf("in the first quarter of a second %.2f of before, want 0.75; from half a second on %.3f, want 0.97", atOnce, later)
			}
		})
	}
}

// TestModelChanges makes all instances 1.8 times slower. Thirty batches later, the policy has found out. The largest batch that such a model answers in time fills
// nearly all of it, so that a lone instance which also has to take what just missed a batch does less than is possible.
func TestModelChanges(t *testing.T) {
	t.Parallel()
	const changes, factor, batches = 5 * time.Second, 1.8, 30
	for _, c := range []struct {
		name      string
		instances int
		load      float64
		hidden    bool
		possible  float64
	}{
		{"one", 1, 0.45, false, 0.97}, {"two", 2, 0.45, false, 0.97}, {"one, overloaded by it", 1, 0.9, false, 0.85},
		{"two, overloaded by it", 2, 0.9, false, 0.85}, {"two, overloaded by it, that tell nothing", 2, 0.9, true, 0.85},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			for seed := range uint64(5) {
				since, predicted := 0, time.Duration(0)
				s := newSimulation(scenario{
					base: 5 * time.Millisecond, each: time.Millisecond, instances: c.instances, load: c.load, shape: Periodic, seed: seed + 1, length: 10 * time.Second,
					hidden: c.hidden, faults: []fault{{changes, -1, factor}},
					landed: func(s *simulation, f *flight) {
						if f.sent < changes {
							return
						}
						if since++; since == batches {
							for _, size := range []int{1, 8, 16, 32} {
								predicted = s.policy.Predicted(size)
								if off := predicted.Seconds()/(factor*s.seconds(size)) - 1; math.Abs(off) > 0.1 {
									t.Errorf("seed %d: after %d batches, %d frames are predicted to take %v, off by %.0f %%", seed+1, batches, size, predicted, 100*off)
								}
							}
						}
					},
				})
				s.run()
				best := min(Offered(s.periods), s.peak()/factor)
				got := s.rate(changes+time.Second, s.length) / best
				if t.Logf("seed %d: from a second after the change on, %.2f of what is possible was answered", seed+1, got); got < c.possible {
					t.Errorf("seed %d: %.2f of what is possible was answered, want %.2f", seed+1, got, c.possible)
				}
			}
		})
	}
}
