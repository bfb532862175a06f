package publish

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluice-dev/sluice/services/ctl/internal/clip"
	"github.com/sluice-dev/sluice/services/ctl/internal/edgetest"
	"github.com/sluice-dev/sluice/services/ctl/internal/whip"
)

// watched does one thing after another: the nth when enough outcomes of the nth session have been written.
type watched struct {
	then []func()

	mu       sync.Mutex
	lines    bytes.Buffer
	sessions []string
	seen     int // of the last session
}

// enough outcomes show that a session works.
const enough = 10

func (w *watched) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var l written
	if err := json.Unmarshal(b, &l); err != nil {
		return 0, err
	}
	if !slices.Contains(w.sessions, l.Outcome.Session) {
		w.sessions, w.seen = append(w.sessions, l.Outcome.Session), 0
	}
	n := len(w.sessions) - 1
	if l.Outcome.Session == w.sessions[n] {
		w.seen++
	}
	if w.seen == enough && n < len(w.then) {
		w.seen++
		go w.then[n]() // The writer stands in the way of the edge's further outcomes.
	}
	return w.lines.Write(b)
}

// roaming runs one publisher that reconnects between edges until each of then was done and another session works.
func roaming(t *testing.T, edges []*edgetest.Edge, c *clip.Clip, then ...func()) (Report, []written) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	out := &watched{then: append(then, cancel)}
	cfg := config(t, edges[0], "", c)
	cfg.Edges, cfg.Duration, cfg.Reconnect, cfg.Outcomes = nil, 40*time.Second, true, out
	for _, e := range edges {
		client, err := whip.NewClient(e.URL, "")
		if err != nil {
			t.Fatal(err)
		}
		cfg.Edges = append(cfg.Edges, client)
	}
	reports, err := Run(ctx, cfg)
	if err != nil || len(reports) != 1 {
		t.Fatalf("%d reports, error %v", len(reports), err)
	}
	return reports[0], parse(t, out.lines.String())
}

// TestReconnectOnDrain lets the first edge drain: the next one takes over before the session is ended, which ends in order.
func TestReconnectOnDrain(t *testing.T) {
	edges := []*edgetest.Edge{edgetest.Start(t, edgetest.Options{}), edgetest.Start(t, edgetest.Options{})}
	c := vp8()
	r, lines := roaming(t, edges, c, edges[0].Drain)
	if len(r.Sessions) != 2 || r.Sessions[0].Cause != causeDrain || r.Sessions[1].Cause != "" || edges[0].Sessions() != 1 || edges[1].Sessions() != 1 {
		t.Fatalf("sessions %+v at the edges %d and %d, want one each", r.Sessions, edges[0].Sessions(), edges[1].Sessions())
	}
	first, second := r.Sessions[0], r.Sessions[1]
	if first.Edge == nil || second.Edge == nil || len(r.Edge) != 2 || first.End < second.Start || edges[0].Ended() != 1 {
		t.Errorf("the first session %+v, the second %+v: want both in order, the second begun before the first was ended", first, second)
	}
	if m := r.Edge[0].Models[0].Accepted + r.Edge[1].Models[0].Accepted; r.Outcomes != m || r.Duplicates != 0 {
		t.Errorf("%d outcomes (%d twice), the edges have %d", r.Outcomes, r.Duplicates, m)
	}
	frames := map[int]bool{}
	for _, l := range lines {
		if frames[l.Frame] {
			t.Errorf("frame %d has two lines", l.Frame)
		}
		frames[l.Frame] = true
		want := string(bytes.ToValidUTF8(c.Units[l.ClipFrame], []byte("?")))
		if l.Outcome.Result != nil && l.Outcome.Result.JSON[0] != want {
			t.Errorf("frame %d, of the clip %d, was answered as %.20q", l.Frame, l.ClipFrame, l.Outcome.Result.JSON[0])
		}
	}
}

