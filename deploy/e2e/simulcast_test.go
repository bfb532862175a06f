//go:build e2e

package e2e

import (
	"testing"
	"time"

	"github.com/sluice-dev/sluice/deploy/e2e/stack"
)

// simulcasts is what the page that publishes a simulcast reports; times are milliseconds of the page's clock.
type simulcasts struct {
	Outcomes []struct {
		At    float64
		SSRC  uint32
		End   string
		Faces int
		Clock string
		Age   float64 // from the capture, by the outcome's captureTime
	}
	Times  struct{ Stopped, Resumed, Ended float64 }
	Layers []struct {
		RID    string
		SSRC   uint32
		Frames int
	}
	Complaints []string
}

// Edge case 9 with Chromium's own layers: outcomes are about the smallest layer that the model can use, about another one within a second or so after it
// stopped, and about the first again once it has been back for a while. Its packets carry capture times, and all are of one clock, whatever the layer.
func TestSimulcastFromChromium(t *testing.T) {
	const needed = "middle" // 640 × 360; the model takes 384 × 288
	site := pages(t)
	s := stack.Start(t, stack.Options{EdgeFlags: []string{"--http.origins", site}})
	b := browse(t, "visit.mjs", 2*time.Minute, map[string]any{
		"url": site + "/simulcast.html",
		"run": map[string]any{"edge": s.HTTP, "clip": site + "/clips/faces-360p30.webm", "stops": needed, "settle": 12, "pause": 6, "after": 10},
	})
	var report simulcasts
	b.next(t, &report)
	b.end()
	for _, complaint := range report.Complaints {
		t.Errorf("the page: %s", complaint)
	}
	names := map[uint32]string{}
	for _, l := range report.Layers {
		names[l.SSRC] = l.RID
	}
	ends, clocks, faces, first := map[string]int{}, map[string]int{}, 0, 0.0
	phases := map[string]map[string]int{"settled": {}, "stopped": {}, "back": {}}
	for _, o := range report.Outcomes {
		name, ok := names[o.SSRC]
		if !ok {
			t.Errorf("an outcome is about source %d, which was never sent", o.SSRC)
		}
		ends[o.End]++
		clocks[o.Clock]++
		if o.Clock == "ABS_CAPTURE" && (o.Age < 0 || o.Age > 1500) {
			t.Errorf("an outcome is about what was captured %.0f ms before", o.Age)
		}
		if o.Faces > 0 {
			faces++
		}
		if first == 0 && o.End == "result" && o.At > report.Times.Stopped && name != needed {
			first = o.At - report.Times.Stopped
		}
		switch {
		case o.At > report.Times.Stopped-4000 && o.At < report.Times.Stopped:
			phases["settled"][name]++
		case o.At > report.Times.Stopped+2000 && o.At < report.Times.Resumed:
			phases["stopped"][name]++
		case o.At > report.Times.Ended-4000:
			phases["back"][name]++
		}
	}
	t.Logf("outcomes %v by clocks %v, %d with a face, by layer %v; another layer %.0f ms after the stop; sent %+v", ends, clocks, faces, phases, first, report.Layers)
	for phase, layers := range phases {
		if wanted, all := layers[needed], layers["small"]+layers[needed]+layers["large"]; all < 15 || (phase == "stopped") == (wanted > 0) || wanted > 0 && wanted < all {
			t.Errorf("%s: outcomes by layer %v", phase, layers)
		}
	}
	// The rule is a second; a machine that encodes three layers at once takes its time to make a key frame.
	if first == 0 || first > 2000 {
		t.Errorf("the first outcome of another layer came %.0f ms after the stop", first)
	}
	if faces*100 < ends["result"]*80 {
		t.Errorf("%d results of %d have a face", faces, ends["result"])
	}
	// Every layer has its own; the first packets of a layer may come without.
	if all := len(report.Outcomes); clocks["ABS_CAPTURE"]*100 < all*95 {
		t.Errorf("%d outcomes of %d have the capture time that the browser says", clocks["ABS_CAPTURE"], all)
	}
}
