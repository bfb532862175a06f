package batchtest

import (
	"flag"
	"os"
	"testing"
	"time"

	"github.com/sluice-dev/sluice/pkg/batch"
	"pgregory.net/rapid"
)

// TestMain has the properties draw the same cases each time, unless -rapid.seed says otherwise; with 0 they are others each time.
func TestMain(m *testing.M) {
	flag.Parse()
	given := os.Getenv("RAPID_SEED") != ""
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "rapid.seed" })
	if !given {
		if err := flag.Set("rapid.seed", "20261122"); err != nil {
			panic(err)
		}
	}
	m.Run()
}

// drawScenario draws models, loads, arrivals and faults.
func drawScenario(t *rapid.T) scenario {
	c := scenario{
		base: time.Duration(rapid.IntRange(0, 25).Draw(t, "base")) * time.Millisecond, each: time.Duration(rapid.IntRange(1000, 6000).Draw(t, "each")) * time.Microsecond,
		instances: rapid.IntRange(1, 3).Draw(t, "instances"), load: rapid.Float64Range(0.2, 3).Draw(t, "load"), length: 2 * time.Second,
		shape: rapid.SampledFrom([]Shape{Periodic, Sync, Bursty, Poisson}).Draw(t, "shape"), seed: rapid.Uint64().Draw(t, "seed"),
		hidden: rapid.Bool().Draw(t, "hidden"), cold: rapid.Bool().Draw(t, "cold"),
	}
	for range rapid.IntRange(0, 3).Draw(t, "faults") {
		c.faults = append(c.faults, fault{
			at: time.Duration(rapid.IntRange(0, 2000).Draw(t, "at")) * time.Millisecond, instance: rapid.IntRange(-1, c.instances-1).Draw(t, "instance"),
			factor: rapid.SampledFrom([]float64{0.5, 1, 1.8, 4, 20}).Draw(t, "factor"),
		})
	}
	return c
}

// TestPromises holds for all scenarios: every frame has one fate, frames of a stream are sent in order, no instance has more batches than its slots, no batch more frames
// than it may have, and nothing is sent after its deadline.
func TestPromises(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := newSimulation(drawScenario(t))
		newest := make([]time.Duration, len(s.periods))
		s.watch = func(s *simulation, d batch.Decision) {
			if len(d.Send) > largest {
				t.Fatalf("a batch of %d", len(d.Send))
			}
			for _, i := range d.Send {
				if !s.items[i].Deadline.After(s.state.Now) {
					t.Fatalf("at %v a frame is sent whose deadline is over", s.now)
				}
				stream, arrived := s.keys[i], s.items[i].Arrived.Sub(epoch)
				if arrived < newest[stream] {
					t.Fatalf("stream %d: what came at %v is sent after what came at %v", stream, arrived, newest[stream])
				}
				newest[stream] = arrived
			}
			if len(d.Send) > 0 && len(s.servers[d.Instance].flights) >= slots {
				t.Fatalf("a batch too many goes to instance %d", d.Instance)
			}
		}
		s.run()
		flying := 0
		for _, server := range s.servers {
			for _, f := range server.flights {
				flying += len(f.frames)
			}
		}
		if f := s.fates; f.arrived != f.answered+f.superseded+f.expired+f.lost+s.queue.Len()+flying {
			t.Fatalf("%+v, %d wait and %d are in flight: that does not add up", f, s.queue.Len(), flying)
		}
	})
}

// TestNobodyStarves overloads a model with cameras whose phases are drawn. In any five seconds each of them is answered.
func TestNobodyStarves(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		c := scenario{
			base: 5 * time.Millisecond, each: 4 * time.Millisecond, instances: rapid.IntRange(1, 2).Draw(t, "instances"), length: 8 * time.Second,
			load: rapid.Float64Range(1.2, 3).Draw(t, "load"), seed: rapid.Uint64().Draw(t, "seed"),
		}
		s := newSimulation(c)
		s.trace = nil
		for stream, period := range s.periods {
			phase := times(period, rapid.Float64Range(0, 1).Draw(t, "phase"))
			if rapid.Bool().Draw(t, "locked") {
				phase = 0
			}
			for at := phase; at < c.length; at += period {
				s.trace = append(s.trace, Arrival{at, at, stream})
			}
		}
		inOrder(s.trace)
		answered := make([]time.Duration, len(s.periods))
		s.landed = func(s *simulation, f *flight) {
			for _, a := range f.frames {
				if s.now <= a.At+budget {
					answered[a.Stream] = s.now
				}
			}
			for stream, last := range answered {
				if s.now-last > 5*time.Second {
					t.Fatalf("stream %d has had no answer since %v, and it is %v", stream, last, s.now)
				}
			}
		}
		s.run()
	})
}
