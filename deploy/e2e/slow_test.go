//go:build e2e

package e2e

import (
	"slices"
	"testing"
	"time"

	"github.com/sluice-dev/sluice/deploy/e2e/counter"
	"github.com/sluice-dev/sluice/deploy/e2e/stack"
)

// followed is what a page that follows a session by two ways reports; times are milliseconds since 1970.
type followed struct {
	Came []struct {
		At                float64
		By                string // "channel" or "events"
		Sequence, Skipped int
	}
	StoodStill struct{ From, To float64 }
	State      string
	Complaints []string
}

// way is what came by one of the two.
type way struct {
	sequences []int
	skipped   int
	// missing is how many sequences between the first and the last did not come.
	missing int
	// caughtUp is how long after the page moved again it had what was captured while it stood still; negative when it never had.
	caughtUp time.Duration
}

func (f *followed) by(name string) (w way) {
	w.caughtUp = -1
	newest := 0 // of what came by either way while the page stood still, or before
	for _, c := range f.Came {
		if c.At <= f.StoodStill.From {
			newest = max(newest, c.Sequence)
		}
	}
	due := newest + int(0.7*(f.StoodStill.To-f.StoodStill.From)/1000*slowRate) // captured towards the end of it, on a machine that is busy with more
	for _, c := range f.Came {
		if c.By != name {
			continue
		}
		w.skipped += c.Skipped
		if c.Sequence == 0 {
			continue
		}
		w.sequences = append(w.sequences, c.Sequence)
		if w.caughtUp < 0 && c.Sequence >= due {
			w.caughtUp = time.Duration((c.At - f.StoodStill.To) * float64(time.Millisecond))
		}
	}
	slices.Sort(w.sequences) // what is given up may end before an older one that is answered
	if n := len(w.sequences); n > 0 {
		w.missing = w.sequences[n-1] - w.sequences[0] + 1 - n
	}
	return w
}

// slowRate is how many pictures a second the pages send, each of which the model answers.
const slowRate = 10

// A tab stands still for some seconds while its answers, which are large, go on coming. It costs another client nothing; and the tab itself only what was old when it moved again, of which it
// is told, by the channel and by a stream of events that fills every buffer on its way.
func TestASlowReaderInTheBrowser(t *testing.T) {
	const before, still, after = 5, 8, 5
	site := pages(t)
	s := stack.Start(t, stack.Options{
		Router: counter.ServeWith(t, counter.Options{Ballast: 12_000}), EdgeFlags: []string{"--http.origins", site},
	})
	visit := func(seconds int) *browser {
		return browse(t, "visit.mjs", 2*time.Minute, map[string]any{
			"url": site + "/slow.html", "camera": stack.Clip(t, "faces-360p30.y4m"),
			"run": map[string]any{"edge": s.HTTP, "models": []string{"counter"}, "rate": slowRate, "before": before, "still": seconds, "after": after + still - seconds},
		})
	}
	tabs := map[string]*browser{"slow": visit(still), "other": visit(0)}
	for name, b := range tabs {
		var f followed
		b.next(t, &f)
		b.end()
		for _, complaint := range f.Complaints {
			t.Errorf("%s: the page: %s", name, complaint)
		}
		if f.State != "connected" {
			t.Errorf("%s: in the end the session is %s", name, f.State)
		}
		for _, by := range []string{"channel", "events"} {
			w := f.by(by)
			t.Logf("%s, by %s: %d outcomes, %d missing, told of %d; caught up %s after it moved again", name, by, len(w.sequences), w.missing, w.skipped, w.caughtUp)
			if n := len(w.sequences); n < before*slowRate || len(slices.Compact(slices.Clone(w.sequences))) < n {
				t.Errorf("%s, by %s: there are few outcomes, or one twice: %v", name, by, w.sequences)
			}
			if w.missing != w.skipped {
				t.Errorf("%s, by %s: %d outcomes are missing, and it was told of %d", name, by, w.missing, w.skipped)
			}
			if limit := 2 * time.Second; w.caughtUp < 0 || w.caughtUp > limit {
				t.Errorf("%s, by %s: it had the newest outcome %s after it moved again, want %s", name, by, w.caughtUp, limit)
			}
			switch {
			case name == "other" && w.missing > 0:
				t.Errorf("the slow tab cost the other client %d outcomes by %s", w.missing, by)
			case name == "slow" && by == "events" && w.missing == 0:
				t.Errorf("the slow tab lost nothing by %s: its buffers took all, and the test shows nothing", by)
			}
		}
	}
}
