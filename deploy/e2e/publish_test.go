//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/sluice-dev/sluice/deploy/e2e/stack"
)

// modelCounts and streamCounts are the contract's Summary as a user reads it; fields that are absent are zero.
type modelCounts struct {
	Model                                         string
	NotSampled, Accepted, Results, InFlight, Late int
	Drops, Errors                                 map[string]int
}

type streamCounts struct {
	Stream                     string
	Received, NotDue, Accepted int
	Models                     []modelCounts
}

type published struct {
	Streams []struct {
		Session                                      string
		Sent, Outcomes, Results, Skipped, Duplicates int
		Drops, Errors                                map[string]int
		Latency                                      struct{ P50, P95, P99 float64 }
		Summary                                      struct{ Streams []streamCounts }
		Failure                                      string
		Gap                                          float64
		Sessions                                     []struct {
			Session, Cause string
			Summary        struct{ Streams []streamCounts }
		}
		SoundSent, Lost int
		Speech          []struct {
			Model   string
			Windows int
			Spans   []span
		}
	}
}

// outcomeLine is a line of sluicectl publish --outcomes.
type outcomeLine struct {
	Publisher, Frame, ClipFrame int
	Latency                     float64
	Outcome                     struct {
		Stream       string
		Sequence     int
		RTPTimestamp uint32
		Model        string
		Result       *struct {
			Detections []struct {
				Label string
				Score float64
				Box   struct{ X, Y, Width, Height float64 }
			}
		}
		Drop  *struct{ Reason string }
		Error *struct{ Code string }
	}
}

// publish runs sluicectl publish to its end.
func publish(t *testing.T, namespace, edge string, duration time.Duration, arguments ...string) (published, []outcomeLine) {
	t.Helper()
	lines := filepath.Join(t.TempDir(), "outcomes.ndjson")
	arguments = append([]string{"publish", "--edge", edge, "--duration", duration.String(), "--json", "-", "--outcomes", lines}, arguments...)
	out := stack.Command(t, namespace, duration+40*time.Second, stack.Binary(t, "sluicectl"), arguments...)
	var p published
	if err := json.Unmarshal([]byte(out), &p); err != nil {
		t.Fatalf("the summary is no JSON: %v\n%s", err, out)
	}
	text, err := os.ReadFile(lines)
	if err != nil {
		t.Fatal(err)
	}
	return p, stack.Lines[outcomeLine](t, string(text))
}

// checkAccount asserts what DESIGN 2.6 says of the counts, and that the publisher saw every outcome that the edge finalised, once.
func checkAccount(t *testing.T, p published) {
	t.Helper()
	for i, s := range p.Streams {
		if s.Failure != "" {
			t.Errorf("stream %d failed: %s", i, s.Failure)
			continue
		}
		if len(s.Summary.Streams) == 0 {
			t.Errorf("stream %d: the edge's summary names no stream", i)
		}
		outcomes := 0
		for _, c := range s.Summary.Streams {
			outcomes += checkCounts(t, c)
		}
		if s.Outcomes+s.Skipped != outcomes || s.Duplicates != 0 {
			t.Errorf("stream %d: %d outcomes received and %d skipped, %d finalised, %d twice", i, s.Outcomes, s.Skipped, outcomes, s.Duplicates)
		}
	}
}

// checkCounts asserts what DESIGN 2.6 says of one stream's counts and gives the number of its outcomes.
func checkCounts(t *testing.T, c streamCounts) (outcomes int) {
	t.Helper()
	if c.Received != c.NotDue+c.Accepted {
		t.Errorf("stream %s: received %d ≠ not due %d + accepted %d", c.Stream, c.Received, c.NotDue, c.Accepted)
	}
	for _, m := range c.Models {
		ended := m.Results + sum(m.Drops) + sum(m.Errors)
		if m.Accepted != ended || m.InFlight != 0 {
			t.Errorf("stream %s, model %s: accepted %d ≠ results %d + drops %v + errors %v (in flight %d)", c.Stream, m.Model, m.Accepted, m.Results, m.Drops, m.Errors, m.InFlight)
		}
		// Units that came before the router had named its models are not in the model's counts.
		if early := c.Received - m.NotSampled - m.Accepted; early < 0 || early > 10 {
			t.Errorf("stream %s, model %s: received %d, not sampled %d, accepted %d", c.Stream, m.Model, c.Received, m.NotSampled, m.Accepted)
		}
		if m.Errors["INTERNAL"] != 0 {
			t.Errorf("stream %s, model %s: %d INTERNAL errors", c.Stream, m.Model, m.Errors["INTERNAL"])
		}
		outcomes += ended
	}
	return outcomes
}

func sum(counts map[string]int) int {
	total := 0
	for _, n := range counts {
		total += n
	}
	return total
}

