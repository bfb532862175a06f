package spans

import (
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/pkg/serve/tracetest"
	"github.com/sluice-dev/sluice/pkg/trace"
)

func due(models ...string) (all []media.Due) {
	for _, m := range models {
		all = append(all, media.Due{Model: m})
	}
	return all
}

func outcome(sequence uint32, model string) media.Outcome {
	return media.Outcome{Session: "s", Stream: "camera", Sequence: sequence, Model: model, BatchSize: 3, Result: &media.Result{}}
}

// TestAUnitOfTwoModels takes a unit that two models take in two forms through all stages.
func TestAUnitOfTwoModels(t *testing.T) {
	t.Parallel()
	tracer, recorder := tracetest.New(1)
	s := NewSession("s", tracer)
	id := trace.Of("s").Unit("camera", 5)
	first := time.Now().Add(-40 * time.Millisecond)

	s.Begin("camera", 5, first, due("faces", "objects"))
	u := s.Unit("camera", 5)
	if u == nil || s.Unit("camera", 4) != nil || s.Unit("other", 5) != nil {
		t.Fatal("it is not unit 5, and no other, that is traced")
	}
	u.Arrived(first, first.Add(10*time.Millisecond))
	begun := u.Begun()
	u.Decoded(begun, 8*time.Millisecond, time.Millisecond)
	small := u.Offer(1, due("faces"))
	u.Decoded(begun, 8*time.Millisecond, 2*time.Millisecond)
	large := u.Offer(2, due("objects"))
	if small.ID != id.ID || large.ID != id.ID || !small.Valid() || small.Span == large.Span {
		t.Errorf("the frames are in %v and %v, want two spans of %v", small, large, id)
	}
	s.Sent("camera", 5, []string{"faces"})
	s.Sent("camera", 5, []string{"objects"})
	s.Sent("camera", 5, []string{"objects"}) // says nothing new

	final := s.Final(outcome(5, "faces"))
	delivered := final.Delivered()
	final.Told()
	if n := len(recorder.Named("unit")); n != 0 {
		t.Error("the unit ended before its second outcome")
	}
	failed := outcome(5, "objects")
	failed.Result, failed.Error = nil, media.BackendTimeout
	s.Final(failed).Told()
	delivered("channel")

	if got, want := recorder.Names(id.Span), []string{"convert", "convert", "decode", "deliver", "order", "outcome", "outcome", "receive", "turn", "uplink", "uplink"}; !slices.Equal(got, want) {
		t.Errorf("the unit's parts are %v, want %v", got, want)
	}
	for _, frame := range []media.Trace{small, large} {
		if got := recorder.Names(frame.Span); !slices.Equal(got, []string{"slot"}) {
			t.Errorf("the parts of the edge's way to the router are %v, want its slot", got)
		}
	}
	unit := recorder.Named("unit")[0]
	if unit.SpanContext().SpanID() != id.Span || unit.Parent().IsValid() || !unit.StartTime().Equal(first) {
		t.Errorf("the unit's span is %v from %v, want %v from %v", unit.SpanContext(), unit.StartTime(), id, first)
	}
	for key, want := range map[string]string{"sluice.session": "s", "sluice.stream": "camera", "sluice.sequence": "5", "sluice.models": `["faces","objects"]`} {
		if got := tracetest.Attribute(unit, key); got != want {
			t.Errorf("the unit's %s is %s, want %s", key, got, want)
		}
	}
	timedOut := recorder.Named("outcome")[1]
	for key, want := range map[string]string{"sluice.model": "objects", "sluice.outcome": "error", "sluice.reason": "BACKEND_TIMEOUT", "sluice.batch.size": "3"} {
		if got := tracetest.Attribute(timedOut, key); got != want {
			t.Errorf("the outcome's %s is %s, want %s", key, got, want)
		}
	}
	if s.open.Load() != 0 || len(s.units) != 0 {
		t.Error("the unit is kept after its last outcome")
	}
}

