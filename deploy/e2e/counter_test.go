//go:build e2e

package e2e

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/sluice-dev/sluice/deploy/e2e/counter"
	"github.com/sluice-dev/sluice/deploy/e2e/stack"
)

// counted is what the page that publishes counters reports.
type counted struct {
	Seconds float64
	State   string
	// Sent has each encoded frame's number by its RTP timestamp.
	Sent []struct {
		RTP    uint32
		Number int
	}
	// Seen are the outcomes: what the model read, and what the page read in its own frame that the SDK named.
	Seen []struct {
		RTP    uint32
		Model  *int
		End    string
		Lookup string
		Own    *int
	}
	Troubles, Complaints []string
}

// Show 3, in a browser: the number in the picture that the model got is the one in the frame that was sent with the outcome's RTP timestamp; and the page's own frame that the SDK
// finds for the outcome, to draw boxes on, has that number too.
func TestCounterInChromium(t *testing.T) {
	beside(t, 0.6)
	site := pages(t)
	s := stack.Start(t, stack.Options{Router: counter.Serve(t, 15), EdgeFlags: []string{"--http.origins", site}})
	for _, source := range []struct {
		name    string
		seconds int
		results int
		camera  string
	}{
		{name: "canvas", seconds: 20, results: 240},
		{name: "camera", seconds: 10, results: 100, camera: stampedClip(t)},
	} {
		t.Run(source.name, func(t *testing.T) {
			b := browse(t, "visit.mjs", 2*time.Minute, map[string]any{
				"url": site + "/counter.html", "camera": source.camera,
				"run": map[string]any{
					"edge": s.HTTP, "source": source.name, "clip": site + "/clips/faces-360p30.webm",
					"seconds": source.seconds, "results": source.results, "limit": 4 * source.seconds,
				},
			})
			var report counted
			b.next(t, &report)
			b.end()
			for _, complaint := range append(report.Troubles, report.Complaints...) {
				t.Errorf("the page: %s", complaint)
			}
			report.checkModel(t, source.results)
			if source.camera != "" {
				report.checkOwnFrames(t)
			}
		})
	}
}

// checkModel compares what the model read with what was sent.
func (r *counted) checkModel(t *testing.T, atLeast int) {
	t.Helper()
	if r.State != "connected" || len(r.Sent) == 0 {
		t.Fatalf("the session was %s, and %d frames were logged", r.State, len(r.Sent))
	}
	sent, numbers := map[uint32]int{}, map[int]bool{}
	for _, f := range r.Sent {
		sent[f.RTP] = f.Number
		numbers[f.Number] = true
	}
	if len(numbers) < 100 {
		t.Errorf("only %d numbers were sent: too few to tell a frame from its neighbours", len(numbers))
	}
	equal, ends := 0, map[string]int{}
	for _, o := range r.Seen {
		ends[o.End]++
		number, logged := sent[o.RTP]
		switch {
		case !logged:
			t.Errorf("an outcome has RTP timestamp %d, which no frame was sent with", o.RTP)
		case o.Model == nil:
		case *o.Model != number || number == counter.Unreadable:
			t.Errorf("the model got the picture numbered %d for RTP timestamp %d, which was sent with %d", *o.Model, o.RTP, number)
		default:
			equal++
		}
	}
	t.Logf("in %.1f s: %d frames sent with %d numbers, outcomes %v; %d results have the number that was sent", r.Seconds, len(r.Sent), len(numbers), ends, equal)
	if equal < atLeast {
		t.Errorf("%d results have the number that was sent, want %d or more", equal, atLeast)
	}
}

// checkOwnFrames compares what the model read with the page's own frame that the SDK found for the outcome.
func (r *counted) checkOwnFrames(t *testing.T) {
	t.Helper()
	lookups, wrong := map[string]int{}, 0
	for _, o := range r.Seen {
		if o.Model == nil {
			continue
		}
		lookups[o.Lookup]++
		if o.Own != nil && *o.Own != *o.Model {
			wrong++
			t.Errorf("RTP timestamp %d: the model got number %d, the SDK found the frame with number %d", o.RTP, *o.Model, *o.Own)
		}
	}
	t.Logf("the page's own frames: %v, %d of them wrong", lookups, wrong)
	// A page that is not given the processor in time misses frames, and says so.
	if lookups["found"] < lookups["missing"]+lookups["early"] || lookups["found"] < 30 {
		t.Errorf("the SDK found too few of the page's own frames: %v", lookups)
	}
}

// stampedClip makes a clip for Chromium's fake camera: the moving face with each frame's number drawn in.
func stampedClip(t *testing.T) string {
	t.Helper()
	from, err := os.Open(stack.Clip(t, "faces-360p30.y4m"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = from.Close() }()
	to, err := os.Create(filepath.Join(t.TempDir(), "counter.y4m"))
	if err != nil {
		t.Fatal(err)
	}
	if err := counter.Stamp(to, from); err != nil {
		t.Fatal(err)
	}
	if err := to.Close(); err != nil {
		t.Fatal(err)
	}
	return to.Name()
}