// Show 3: the boxes lie on the path that the clip's face moves on, at the very frame that the outcome names, whoever encoded the clip: ffmpeg's encoders or GStreamer's.
func TestExactness(t *testing.T) {
	t.Parallel()
	s := stack.Start(t, stack.Options{})
	for _, codec := range []struct{ name, ffmpeg, gstreamer string }{
		{"VP8", "faces-720p30.ivf", "gst-vp8.ivf"},
		{"H.264", "faces-720p30.h264", "gst.h264"},
		{"H.265", "faces-720p30.h265", "gst.h265"},
		{"VP9", "faces-720p30-vp9.ivf", "gst-vp9.ivf"},
		{"AV1", "faces-720p30-av1.ivf", "gst-av1.ivf"},
	} {
		t.Run(codec.name, func(t *testing.T) {
			beside(t, 0.5)
			t.Run("ffmpeg", func(t *testing.T) { checkExact(t, s, codec.ffmpeg, 15) })
			t.Run("GStreamer", func(t *testing.T) { checkExact(t, s, codec.gstreamer, 6) })
		})
	}
}

// checkExact publishes a clip for some seconds.
func checkExact(t *testing.T, s *stack.Stack, clip string, seconds int) {
	t.Helper()
	p, lines := publish(t, "", s.HTTP, time.Duration(seconds)*time.Second, stack.Clip(t, clip), "--model", "faces")
	checkAccount(t, p)
	accepted, boxed := p.Streams[0].Summary.Streams[0].Accepted, 0
	for _, l := range lines {
		if l.Outcome.Result != nil && len(l.Outcome.Result.Detections) > 0 {
			boxed++
		}
	}
	t.Logf("%s: accepted %d, with a box %d, latency p50 %.1f ms p95 %.1f ms", clip, accepted, boxed, p.Streams[0].Latency.P50*1e3, p.Streams[0].Latency.P95*1e3)
	if accepted < 10*seconds || float64(boxed) < 0.95*float64(accepted) {
		t.Errorf("%d of %d accepted frames have a box, want 95 %% of at least %d", boxed, accepted, 10*seconds)
	}
	best, residuals := bestShift(lines)
	t.Logf("%s: mean distance from the path by shift in frames: %v", clip, residuals)
	if best != 0 {
		t.Errorf("the boxes lie best on the path when shifted by %d frames", best)
	}
}

// bestShift gives the shift of −4…+4 frames at which the boxes' centres lie best on the clip's path (deploy/e2e/clips/make.sh), and each shift's mean distance in pixels. Where the
// face lies in its picture is not known, so each shift has its best constant offset.
func bestShift(lines []outcomeLine) (best int, residuals map[int]string) {
	residuals = map[int]string{}
	least := math.Inf(1)
	for shift := -4; shift <= 4; shift++ {
		var dx, dy []float64
		for _, l := range lines {
			if l.Outcome.Result == nil || len(l.Outcome.Result.Detections) == 0 {
				continue
			}
			b := l.Outcome.Result.Detections[0].Box
			n := float64(l.ClipFrame + shift)
			dx = append(dx, (b.X+b.Width/2)*1280-280*math.Sin(2*math.Pi*n/60))
			dy = append(dy, (b.Y+b.Height/2)*720-90*math.Sin(2*math.Pi*n/90))
		}
		mx, my, distance := mean(dx), mean(dy), 0.0
		for i := range dx {
			distance += math.Hypot(dx[i]-mx, dy[i]-my) / float64(len(dx))
		}
		residuals[shift] = fmt.Sprintf("%.1f", distance)
		if distance < least {
			best, least = shift, distance
		}
	}
	return best, residuals
}

func mean(values []float64) float64 {
	total := 0.0
	for _, v := range values {
		total += v
	}
	return total / float64(len(values))
}

// Show 5: four streams share the machine fairly, and every count agrees with every other, wherever it is read.
func TestFourStreamsAddUp(t *testing.T) {
	beside(t, 0.8)
	s := stack.Start(t, stack.Options{})
	p, _ := publish(t, "", s.HTTP, 20*time.Second, stack.Clip(t, "faces-720p30.ivf"), "--streams", "4")
	checkAccount(t, p)
	worst, total := math.MaxInt, 0
	for i, stream := range p.Streams {
		worst, total = min(worst, stream.Results), total+stream.Results
		t.Logf("stream %d: sent %d, results %d, drops %v, errors %v, latency %+v", i, stream.Sent, stream.Results, stream.Drops, stream.Errors, stream.Latency)
	}
	if len(p.Streams) != 4 || worst < 40 || float64(worst) < 0.7*float64(total)/4 {
		t.Errorf("%d streams, worst %d results, mean %d: want 4 streams with at least 40, the worst at 0.7 of the mean or more", len(p.Streams), worst, total/4)
	}

	// The same totals from the summaries, the edge's metrics, the edge's and the router's inspection.
	want := modelCounts{Drops: map[string]int{}, Errors: map[string]int{}}
	for _, stream := range p.Streams {
		for _, c := range stream.Summary.Streams {
			for _, m := range c.Models {
				want.Accepted, want.Results = want.Accepted+m.Accepted, want.Results+m.Results
				for reason, n := range m.Drops {
					want.Drops[reason] += n
				}
				for code, n := range m.Errors {
					want.Errors[code] += n
				}
			}
		}
	}
	checkMetrics(t, s, want)
	checkInspection(t, s, want)
}

