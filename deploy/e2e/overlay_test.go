//go:build e2e

package e2e

import (
	"net/netip"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/sluice-dev/sluice/deploy/e2e/counter"
	"github.com/sluice-dev/sluice/deploy/e2e/stack"
)

const (
	// overlayTime is how long an overlay is watched, unless OVERLAY says otherwise.
	overlayTime = 3 * time.Minute
	// overlaySettles is how long after the first result the clocks must have been matched.
	overlaySettles = 2000.0
	// overlayLoss is the share of the datagrams that are lost, of 1000.
	overlayLoss = 20
)

// overlaid is what the page with the overlay reports. Numbers are nil where none can be read without doubt.
type overlaid struct {
	State   string
	Seconds float64
	// Drawn has the numbers in what the overlay showed: in its picture, and in the answer drawn over it.
	Drawn []struct{ Picture, Answer *int }
	// Results are the model's answers and the number in the page's own frame that the SDK found for each.
	Results []struct {
		At     float64 // ms since the first
		Answer int
		Status string
		Own    *int
		Hidden bool // whether the page was in the background when it came
	}
	Ends   map[string]int
	States []struct {
		At    float64
		State string
	}
	Complaints []string
}

// Must show 1 in Chromium: what the overlay draws over a picture is what the model read in that very picture, in spite of lost packets, changes of the rate and of the track, and a
// while in the background; and nearly every result finds its frame.
func TestOverlayInChromium(t *testing.T) {
	report := watchOverlay(t, overlayLength(t), overlayRun{source: "camera", camera: stampedClip(t), loss: overlayLoss})
	if c := report.compare(t); c.wrong > 0 || c.numbers < 30 {
		t.Errorf("%d answers were drawn over another frame than theirs, the farthest %d frames off; %d different numbers", c.wrong, c.farthest, c.numbers)
	}
	report.checkSynced(t, 0.95, 0.85)
}

// Must show 1 in Firefox, which tells no capture times: the frame is the right one or its neighbour.
func TestOverlayInFirefox(t *testing.T) {
	firefox, err := exec.LookPath("firefox-esr")
	if err != nil {
		t.Fatal("firefox-esr is not in PATH: run the tests by `make e2e`, which installs it")
	}
	report := watchOverlay(t, overlayLength(t), overlayRun{source: "canvas", firefox: firefox, loss: overlayLoss})
	if c := report.compare(t); c.farthest > 1 {
		t.Errorf("an answer was drawn %d frames off its own", c.farthest)
	}
	report.checkSynced(t, 0.8, 0.65)
}

// The tests above can fail, and the SDK knows when its clock is wrong, as after the wall clock was set: one that is a frame behind is seen by the comparison above; one that is a frame
// ahead is noticed by the SDK itself, for frames cannot leave before their capture.
func TestOverlayWithAWrongClock(t *testing.T) {
	const frame = 1000.0 / 30
	clip := stampedClip(t)
	watch := func(shift float64) comparison {
		report := watchOverlay(t, 6*time.Second, overlayRun{source: "camera", camera: clip, shift: shift, still: true})
		return report.compare(t)
	}
	if c := watch(-frame); c.all < 60 || c.wrong < c.all/2 || c.farthest < 1 {
		t.Errorf("a frame behind: only %d of %d answers are on another frame than theirs", c.wrong, c.all)
	}
	if c := watch(frame); c.wrong > 0 {
		t.Errorf("a frame ahead: %d of %d answers were drawn over another frame than theirs", c.wrong, c.all)
	}
}

// overlayRun says how an overlay is watched.
type overlayRun struct {
	source, camera, firefox string
	loss                    uint32
	shift                   float64 // ms by which the SDK's clock is put wrong
	still                   bool    // nothing changes on the way
}

// overlayLength gives the time that OVERLAY names.
func overlayLength(t *testing.T) time.Duration {
	t.Helper()
	text := os.Getenv("OVERLAY")
	if text == "" {
		return overlayTime
	}
	length, err := time.ParseDuration(text)
	if err != nil || length < 20*time.Second {
		t.Fatalf("OVERLAY is %q: want a duration of 20s or more", text)
	}
	return length
}

