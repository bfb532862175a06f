//go:build e2e

package e2e

import (
	"testing"
	"time"

	"github.com/sluice-dev/sluice/deploy/e2e/stack"
)

// blobOutcome is what the page keeps of an outcome: End is "result", a drop's reason or an error's code.
type blobOutcome struct {
	Stream, Model, End string
	Sequence, Faces    int
}

// blobs is what the page that sends pictures reports.
type blobs struct {
	State      string
	Sent       int
	Outcomes   []blobOutcome // on the channel that the pictures were sent on
	Elsewhere  []blobOutcome // on a channel that the edge opened
	OnSocket   []blobOutcome // on the WebSocket
	Strange    []string
	Complaints []string
}

// Show 4: JPEG pictures sent every 100 ms over a channel that was opened with nothing but a label get their outcomes on that channel.
func TestPlainDataChannel(t *testing.T) {
	beside(t, 0.5)
	site := pages(t)
	s := stack.Start(t, stack.Options{EdgeFlags: []string{"--http.origins", site}})
	for _, c := range []struct{ name, signalling, clip string }{
		{"WHIP-with-video", "whip", site + "/clips/faces-360p30.webm"},
		{"WebSocket-data-only", "websocket", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			const count = 100
			b := browse(t, "visit.mjs", time.Minute, map[string]any{
				"url": site + "/blobs.html",
				"run": map[string]any{"edge": s.HTTP, "signalling": c.signalling, "clip": c.clip, "picture": site + "/clips/astronaut.jpg", "count": count},
			})
			var report blobs
			b.next(t, &report)
			b.end()
			for _, complaint := range append(report.Strange, report.Complaints...) {
				t.Errorf("the page: %s", complaint)
			}
			if report.State != "open" || report.Sent != count {
				t.Fatalf("%d pictures were sent, and the channel was %s", report.Sent, report.State)
			}
			report.checkOutcomes(t)
			report.checkOthers(t, c.clip != "", c.signalling == "websocket")
		})
	}
}

// checkOutcomes looks at what came on the channel.
func (r *blobs) checkOutcomes(t *testing.T) {
	t.Helper()
	ends, faces, twice := map[string]int{}, 0, map[int]bool{}
	for _, o := range r.Outcomes {
		ends[o.End]++
		if o.Faces > 0 {
			faces++
		}
		if o.Stream != "mlDataChannel" || o.Model != "faces" || o.Sequence < 1 || o.Sequence > r.Sent || twice[o.Sequence] {
			t.Errorf("an outcome that is none of the channel's, or comes again: %+v", o)
		}
		twice[o.Sequence] = true
	}
	t.Logf("of %d pictures sent: outcomes %v, %d with a face", r.Sent, ends, faces)
	// The model looks at 15 pictures a second: a picture that a busy page sends too close on another's heels is not looked at.
	if len(r.Outcomes) < r.Sent*8/10 || faces*100 < len(r.Outcomes)*95 {
		t.Errorf("%d outcomes of %d pictures, %d with a face: want 80 of 100, and a face in 95 of 100 of them", len(r.Outcomes), r.Sent, faces)
	}
}

// checkOthers looks at what came by other ways: a video's outcomes on a channel that the edge opens, and all of them on a WebSocket.
func (r *blobs) checkOthers(t *testing.T, video, socket bool) {
	t.Helper()
	for _, o := range r.Elsewhere {
		if o.Stream == "mlDataChannel" {
			t.Errorf("an outcome of the channel came on another one: %+v", o)
		}
	}
	if video && len(r.Elsewhere) < 20 || !video && len(r.Elsewhere) != 0 {
		t.Errorf("%d outcomes of a video came on a channel that the edge opened", len(r.Elsewhere))
	}
	if socket && len(r.OnSocket) < len(r.Outcomes) {
		t.Errorf("%d outcomes came on the WebSocket, %d on the channel: want all on both", len(r.OnSocket), len(r.Outcomes))
	}
}
