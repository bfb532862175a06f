package trace

import (
	"fmt"
	"math"
	"testing"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// TestUnitsHaveTracesOfTheirOwn makes the traces of many units: all differ, all are valid, and each part of an id takes every value of its bytes about equally often.
func TestUnitsHaveTracesOfTheirOwn(t *testing.T) {
	t.Parallel()
	const sessions, streams, units = 10, 4, 500
	seen := make(map[[16]byte]string)
	spans := make(map[[8]byte]bool)
	var ones [128]int
	for i := range sessions {
		session := Of(fmt.Sprint("session", i))
		for j := range streams {
			stream := fmt.Sprint("stream", j)
			for n := range units {
				unit := session.Unit(stream, uint32(n+1))
				name := fmt.Sprint(i, j, n)
				if other, twice := seen[unit.ID]; twice {
					t.Fatalf("units %s and %s share trace %x", other, name, unit.ID)
				}
				if seen[unit.ID] = name; !unit.Valid() {
					t.Fatalf("unit %s has the trace %v, which is none", name, unit)
				}
				spans[unit.Span] = true
				for bit := range ones {
					ones[bit] += int(unit.ID[bit/8] >> (bit % 8) & 1)
				}
			}
		}
	}
	const all = sessions * streams * units
	if len(spans) != all {
		t.Errorf("%d units have %d spans", all, len(spans))
	}
	for bit, n := range ones {
		if lowest := bit == 120; !lowest && math.Abs(float64(n)/all-.5) > .02 {
			t.Errorf("bit %d of the ids is set in %d of %d", bit, n, all)
		}
	}
}

// TestTracesAreTheSameEverywhere holds the ids: an edge and a router of different versions must agree on them.
func TestTracesAreTheSameEverywhere(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		session, stream string
		sequence        uint32
		want            string
	}{
		{"s", "camera", 1, "00-0a608d45f79c4572db9e08f1b14edfa1-fb25e9b114770b25-01"},
		{"s", "camera", 2, "00-8ca49eee64f8f064c0b8c5a304085fab-528d1dd881607ddf-01"},
		{"abcdefghijklmnop", "microphone", 4294967295, "00-2539abf1dc459f3af160c951969ddd05-1c8f4c5b19d21a41-01"},
	} {
		if got := Of(c.session).Unit(c.stream, c.sequence).String(); got != c.want {
			t.Errorf("unit %d of %s/%s has the trace %s, want %s", c.sequence, c.session, c.stream, got, c.want)
		}
	}
}

func TestShare(t *testing.T) {
	t.Parallel()
	session := Of("session")
	for _, fraction := range []float64{-1, 0, .001, .1, .5, 1, 2} {
		share := ShareOf(fraction)
		theirs := sdktrace.TraceIDRatioBased(fraction)
		const units = 20000
		taken := 0
		for n := range uint32(units) {
			unit := session.Unit("camera", n+1)
			takes := share.Takes(unit)
			if takes {
				taken++
			}
			if takes && !ShareOf(fraction*2).Takes(unit) {
				t.Fatalf("unit %d is in a share of %g, but not in twice that", n+1, fraction)
			}
			if others := theirs.ShouldSample(sdktrace.SamplingParameters{TraceID: unit.ID}).Decision == sdktrace.RecordAndSample; others != takes {
				t.Fatalf("unit %d: taken %v, by OpenTelemetry's rule %v", n+1, takes, others)
			}
		}
		want := min(max(fraction, 0), 1) * units
		if math.Abs(float64(taken)-want) > 5*math.Sqrt(want)+.1 {
			t.Errorf("a share of %g takes %d of %d units, want about %g", fraction, taken, units, want)
		}
	}
}

// TestDecidingCostsNoMemory counts what it allocates to find out that a unit is not traced.
func TestDecidingCostsNoMemory(t *testing.T) {
	share, session, n := ShareOf(.001), Of("session"), uint32(0)
	if allocations := testing.AllocsPerRun(1000, func() {
		n++
		share.Takes(session.Unit("camera", n))
	}); allocations > 0 {
		t.Errorf("%v allocations, want none", allocations)
	}
}

// BenchmarkDecide is what a unit costs that is not traced where others are.
func BenchmarkDecide(b *testing.B) {
	share, session, n := ShareOf(.001), Of("session"), uint32(0)
	var takes int
	for b.Loop() {
		n++
		if share.Takes(session.Unit("camera", n)) {
			takes++
		}
	}
}