// watchOverlay has a browser publish numbered pictures and draw the model's answers for as long as given.
func watchOverlay(t *testing.T, length time.Duration, run overlayRun) overlaid {
	t.Helper()
	site := pages(t)
	s := stack.Start(t, stack.Options{Router: counter.Serve(t, 30), EdgeFlags: []string{"--http.origins", site}})
	cable := newRelay(t, netip.MustParseAddrPort(s.ICE))
	cable.loss.Store(run.loss)
	b := browse(t, "overlay.mjs", length+2*time.Minute, map[string]any{
		"url": site + "/overlay.html", "camera": run.camera, "firefox": run.firefox, "seconds": length.Seconds(), "still": run.still,
		"run": map[string]any{
			"edge": s.HTTP, "source": run.source, "clip": site + "/clips/faces-360p30.webm", "shift": run.shift,
			"relay": map[string]any{"client": cable.clientAddress.String(), "edge": cable.address.String()},
		},
	})
	var page struct{ Client netip.AddrPort }
	b.next(t, &page)
	cable.client.Store(&page.Client)
	var report overlaid
	b.next(t, &report)
	b.end()
	for _, complaint := range report.Complaints {
		t.Errorf("the page: %s", complaint)
	}
	if report.State != "connected" {
		t.Errorf("the session was %s in the end", report.State)
	}
	return report
}

// comparison is what an overlay showed beside what the model read.
type comparison struct {
	// all pairs of numbers, and those of them that differ.
	all, wrong int
	// farthest is the largest difference, in frames.
	farthest int
	// numbers is how many different ones there were.
	numbers int
}

// compare compares each answer with the number in the picture that it was drawn over, and in the frame that was found for it, drawn or not.
func (r *overlaid) compare(t *testing.T) comparison {
	t.Helper()
	var c comparison
	numbers, unreadable := map[int]bool{}, 0
	note := func(off map[int]int, picture, answer *int) {
		if picture == nil || answer == nil || *answer == counter.Unreadable {
			unreadable++
			return
		}
		distance := *picture - *answer
		off[distance]++
		c.all++
		numbers[*picture] = true
		if distance != 0 {
			c.wrong, c.farthest = c.wrong+1, max(c.farthest, distance, -distance)
		}
	}
	drawn, found := map[int]int{}, map[int]int{}
	for _, d := range r.Drawn {
		note(drawn, d.Picture, d.Answer)
	}
	for _, result := range r.Results {
		if result.Status == "found" {
			note(found, result.Own, &result.Answer)
		}
	}
	c.numbers = len(numbers)
	t.Logf("in %.1f s: %d results, outcomes %v; %d draws, frames off %v; found, frames off %v; %d unreadable; states %v",
		r.Seconds, len(r.Results), r.Ends, len(r.Drawn), drawn, found, unreadable, r.States)
	if unreadable*20 > c.all {
		t.Errorf("%d numbers cannot be read, beside %d that can", unreadable, c.all)
	}
	return c
}

// checkSynced checks that of the results that came while the page was seen the given share found its frame, once the clocks had time to be matched, and that most were drawn. In a
// short run the changes weigh more: a second share is for that.
func (r *overlaid) checkSynced(t *testing.T, share, shareOfShort float64) {
	t.Helper()
	if r.Seconds < overlayTime.Seconds() {
		share = shareOfShort
	}
	all, found, statuses := 0, 0, map[string]int{}
	for _, result := range r.Results {
		if result.At < overlaySettles || result.Hidden {
			continue
		}
		all++
		statuses[result.Status]++
		if result.Status == "found" {
			found++
		}
	}
	t.Logf("synced: %d of %d results, %.1f %%: %v", found, all, 100*float64(found)/float64(max(1, all)), statuses)
	if all < 10*int(r.Seconds) {
		t.Errorf("only %d results in %.0f s", all, r.Seconds)
	}
	if float64(found) < share*float64(all) {
		t.Errorf("%d of %d results found their frame, want %.0f %%", found, all, 100*share)
	}
	if len(r.Drawn)*2 < found {
		t.Errorf("only %d of the %d results that found their frame were drawn", len(r.Drawn), found)
	}
}
