//go:build e2e

package e2e

import (
	"encoding/json"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/sluice-dev/sluice/deploy/e2e/stack"
)

// busyGrace is what is added to the limits of times that a browser keeps, for a machine that has much else to do.
const busyGrace = 500 * time.Millisecond

// entry is what the page session.html tells: one of the things that may happen to a session, and when.
type entry struct {
	// At is in milliseconds since 1970: the clock of the machine, which is the test's own too.
	At float64
	// Begun is told just before connect is called, Closed when the session was closed at the test's word.
	Begun, Closed bool
	State         string // of Session.state
	Session       string
	Sequence      int
	End           string // of an outcome: "result", a reason or a code
	Sent          *sent
	Demand        *struct{ MaxFramerate float64 }
	Skipped       int
	Complaints    []string // with Closed
}

// sent is what of the videos has left so far.
type sent struct {
	Frames, Bytes float64
	Width         int // of the widest picture now
	// Each are the frames of each video, by its media id, or of each layer, by its RID.
	Each map[string]float64
}

func (e entry) time() time.Time { return time.UnixMicro(int64(1000 * e.At)) }

// diary follows a page that publishes by the SDK and tells what happens.
type diary struct {
	b       *browser
	entries []entry
}

// broadcast is what session.html publishes.
type broadcast struct {
	edge      *stack.Stack
	site      string // that serves the page
	source    string // "camera", "card" or "two cards"
	model     string
	layers    []layer // of a simulcast; none for a plain video
	namespace string  // of the browser
	gateway   string  // the only way to the edge's media; empty for the direct one
}

// layer is one encoding of a simulcast.
type layer struct {
	RID   string  `json:"rid"`
	Scale float64 `json:"scaleResolutionDownBy"`
}

// keep opens session.html in a browser of its own.
func keep(t *testing.T, p broadcast) *diary {
	t.Helper()
	run := map[string]any{"edge": p.edge.HTTP, "models": []string{p.model}, "source": p.source}
	if p.gateway != "" {
		run["gateway"] = p.gateway
	}
	if len(p.layers) > 0 {
		run["encodings"] = p.layers
	}
	return &diary{b: browse(t, "visit.mjs", 3*time.Minute, map[string]any{
		"namespace": p.namespace, "url": p.site + "/session.html", "camera": stack.Clip(t, "faces-360p30.y4m"), "run": run,
	})}
}

// await reads on until an entry is the one that is waited for, for at most limit; what names it in the failure.
func (d *diary) await(t *testing.T, limit time.Duration, what string, is func(e entry) bool) entry {
	t.Helper()
	deadline := time.Now().Add(limit)
	for {
		var e entry
		d.b.next(t, &e)
		d.entries = append(d.entries, e)
		switch {
		case is(e):
			return e
		case e.Closed, e.time().After(deadline): // the page tells something many times a second
			last, _ := json.Marshal(d.entries[max(0, len(d.entries)-5):])
			t.Fatalf("not within %s: %s; the last entries: %s", limit, what, last)
		}
	}
}

// results waits for so many results.
func (d *diary) results(t *testing.T, limit time.Duration, n int) {
	t.Helper()
	d.await(t, limit, "results flow", func(e entry) bool {
		if e.End == "result" {
			n--
		}
		return n <= 0
	})
}

// resultAfter waits for the first result after a time.
func (d *diary) resultAfter(t *testing.T, limit time.Duration, after time.Time) entry {
	t.Helper()
	return d.await(t, limit, "a result comes", func(e entry) bool { return e.End == "result" && e.time().After(after) })
}

// close ends the session and the browser, and gives what the browser's console complained about.
func (d *diary) close(t *testing.T) (complaints []string) {
	t.Helper()
	d.b.over()
	last := d.await(t, 30*time.Second, "the session is closed", func(e entry) bool { return e.Closed })
	d.b.end()
	return last.Complaints
}

// between gives the entries of a span of time.
func (d *diary) between(from, to time.Time) []entry {
	var within []entry
	for _, e := range d.entries {
		if !e.time().Before(from) && e.time().Before(to) {
			within = append(within, e)
		}
	}
	return within
}

// rates are what was sent and answered in a span of time, each a second.
type rates struct {
	frames, kilobits, results float64
	each                      map[string]float64 // frames, by video or layer
}

// rates measures the last while before a time. It is false unless something was sent through all of it.
func (d *diary) rates(until time.Time, while time.Duration) (r rates, ok bool) {
	within := slices.DeleteFunc(d.between(until.Add(-while), until), func(e entry) bool { return e.Sent == nil && e.End != "result" })
	samples := slices.DeleteFunc(slices.Clone(within), func(e entry) bool { return e.Sent == nil })
	if len(samples) < 2 {
		return rates{}, false
	}
	first, last := samples[0], samples[len(samples)-1]
	span := last.time().Sub(first.time()).Seconds()
	if span < 0.6*while.Seconds() || last.Sent.Frames < first.Sent.Frames {
		return rates{}, false
	}
	r = rates{
		frames: (last.Sent.Frames - first.Sent.Frames) / span, kilobits: (last.Sent.Bytes - first.Sent.Bytes) * 8 / 1000 / span,
		results: float64(len(within)-len(samples)) / while.Seconds(), each: map[string]float64{},
	}
	for name, frames := range last.Sent.Each {
		r.each[name] = math.Round((frames - first.Sent.Each[name]) / span)
	}
	return r, true
}
