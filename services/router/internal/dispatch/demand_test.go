package dispatch

import (
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluice-dev/sluice/pkg/batch"
	"github.com/sluice-dev/sluice/pkg/media"
)

// loaded is a policy that says how the model stands as the test wants it.
type loaded struct {
	*batch.Fresh
	load func(now time.Time) batch.Load
}

func (l *loaded) Load(now time.Time) batch.Load { return l.load(now) }

// TestDemand overloads one of two models for a while. The streams that use it are told so, and when it is over; those of sound and of the other model are not.
func TestDemand(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var capacity atomic.Int64
		capacity.Store(20)
		busy := func(time.Time) batch.Load {
			return batch.Load{Overloaded: capacity.Load() < 60, Since: start, Capacity: float64(capacity.Load())}
		}
		idle := func(time.Time) batch.Load { return batch.Load{Since: start, Capacity: 1000} }
		policy := func(load func(time.Time) batch.Load) batch.Policy {
			return &loaded{batch.NewFresh(batch.Options{}), load}
		}
		policies := []batch.Policy{policy(busy), policy(idle), policy(busy)} // in the order of the models
		b := newBedOf(t, func() batch.Policy {
			defer func() { policies = policies[1:] }()
			return policies[0]
		}, modelConfig("busy", &runner{run: echo(ms)}), modelConfig("idle", &runner{run: echo(ms)}), listener("speech", &runner{run: echo(ms)}))
		b.begin()
		s := b.session("s")
		sequence := uint32(0)
		run := func(d time.Duration, streams int) {
			for range d / (50 * ms) { // 20 a second
				sequence++
				for i := range streams {
					b.submit(s, fmt.Sprint("camera", i), sequence, "", 250*ms, "busy", "idle")
				}
				b.submit(s, "voice", sequence, "", 250*ms, "speech")
				advance(50 * ms)
			}
		}
		told := func() []media.Demand {
			s.mu.Lock()
			defer s.mu.Unlock()
			defer func() { s.demands = nil }()
			return s.demands
		}
		run(900*ms, 2)
		if got := told(); len(got) > 0 {
			t.Errorf("told %+v though the model was overloaded for less than 1 s", got)
		}
		run(time.Second, 2)
		got := told()
		if len(got) != 2 || got[0].Stream == got[1].Stream {
			t.Fatalf("told %+v, want one demand for each camera", got)
		}
		for _, d := range got {
			if d.Model != "busy" || d.MaxFramerate != 9.5 { // two streams share 20 a second, with a little left over
				t.Errorf("told %+v, want 9.5 frames a second for the busy model", d)
			}
		}
		b.Forget(s, "camera1")
		capacity.Store(100)
		run(4*time.Second, 1)
		if got := told(); len(got) != 1 || got[0] != (media.Demand{Stream: "camera0", Model: "busy"}) {
			t.Errorf("told %+v when it was over, want that of the stream that is left", got)
		}
		_ = b.stop()
	})
}

// TestDemandEndsWithTheModel takes an overloaded model out: what it demanded is withdrawn, once, and it demands nothing after that.
func TestDemandEndsWithTheModel(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		busy := &loaded{batch.NewFresh(batch.Options{}), func(time.Time) batch.Load { return batch.Load{Overloaded: true, Since: start, Capacity: 10} }}
		b := newBedOf(t, func() batch.Policy { return busy }, modelConfig("busy", &runner{run: echo(ms)}))
		b.begin()
		s := b.session("s")
		sequence := uint32(0)
		run := func(d time.Duration) {
			for range d / (50 * ms) {
				sequence++
				b.submit(s, "camera", sequence, "", 250*ms, "busy")
				advance(50 * ms)
			}
		}
		run(3 * time.Second)
		if n := len(s.demands); n == 0 || s.demands[n-1].MaxFramerate <= 0 {
			t.Fatalf("told %+v in 3 s of overload", s.demands)
		}
		s.demands = nil
		came(t, b.replace())
		run(3 * time.Second)
		if len(s.demands) != 1 || s.demands[0] != (media.Demand{Stream: "camera", Model: "busy"}) {
			t.Errorf("told %+v, want that nothing is demanded any more, once", s.demands)
		}
		_ = b.stop()
	})
}

// TestPressure asks two models for more and for less than they can do. What is demanded of the cameras does not lower the pressure, for it is there only because of it; what
// nobody sends any more does.
func TestPressure(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		policy := func(load batch.Load) *loaded {
			return &loaded{batch.NewFresh(batch.Options{}), func(time.Time) batch.Load { return load }}
		}
		policies := []batch.Policy{ // in the order of the models
			policy(batch.Load{Overloaded: true, Since: start, Capacity: 20}),
			policy(batch.Load{Since: start}),
			policy(batch.Load{Since: start, Capacity: 40, Offered: 30}),
		}
		b := newBedOf(t, func() batch.Policy {
			defer func() { policies = policies[1:] }()
			return policies[0]
		}, modelConfig("busy", &runner{run: echo(ms)}), modelConfig("unknown", &runner{run: echo(ms)}), listener("speech", &runner{run: echo(ms)}))
		b.begin()
		s := b.session("s")
		sequence := uint32(0)
		run := func(d, gap time.Duration) {
			for range d / gap {
				sequence++
				for i := range 2 {
					b.submit(s, fmt.Sprint("camera", i), sequence, "", 250*ms, "busy", "unknown")
				}
				b.submit(s, "voice", sequence, "", 250*ms, "speech")
				advance(gap)
			}
		}
		check := func(when string, busy float64) {
			for model, want := range map[string]float64{"busy": busy, "unknown": 0, "speech": 0.75} {
				if got := sum(t, b, "sluice_router_model_pressure", model, ""); got < 0.9*want || got > 1.1*want {
					t.Errorf("%s the pressure of %s is %v, want %v", when, model, got, want)
				}
			}
			if got, want := sum(t, b, "sluice_router_pressure", "", ""), max(busy, 0.75); got < 0.9*want || got > 1.1*want {
				t.Errorf("%s the pressure is %v, want %v", when, got, want)
			}
		}
		run(4*time.Second, 50*ms) // two streams of 20 a second
		check("at twice the capacity", 2)
		run(10*time.Second, 100*ms) // which they keep to
		check("when the cameras send what they are asked for", 2)
		b.Forget(s, "camera0")
		b.Forget(s, "camera1")
		advance(2 * time.Second)
		check("when the cameras are gone", 0)
		_ = b.stop()
	})
}
