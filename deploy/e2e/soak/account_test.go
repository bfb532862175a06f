//go:build soak

package soak

import (
	"encoding/json"
	"fmt"
	"sync"
	"testing"

	"github.com/sluice-dev/sluice/deploy/e2e/stack"
)

// modelCounts and streamCounts are the contract's Summary; fields that are absent are zero.
type modelCounts struct {
	Model                                   string
	NotSampled, Accepted, Results, InFlight int
	Drops, Errors                           map[string]int
}

type streamCounts struct {
	Stream                     string
	Received, NotDue, Accepted int
	Models                     []modelCounts
}

// serverMessage is what the soak reads of the edge's messages.
type serverMessage struct {
	Outcome *outcome
	Skipped int
	Summary *struct {
		Session string
		Streams []streamCounts
	}
}

type outcome struct {
	Session, Stream, Model string
	Sequence               int
	RTPTimestamp           uint32
	Result                 *struct {
		Tensors []struct{ Values []int }
		Speech  []struct{ Probability float64 }
	}
	Drop  *struct{ Reason string }
	Error *struct{ Code string }
}

// book is one session's account as its client sees it: every outcome of its event stream, checked as it comes, and the summary at the end.
type book struct {
	session string
	// right tells whether a result is about what this client sent.
	right func(o *outcome) error

	seen              map[string]bool
	outcomes, results int
	skipped           int
	summary           []streamCounts
	summarised        bool
}

// take checks a message.
func (b *book) take(text []byte) error {
	var m serverMessage
	if err := json.Unmarshal(text, &m); err != nil {
		return fmt.Errorf("%w in %s", err, text)
	}
	b.skipped += m.Skipped
	if m.Summary != nil {
		if b.summarised || m.Summary.Session != b.session {
			return fmt.Errorf("a second summary, or another session's: %s", text)
		}
		b.summary, b.summarised = m.Summary.Streams, true
	}
	if m.Outcome == nil {
		return nil
	}
	o := m.Outcome
	key := fmt.Sprint(o.Stream, " ", o.Sequence, " ", o.Model)
	switch {
	case o.Session != b.session:
		return fmt.Errorf("an outcome of another session: %s", text)
	case b.seen[key]:
		return fmt.Errorf("a second outcome for one unit: %s", text)
	case b.summarised:
		return fmt.Errorf("an outcome after the summary: %s", text)
	case o.Error != nil && o.Error.Code == "INTERNAL":
		return fmt.Errorf("a defect: %s", text)
	}
	b.seen[key] = true
	b.outcomes++
	if o.Result == nil {
		return nil
	}
	b.results++
	if err := b.right(o); err != nil {
		return fmt.Errorf("%w: %s", err, text)
	}
	return nil
}

// check holds the outcomes that came against the summary.
func (b *book) check() error {
	if !b.summarised {
		return fmt.Errorf("the session ended without a summary")
	}
	finalised := 0
	for _, s := range b.summary {
		if s.Received != s.NotDue+s.Accepted {
			return fmt.Errorf("received ≠ not due + accepted: %+v", s)
		}
		for _, m := range s.Models {
			if m.Accepted != m.Results+sum(m.Drops)+sum(m.Errors) || m.InFlight != 0 {
				return fmt.Errorf("accepted ≠ results + drops + errors, or some in flight: %+v", m)
			}
			finalised += m.Accepted
		}
	}
	if finalised != b.outcomes+b.skipped {
		return fmt.Errorf("%d outcomes and %d skipped of %d finalised", b.outcomes, b.skipped, finalised)
	}
	return nil
}

// total adds up the sessions' accounts. It is safe for concurrent use.
type total struct {
	mu       sync.Mutex
	sessions map[string]int // by how they ended
	failures []string
	received int
	counts   modelCounts
}

func newTotal() *total {
	return &total{sessions: map[string]int{}, counts: modelCounts{Drops: map[string]int{}, Errors: map[string]int{}}}
}

// add takes a session that has ended.
func (sums *total) add(ending string, summary []streamCounts, err error) {
	sums.mu.Lock()
	defer sums.mu.Unlock()
	sums.sessions[ending]++
	if err != nil {
		sums.failures = append(sums.failures, ending+": "+err.Error())
	}
	for _, s := range summary {
		sums.received += s.Received
		for _, m := range s.Models {
			sums.counts.Accepted += m.Accepted
			sums.counts.Results += m.Results
			for reason, n := range m.Drops {
				sums.counts.Drops[reason] += n
			}
			for code, n := range m.Errors {
				sums.counts.Errors[code] += n
			}
		}
	}
}

// ended gives the number of sessions that have ended, and those that failed.
func (sums *total) ended() (ended, failed int) {
	sums.mu.Lock()
	defer sums.mu.Unlock()
	return sum(sums.sessions), len(sums.failures)
}

// checkMetrics holds the sums of all summaries against the metrics of both services.
func (sums *total) checkMetrics(t *testing.T, s *stack.Stack) {
	t.Helper()
	equal := func(what string, want int, admin, name string, labels ...string) {
		t.Helper()
		if got := int(s.Metric(t, admin, name, labels...)); got != want {
			t.Errorf("%s: the metric %s %v says %d, the summaries say %d", what, name, labels, got, want)
		}
	}
	equal("units received", sums.received, s.EdgeAdmin, "sluice_edge_units_received_total")
	equal("accepted", sums.counts.Accepted, s.EdgeAdmin, "sluice_edge_accepted_total")
	equal("results", sums.counts.Results, s.EdgeAdmin, "sluice_edge_outcomes_total", "kind=result")
	for reason, n := range sums.counts.Drops {
		equal("drops", n, s.EdgeAdmin, "sluice_edge_outcomes_total", "kind=drop", "reason="+reason)
	}
	for code, n := range sums.counts.Errors {
		equal("errors", n, s.EdgeAdmin, "sluice_edge_outcomes_total", "kind=error", "reason="+code)
	}
	equal("drops", sum(sums.counts.Drops), s.EdgeAdmin, "sluice_edge_outcomes_total", "kind=drop")
	equal("errors", sum(sums.counts.Errors), s.EdgeAdmin, "sluice_edge_outcomes_total", "kind=error")
	equal("in flight at the edge", 0, s.EdgeAdmin, "sluice_edge_in_flight")
	equal("in flight at the router", 0, s.RouterAdmin, "sluice_router_in_flight")
	equal("sessions at the router", 0, s.RouterAdmin, "sluice_router_sessions")
	// What was on its way when its session's call ended has not arrived; the edge's books say ROUTER_LOST of it.
	sent, arrived := int(s.Metric(t, s.EdgeAdmin, "sluice_edge_uplink_frames_sent_total")), int(s.Metric(t, s.RouterAdmin, "sluice_router_frames_received_total"))
	if lost := sent - arrived; lost < 0 || lost > sums.counts.Errors["ROUTER_LOST"] {
		t.Errorf("the edge sent %d frames, %d arrived, and %d ended as ROUTER_LOST", sent, arrived, sums.counts.Errors["ROUTER_LOST"])
	}
	equal("the router's own account", int(s.Metric(t, s.RouterAdmin, "sluice_router_accepted_total")), s.RouterAdmin, "sluice_router_outcomes_total")
}

func sum(counts map[string]int) int {
	n := 0
	for _, c := range counts {
		n += c
	}
	return n
}
