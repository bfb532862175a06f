//go:build e2e

package e2e

import (
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sluice-dev/sluice/deploy/e2e/stack"
)

// thinSpace groups the digits of large numbers on the page.
const thinSpace = "\u202f"

// visit starts a scene of page.mjs on the edge's own page.
func visit(t *testing.T, s *stack.Stack, scene string) *browser {
	t.Helper()
	options := visitor(t, s)
	options["scene"] = scene
	return browse(t, "page.mjs", 3*time.Minute, options)
}

// visitor gives the options of a script that visits the edge's own page, with the moving face as the camera and spoken sentences as the microphone. Screenshots go to
// SLUICE_SCREENSHOTS or else to .build/screens, for people to look at.
func visitor(t *testing.T, s *stack.Stack) map[string]any {
	t.Helper()
	screens := os.Getenv("SLUICE_SCREENSHOTS")
	if screens == "" {
		screens = filepath.Join(stack.Root(t), ".build", "screens")
	}
	if err := os.MkdirAll(screens, 0o755); err != nil {
		t.Fatal(err)
	}
	return map[string]any{"edge": s.HTTP + "/", "camera": stack.Clip(t, "faces-360p30.y4m"), "microphone": stack.Clip(t, "voice.wav"), "screenshots": screens}
}

// A click on Camera on the edge's own page, and the face has a box, and the numbers move.
func TestThePage(t *testing.T) {
	beside(t, 1)
	b := visit(t, stack.Start(t, stack.Options{}), "live")
	var shown struct {
		Boxes []struct {
			X, Y, Width, Height float64
			// Skin is the share of the box's middle that has the colour of skin.
			Skin float64
		}
		Status, Sent, Answers, P50, P95, Ends, Picture, Happening string
		Life                                                      life
		Wrong                                                     []string
	}
	b.next(t, &shown)
	checkNoComplaints(t, b)
	checkLooks(t, shown.Wrong)
	checkLife(t, shown.Life)
	for name, text := range map[string]string{"sent": shown.Sent, "answers": shown.Answers, "p50": shown.P50, "p95": shown.P95} {
		if n, err := strconv.ParseFloat(strings.ReplaceAll(text, thinSpace, ""), 64); err != nil || n <= 0 {
			t.Errorf("the number %q shows %q", name, text)
		}
	}
	if shown.Status != "Live" || !containsAll(shown.Ends, "Answered") || !containsAll(shown.Picture, "1 face") {
		t.Errorf("the page shows status %q, outcomes %q and the picture %q", shown.Status, shown.Ends, shown.Picture)
	}
	if !containsAll(shown.Happening, "Your camera sends", "“faces” looks at", "after a picture was taken", "exactly that picture") {
		t.Errorf("the page says that this is happening: %q", shown.Happening)
	}
	near := 0
	for _, box := range shown.Boxes {
		if box.Skin > 0.5 && box.Width > 0.04 && box.Width < 0.3 {
			near++
		}
	}
	t.Logf("sent %s/s, answers %s/s, latency p50 %s ms, p95 %s ms; %d pictures with a box, %d around the face", shown.Sent, shown.Answers, shown.P50, shown.P95, len(shown.Boxes), near)
	if len(shown.Boxes) < 10 || near*10 < len(shown.Boxes)*9 {
		t.Errorf("boxes around the face: %d of %+v", near, shown.Boxes)
	}
}

// Show 6: camera and microphone of one session, each to its model: the boxes go on, and the meter tells speech from silence.
func TestThePageListens(t *testing.T) {
	beside(t, 1)
	s := stack.Start(t, stack.Options{})
	b := visit(t, s, "spoken")
	var shown struct{ Wrong, Models []string }
	b.next(t, &shown)
	checkNoComplaints(t, b)
	checkLooks(t, shown.Wrong)
	if !slices.Equal(shown.Models, []string{"faces", "speech"}) {
		t.Errorf("with a microphone the page offers models %v", shown.Models)
	}
	for _, model := range shown.Models {
		results := s.Metric(t, s.EdgeAdmin, "sluice_edge_outcomes_total", "kind=result", "model="+model)
		t.Logf("results of %s: %g", model, results)
		if results < 30 {
			t.Errorf("%g results of the model %s", results, model)
		}
	}
}

// A visitor who does not allow the camera is told so, and what to do.
func TestThePageWithoutACamera(t *testing.T) {
	beside(t, 0.6)
	b := visit(t, stack.Start(t, stack.Options{}), "refused")
	var shown struct{ Problem string }
	b.next(t, &shown)
	checkNoComplaints(t, b)
	if !containsAll(shown.Problem, "camera is not allowed", "Try again") {
		t.Errorf("the page says %q", shown.Problem)
	}
}

// When the edge dies, the page says that it tries again, and then that it has given up.
func TestThePageWithoutItsEdge(t *testing.T) {
	beside(t, 0.6)
	s := stack.Start(t, stack.Options{})
	b := visit(t, s, "killed")
	var shown struct {
		Live            bool
		Advice, Problem string
	}
	b.next(t, &shown)
	s.Edge.Kill(t)
	b.next(t, &shown)
	b.next(t, &shown)
	if !containsAll(shown.Advice, "Connecting again") {
		t.Errorf("after the edge's death the page first says %q", shown.Advice)
	}
	if !containsAll(shown.Problem, "connection was lost", "Try again") {
		t.Errorf("after the edge's death the page says in the end %q", shown.Problem)
	}
	for _, complaint := range complaintsOf(t, b) {
		// The browser itself notes that the edge does not answer.
		if !strings.Contains(complaint, "net::ERR_CONNECTION_REFUSED") {
			t.Errorf("the page: %s", complaint)
		}
	}
}

// life is what the page shows of one frame's life, in ms.
type life struct {
	Total float64
	About string
	Rows  []struct {
		Stage     string
		MS, Width float64
	}
}

// checkLife looks for all stages of an answered frame; they make up its life, but for rounding.
func checkLife(t *testing.T, l life) {
	t.Helper()
	stages := []string{"network", "arriving", "decode", "convert", "queue", "model", "return"}
	sum := 0.0
	for i, row := range l.Rows {
		if i >= len(stages) || row.Stage != stages[i] || row.MS > 0.05 && row.Width <= 0 {
			t.Errorf("stage %d of a frame's life is %+v, want one of %v with a bar", i, row, stages)
		}
		sum += row.MS
	}
	t.Logf("a frame's life: %s %+v", l.About, l)
	if len(l.Rows) != len(stages) || l.Total <= 0 || math.Abs(sum-l.Total) > 0.5*float64(len(stages)+1) || !containsAll(l.About, "for faces, answered") {
		t.Errorf("a frame's life of %g ms: %q; its %d stages take %g ms", l.Total, l.About, len(l.Rows), sum)
	}
}

// checkLooks fails the test for everything that is wrong with how a page looks, to people and to their assistive technology.
func checkLooks(t *testing.T, wrong []string) {
	t.Helper()
	for _, complaint := range wrong {
		t.Error(complaint)
	}
}

// checkNoComplaints ends the script and fails the test if the browser's console shows errors.
func checkNoComplaints(t *testing.T, b *browser) {
	t.Helper()
	for _, complaint := range complaintsOf(t, b) {
		t.Errorf("the page: %s", complaint)
	}
}

// complaintsOf ends the script and gives the errors that the browser's console shows.
func complaintsOf(t *testing.T, b *browser) []string {
	t.Helper()
	var last struct{ Complaints []string }
	b.next(t, &last)
	b.end()
	return last.Complaints
}
