package session

import (
	"math"
	"testing"

	"github.com/sluice-dev/sluice/pkg/media"
)

// TestTotalsDoNotOverflow adds up sessions whose counts are as large as they can be.
func TestTotalsDoNotOverflow(t *testing.T) {
	t.Parallel()
	const most = math.MaxUint32
	counts := media.ModelCounts{Model: "faces", NotSampled: most, Accepted: most, Results: most, Late: most}
	counts.Drops[media.Superseded], counts.Errors[media.Internal] = most, most
	var all totals
	for range 3 {
		all.add([]media.StreamCounts{{Stream: "camera", Received: most, NotDue: most, Accepted: most, Models: []media.ModelCounts{counts}}})
	}
	m := all.model("faces")
	for name, n := range map[string]uint64{
		"received": all.received, "not due": all.notDue, "not sampled": m.notSampled, "accepted": m.accepted, "results": m.results, "late": m.late,
		"SUPERSEDED": m.drops[media.Superseded], "INTERNAL": m.errors[media.Internal],
	} {
		if n != 3*most {
			t.Errorf("%s: %d, want %d", name, n, uint64(3*most))
		}
	}
	if len(all.models) != 1 || m.drops[media.Expired] != 0 || m.inFlight != 0 {
		t.Errorf("counted what was not there: %+v", all)
	}
	if c := m.counts(); c.Model != "faces" || c.Accepted != uint32(3*most%(1<<32)) {
		t.Errorf("in the contract's size: %+v", c)
	}
}
