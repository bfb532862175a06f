//go:build e2e

package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluice-dev/sluice/deploy/e2e/stack"
)

// threeModels has two models of different size for one camera and one whose server is not there.
const threeModels = `
onnx: {library: "@CACHE@/onnxruntime/libonnxruntime.so"}
models:
  - name: faces
    backend: {onnx: {path: "@CACHE@/models/faces.onnx", threads: 1}}
    input: {width: 384, height: 224, fit: letterbox, color: RGB, layout: NCHW, dtype: FP32}
    output: {decoder: centerface}
    rate: 10
  - name: small
    backend: {onnx: {path: "@CACHE@/models/faces.onnx", threads: 1}}
    input: {width: 192, height: 128, fit: letterbox, color: RGB, layout: NCHW, dtype: FP32}
    output: {decoder: centerface}
    rate: 5
  - name: absent
    backend: {oip: {targets: ["127.0.0.1:%d"], model: absent}}
    input: {width: 64, height: 64, fit: stretch, color: RGB, layout: NCHW, dtype: FP32}
    output: {decoder: tensors}
    rate: 2
`

// Several models at once: each has its row and its numbers, one that is not ready is named, and one can be left out.
func TestThePageWithModels(t *testing.T) {
	beside(t, 1)
	b := visit(t, stack.Start(t, stack.Options{Router: fmt.Sprintf(threeModels, stack.FreePort(t))}), "models")
	var shown struct {
		Rows  [][]string
		Chips string
		Wrong []string
	}
	b.next(t, &shown)
	checkNoComplaints(t, b)
	checkLooks(t, shown.Wrong)
	names := make([]string, len(shown.Rows))
	for i, row := range shown.Rows {
		names[i] = row[0]
	}
	t.Logf("the models' rows: %v", shown.Rows)
	if !slices.Equal(names, []string{"absent", "faces", "small"}) || shown.Rows[0][1] != "0" || shown.Rows[1][1] == "0" || shown.Rows[2][1] == "0" {
		t.Errorf("the models' rows are %v", shown.Rows)
	}
	if !containsAll(shown.Chips, "faces", "small", "absent", "not ready") {
		t.Errorf("the models to choose from are %q", shown.Chips)
	}
}

// All of the page by keyboard, shortcuts that can be turned off, and another camera in the middle of a session.
func TestThePageByKeyboard(t *testing.T) {
	beside(t, 1)
	b := visit(t, stack.Start(t, stack.Options{}), "keyboard")
	var shown struct {
		Visited, Picks, Theme []string
		Mirror                bool
		Cameras               struct {
			Was, Is     string
			SameSession bool
		}
		Off, Focus string
	}
	b.next(t, &shown)
	checkNoComplaints(t, b)
	if !slices.Contains(shown.Visited, "camera") || !slices.Contains(shown.Visited, "help") {
		t.Errorf("the tab key leads to %v", shown.Visited)
	}
	if !shown.Mirror || !slices.Equal(shown.Picks, []string{"slowest", "given-up", "average", "newest"}) || !slices.Equal(shown.Theme, []string{"light", "dark", "light dark"}) {
		t.Errorf("keys turned the mirror: %t, picked %v, and gave the colours %v", shown.Mirror, shown.Picks, shown.Theme)
	}
	if shown.Off != "live" {
		t.Errorf("with shortcuts turned off, X led to the state %q", shown.Off)
	}
	if c := shown.Cameras; c.Was == c.Is || c.Is == "" || !c.SameSession {
		t.Errorf("the change of the camera: %+v", c)
	}
	if shown.Focus != "camera" {
		t.Errorf("after a stop the focus is on %q", shown.Focus)
	}
}

// An edge that wants a token: the page asks for it, and again after a wrong one.
func TestThePageAsksForAToken(t *testing.T) {
	beside(t, 0.6)
	const token = "a-token-of-the-tests"
	options := visitor(t, stack.Start(t, stack.Options{EdgeFlags: []string{"--http.tokens", token}}))
	options["scene"], options["token"] = "token", token
	b := browse(t, "page.mjs", 2*time.Minute, options)
	var shown struct {
		Follow string
		Wrong  []string
	}
	b.next(t, &shown)
	checkLooks(t, shown.Wrong)
	if !containsAll(shown.Follow, "Authorization: Bearer $TOKEN", "/results") || strings.Contains(shown.Follow, token) {
		t.Errorf("the page tells how to follow the session: %q", shown.Follow)
	}
	for _, complaint := range complaintsOf(t, b) {
		if !strings.Contains(complaint, "401 (Unauthorized)") { // noted by the browser itself
			t.Errorf("the page: %s", complaint)
		}
	}
}

