//go:build e2e

package e2e

import (
	"testing"
	"time"

	"github.com/sluice-dev/sluice/deploy/e2e/stack"
)

// Chromium answers the edge's offer, and so tells when it captured each picture, which it offers to no server by itself; its stream goes on over an
// ICE restart that the edge offers.
func TestTheEdgeOffersChromium(t *testing.T) {
	beside(t, 0.8)
	site := pages(t)
	s := stack.Start(t, stack.Options{EdgeFlags: []string{"--http.origins", site}})
	const results = 30
	b := browse(t, "visit.mjs", time.Minute, map[string]any{"url": site + "/offered.html", "run": map[string]any{"edge": s.HTTP, "results": results}})
	var report struct {
		State    string
		Users    []string
		Outcomes []struct {
			Stream, Clock, End string
			Restarted          bool
		}
		Complaints []string
	}
	b.next(t, &report)
	b.end()
	for _, complaint := range report.Complaints {
		t.Errorf("the page: %s", complaint)
	}
	if len(report.Users) != 2 || report.Users[0] == report.Users[1] {
		t.Errorf("the edge's ICE user names were %q, want two", report.Users)
	}
	streams, clocks := make(map[string]int), make(map[string]int)
	for _, o := range report.Outcomes {
		streams[o.Stream]++
		clocks[o.Clock]++
	}
	t.Logf("%d outcomes, by clock %v", len(report.Outcomes), clocks)
	if len(streams) != 1 {
		t.Errorf("the outcomes are of the streams %v, want one", streams)
	}
	// The first pictures of a source may come before the packet that tells of its clock.
	if captured := clocks["ABS_CAPTURE"]; captured*10 < len(report.Outcomes)*9 {
		t.Errorf("%d of %d outcomes know when their picture was captured", captured, len(report.Outcomes))
	}
}