// TestReconnectOnSilence lets the first edge say nothing any more: the publisher finds out by itself, and tells for how long there was nothing.
func TestReconnectOnSilence(t *testing.T) {
	edges := []*edgetest.Edge{edgetest.Start(t, edgetest.Options{}), edgetest.Start(t, edgetest.Options{})}
	r, _ := roaming(t, edges, vp8(), edges[0].Freeze)
	if len(r.Sessions) != 2 || r.Sessions[0].Cause != causeSilent || r.Sessions[0].Edge != nil || r.Sessions[1].Cause != "" || r.Sessions[1].Edge == nil {
		t.Fatalf("sessions %+v, want a silent one and another", r.Sessions)
	}
	if r.Gap < lostAfter || r.Gap > r.ResultGap || r.ResultGap > 20*time.Second {
		t.Errorf("the longest time without an outcome was %s, without a result %s; want at least %s", r.Gap, r.ResultGap, lostAfter)
	}
	var b bytes.Buffer
	if err := WriteJSON(&b, []Report{r}); err != nil || !strings.Contains(b.String(), `"sessions": 2`) || !strings.Contains(b.String(), causeSilent) {
		t.Errorf("%v: %s", err, b.String())
	}
	if table := Table([]Report{r}); !strings.Contains(table, "after 1 others") {
		t.Errorf("the table does not tell of the first session:\n%s", table)
	}
}

// TestReconnectWhenTheEdgeHangsUp has an edge that ends every session soon; the publisher comes back to it each time.
func TestReconnectWhenTheEdgeHangsUp(t *testing.T) {
	r, _ := roaming(t, []*edgetest.Edge{edgetest.Start(t, edgetest.Options{HangUpAfter: enough + 5})}, vp8(), func() {})
	if len(r.Sessions) < 2 || r.Sessions[0].Cause != causeEnded {
		t.Errorf("sessions %+v, want several that the edge ended", r.Sessions)
	}
}

// An edge that refuses for good is not asked again, with another one left or not.
func TestReconnectRefusedForGood(t *testing.T) {
	e := edgetest.Start(t, edgetest.Options{Token: "sesame"})
	cfg := config(t, e, "wrong", vp8())
	cfg.Reconnect, cfg.Duration = true, time.Hour
	reports, err := Run(t.Context(), cfg)
	if err == nil || !strings.Contains(err.Error(), "401") || reports[0].Failure != err.Error() {
		t.Errorf("reports %+v, error %v; want the refusal", reports, err)
	}
}

// Where every edge drains, the session has ended and then the time is over, the report says so.
func TestReconnectToNobody(t *testing.T) {
	e := edgetest.Start(t, edgetest.Options{HangUpAfter: 2 * enough})
	cfg := config(t, e, "", vp8())
	cfg.Reconnect, cfg.Duration, cfg.Outcomes = true, 2*time.Second, &watched{then: []func(){e.Drain}}
	reports, err := Run(t.Context(), cfg)
	if err == nil || !strings.Contains(err.Error(), "did not come back") || !strings.Contains(err.Error(), "503 DRAINING") {
		t.Errorf("reports %+v, error %v; want that the session did not come back, and why", reports, err)
	}
}

func TestBackoff(t *testing.T) {
	t.Parallel()
	var b backoff
	if wait := b.next(0); wait != 0 {
		t.Errorf("the first round waits %s", wait)
	}
	expected := firstWait
	for round := range 8 {
		wait := b.next(0)
		if low, high := time.Duration(float64(expected)*(1-spread)), time.Duration(float64(expected)*(1+spread)); wait < low || wait > high {
			t.Errorf("round %d waits %s, want %s to %s", round, wait, low, high)
		}
		expected = min(2*expected, longestWait)
	}
	if wait := b.next(7 * time.Second); wait != 7*time.Second {
		t.Errorf("where 7 s are asked for, it waits %s", wait)
	}
}