// A router that goes away and comes back costs no session, and the page says what is going on.
func TestThePageWithoutARouter(t *testing.T) {
	beside(t, 0.8)
	s := stack.Start(t, stack.Options{})
	b := visit(t, s, "routerless")
	var shown struct {
		Live, SameSession bool
		Advice            string
		Wrong             []string
	}
	b.next(t, &shown)
	s.Router.Stop(t)
	b.next(t, &shown)
	checkLooks(t, shown.Wrong)
	if !containsAll(shown.Advice, "lost its router") {
		t.Errorf("without a router the page says %q", shown.Advice)
	}
	s.StartRouter(t)
	b.next(t, &shown)
	if !shown.SameSession {
		t.Error("the router's restart cost the session")
	}
	for _, complaint := range complaintsOf(t, b) {
		if !strings.Contains(complaint, "/models") { // noted by the browser itself while there is no router
			t.Errorf("the page: %s", complaint)
		}
	}
}

// errorWords are some of the words that the page has to find for each problem.
var errorWords = map[string][]string{
	"NO_CAMERA":          {"No camera found", "Plug one in", "Try again"},
	"CAMERA_DENIED":      {"camera is not allowed", "address bar"},
	"CAMERA_BUSY":        {"cannot be opened", "another program"},
	"CAMERA_UNFIT":       {"camera is gone", "Choose another camera"},
	"NO_MICROPHONE":      {"microphone cannot be used", "allow the microphone"},
	"INSECURE":           {"secure pages only", "http://localhost:8080", "ssh -L"},
	"NO_WEBRTC":          {"no WebRTC", "current Firefox"},
	"SCREEN_DENIED":      {"No screen was shared"},
	"NO_SCREEN":          {"cannot share a screen"},
	"FILE_UNREADABLE":    {"cannot be shown", "ffmpeg"},
	"EDGE_UNREACHABLE":   {"edge does not answer", "Is it running"},
	"BAD_ANSWER":         {"not an answer of an edge", "proxy"},
	"ORIGIN_NOT_ALLOWED": {"may not use that edge", "http.origins"},
	"UNKNOWN_MODEL":      {"does not know that model", "cats"},
	"UNSUPPORTED_CODEC":  {"No common codec"},
	"NO_ROUTER":          {"no router yet", "router.target"},
	"TOO_MANY_SESSIONS":  {"edge is full", "in 5 seconds"},
	"DRAINING":           {"shutting down", "in 1 second."},
	"SDP_TOO_LARGE":      {"did not work", "at most 16 media descriptions", "SDP_TOO_LARGE"},
	"HTTP_502":           {"did not work", "HTTP_502"},
	"ICE_FAILED":         {"No way through", "udp 127.0.0.1:", "8189, UDP and TCP"},
}

// Everything that can go wrong is told in words, and looks as it should on a desk and on a phone.
func TestThePageTellsErrors(t *testing.T) {
	beside(t, 1.2)
	b := browse(t, "errors.mjs", 4*time.Minute, visitor(t, stack.Start(t, stack.Options{})))
	for range errorWords {
		var shown struct {
			Code, Said string
			Wrong      []string
		}
		b.next(t, &shown)
		checkLooks(t, shown.Wrong)
		words, known := errorWords[shown.Code]
		if !known || !containsAll(shown.Said, words...) {
			t.Errorf("%s: the page says %q, want %q", shown.Code, shown.Said, words)
		}
	}
	b.end()
}

// Somebody watches a session on another page, while it lasts, to its end, and after it.
func TestTheWatchPage(t *testing.T) {
	beside(t, 1.2)
	s := stack.Start(t, stack.Options{})
	b := browse(t, "watch.mjs", 3*time.Minute, visitor(t, s))
	var shown struct {
		ID, Address, Happening, Looked, P50, Unknown string
		Message                                      map[string]any
		Summary                                      [][]string
		Wrong, Complaints                            []string
	}
	b.next(t, &shown)
	b.end()
	checkLooks(t, append(shown.Wrong, shown.Complaints...))
	if !strings.HasSuffix(shown.Address, "/watch?session="+shown.ID) || !containsAll(shown.Happening, "2 streams", "“faces”", "“speech”") || shown.Looked == "–" || shown.P50 == "–" {
		t.Errorf("the page at %s sees %q, %s frames a second, %s ms", shown.Address, shown.Happening, shown.Looked, shown.P50)
	}
	if len(shown.Message) != 1 {
		t.Errorf("the message chosen is %v", shown.Message)
	}
	for _, row := range shown.Summary {
		model := row[0][strings.LastIndex(row[0], " ")+1:]
		results := fmt.Sprint(s.Metric(t, s.EdgeAdmin, "sluice_edge_outcomes_total", "kind=result", "model="+model))
		if answered := strings.ReplaceAll(row[3], ",", ""); answered != results {
			t.Errorf("the final counts of %s are %v; the edge gave %s results", model, row, results)
		}
	}
	if len(shown.Summary) != 2 || !containsAll(shown.Unknown, "No such session", "Watch another") {
		t.Errorf("the final counts are %v; of an unknown session the page says %q", shown.Summary, shown.Unknown)
	}
}