func checkMetrics(t *testing.T, s *stack.Stack, want modelCounts) {
	t.Helper()
	edge := func(kind string, labels ...string) int {
		return int(s.Metric(t, s.EdgeAdmin, "sluice_edge_outcomes_total", append(labels, "model=faces", "kind="+kind)...))
	}
	if got := edge("result"); got != want.Results {
		t.Errorf("the edge's metrics have %d results, the summaries %d", got, want.Results)
	}
	if got := edge("drop"); got != sum(want.Drops) {
		t.Errorf("the edge's metrics have %d drops, the summaries %v", got, want.Drops)
	}
	if got := edge("error"); got != sum(want.Errors) {
		t.Errorf("the edge's metrics have %d errors, the summaries %v", got, want.Errors)
	}
	if got := int(s.Metric(t, s.EdgeAdmin, "sluice_edge_accepted_total", "model=faces")); got != want.Accepted {
		t.Errorf("the edge's metrics have %d accepted, the summaries %d", got, want.Accepted)
	}
}

func checkInspection(t *testing.T, s *stack.Stack, want modelCounts) {
	t.Helper()
	var list struct{ Totals []modelCounts }
	out := grpcurl(t, "", s.EdgeGRPC, "sluice.v1.InspectService/ListSessions")
	if err := json.Unmarshal([]byte(out), &list); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	if len(list.Totals) != 1 {
		t.Fatalf("totals of %d models, want 1: %s", len(list.Totals), out)
	}
	got := list.Totals[0]
	if got.Accepted != want.Accepted || got.Results != want.Results || sum(got.Drops) != sum(want.Drops) || sum(got.Errors) != sum(want.Errors) {
		t.Errorf("ListSessions at the edge totals %+v, the summaries %+v", got, want)
	}
}

// grpcurl calls a service with nothing but its reflection.
func grpcurl(t *testing.T, data, address string, arguments ...string) string {
	t.Helper()
	all := []string{"-plaintext"}
	if data != "" {
		all = append(all, "-d", data)
	}
	return stack.Command(t, "", 30*time.Second, stack.Tool(t, "grpcurl"), append(append(all, address), arguments...)...)
}

// Show 6: a bare grpcurl describes the router and follows the very outcomes that the client gets.
func TestGrpcurlWatchesTheRouter(t *testing.T) {
	beside(t, 0.3)
	s := stack.Start(t, stack.Options{})
	if list := grpcurl(t, "", s.RouterGRPC, "list"); !containsAll(list, "sluice.v1.RouterService", "sluice.v1.InspectService", "grpc.health.v1.Health") {
		t.Errorf("grpcurl list: %s", list)
	}
	if text := grpcurl(t, "", s.RouterGRPC, "describe", "sluice.v1.RouterService"); !containsAll(text, "rpc Stream ( stream .sluice.v1.StreamRequest ) returns ( stream .sluice.v1.StreamResponse )") {
		t.Errorf("grpcurl describe: %s", text)
	}
	watched := make(chan string, 1)
	go func() { watched <- grpcurl(t, `{"limit":25}`, s.RouterGRPC, "sluice.v1.InspectService/WatchOutcomes") }()
	p, lines := publish(t, "", s.HTTP, 8*time.Second, stack.Clip(t, "faces-720p30.ivf"))
	checkAccount(t, p)
	type watchedOutcome struct {
		Outcome struct {
			Session, Stream, Model string
			Sequence               int
		}
	}
	seen := map[string]bool{}
	for _, l := range lines {
		seen[fmt.Sprint(l.Outcome.Stream, l.Outcome.Sequence, l.Outcome.Model)] = true
	}
	outcomes := stack.Lines[watchedOutcome](t, <-watched)
	if len(outcomes) < 20 {
		t.Errorf("grpcurl printed %d outcomes, want 20 or more", len(outcomes))
	}
	for _, w := range outcomes {
		o := w.Outcome
		if o.Session != p.Streams[0].Session || !seen[fmt.Sprint(o.Stream, o.Sequence, o.Model)] {
			t.Errorf("the router says %+v, which the client never got", o)
		}
	}
}