// TestADroppedUnit gives a unit up before it was decoded: what became of it is in its span.
func TestADroppedUnit(t *testing.T) {
	t.Parallel()
	tracer, recorder := tracetest.New(1)
	s := NewSession("s", tracer)
	s.Begin("camera", 1, time.Now(), due("faces"))
	o := outcome(1, "faces")
	o.Result, o.BatchSize, o.Drop = nil, 0, media.Damaged
	s.Final(o).Told()
	s.Final(o).Told() // the ledger tells each once; nothing comes of a second time
	unit := recorder.Named("unit")
	if len(unit) != 1 || tracetest.Attribute(unit[0], "sluice.reason") != "DAMAGED" || tracetest.Attribute(unit[0], "sluice.outcome") != "drop" {
		t.Errorf("%d units, %v", len(unit), unit)
	}
}

// TestWhatIsNotTraced takes units through all stages where nothing is traced, or not these, and counts what that allocates.
func TestWhatIsNotTraced(t *testing.T) {
	none, recorder := tracetest.New(0)
	models, names := due("faces"), []string{"faces"}
	for name, s := range map[string]*Session{"off": NewSession("s", nil), "not sampled": NewSession("s", none)} {
		n := uint32(0)
		o := outcome(0, "faces")
		if allocations := testing.AllocsPerRun(100, func() {
			n++
			s.Begin("camera", n, time.Time{}, models)
			u := s.Unit("camera", n)
			u.Arrived(time.Time{}, time.Time{})
			u.Decoded(u.Begun(), time.Second, time.Second)
			if u.Offer(1, models).Valid() {
				t.Errorf("%s: the router is told of a trace", name)
			}
			s.Sent("camera", n, names)
			o.Sequence = n
			final := s.Final(o)
			if final.Delivered() != nil {
				t.Errorf("%s: the sinks have something to tell", name)
			}
			final.Told()
		}); allocations > 0 {
			t.Errorf("%s: %v allocations for a unit, want none", name, allocations)
		}
	}
	if spans := recorder.All(); len(spans) > 0 {
		t.Errorf("there are spans: %v", spans)
	}
}

// TestUnitsSideBySide has the goroutines of a session at work at once.
func TestUnitsSideBySide(t *testing.T) {
	t.Parallel()
	tracer, recorder := tracetest.New(1)
	s := NewSession("s", tracer)
	const units = 200
	var all sync.WaitGroup
	for n := range uint32(units) {
		all.Go(func() {
			s.Begin("camera", n+1, time.Now(), due("faces"))
			s.Unit("camera", n+1).Offer(1, due("faces"))
			var sides sync.WaitGroup
			sides.Go(func() { s.Sent("camera", n+1, []string{"faces"}) })
			sides.Go(func() { s.Final(outcome(n+1, "faces")).Told() })
			sides.Wait()
		})
	}
	all.Wait()
	if got := len(recorder.Named("unit")); got != units || s.open.Load() != 0 {
		t.Errorf("%d units ended and %d are open, of %d", got, s.open.Load(), units)
	}
}

// BenchmarkUnit is what a unit costs in all stages together: where nothing is traced, where it is not, and where it is.
func BenchmarkUnit(b *testing.B) {
	for _, c := range []struct {
		name     string
		fraction float64
	}{{"off", -1}, {"one in a thousand", .001}, {"all", 1}} {
		b.Run(c.name, func(b *testing.B) {
			var s *Session
			if c.fraction >= 0 {
				tracer, _ := tracetest.New(c.fraction)
				s = NewSession("s", tracer)
			}
			models, names := due("faces"), []string{"faces"}
			n, now, o := uint32(0), time.Now(), outcome(0, "faces")
			b.ReportAllocs()
			for b.Loop() {
				n++
				s.Begin("camera", n, now, models)
				u := s.Unit("camera", n)
				u.Arrived(now, now)
				u.Decoded(u.Begun(), time.Millisecond, time.Millisecond)
				_ = u.Offer(1, models)
				s.Sent("camera", n, names)
				o.Sequence = n
				s.Final(o).Told()
			}
		})
	}
}
