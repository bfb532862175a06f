package publish

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/pkg/wire"
	sluicev1 "github.com/sluice-dev/sluice/proto/gen/sluice/v1"
)

// Report is what became of one published stream.
type Report struct {
	Session string
	Sent    uint32
	// Outcomes, Results, Drops and Errors are what the publisher received; Skipped is what the edge says it lost on the way to the publisher.
	Outcomes, Results, Skipped, Duplicates uint32
	Drops, Errors                          map[string]uint32
	// Latency runs from sending a frame's packets to receiving its result.
	Latency Quantiles
	// Edge holds the edge's own counts, nil until the session has ended.
	Edge []media.StreamCounts
	// Failure says why the stream ended early, empty when it did not.
	Failure string
}

// jsonReport is the report as scripts read it.
type jsonReport struct {
	Session    string            `json:"session"`
	Sent       uint32            `json:"sent"`
	Outcomes   uint32            `json:"outcomes"`
	Results    uint32            `json:"results"`
	Drops      map[string]uint32 `json:"drops"`
	Errors     map[string]uint32 `json:"errors"`
	Skipped    uint32            `json:"skipped"`
	Duplicates uint32            `json:"duplicates"`
	Latency    Quantiles         `json:"latency"`
	Summary    json.RawMessage   `json:"summary,omitempty"`
	Failure    string            `json:"failure,omitempty"`
}

// WriteJSON writes the reports as one JSON object: {"streams":[…]}, latencies in seconds, each with the edge's summary in the contract's form.
func WriteJSON(w io.Writer, reports []Report) error {
	all := struct {
		Streams []jsonReport `json:"streams"`
	}{}
	for _, r := range reports {
		j := jsonReport{
			Session: r.Session, Sent: r.Sent, Outcomes: r.Outcomes, Results: r.Results, Drops: r.Drops, Errors: r.Errors, Skipped: r.Skipped,
			Duplicates: r.Duplicates, Latency: r.Latency, Failure: r.Failure,
		}
		if r.Edge != nil {
			b, err := wire.JSON(&sluicev1.Summary{Session: new(r.Session), Streams: wire.CountsToProto(r.Edge)})
			if err != nil {
				return err
			}
			j.Summary = b
		}
		all.Streams = append(all.Streams, j)
	}
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(all)
}

// Table draws the reports for people. received and not sampled are the edge's and known at the end.
func Table(reports []Report) string {
	t := table.NewWriter()
	t.SetStyle(table.StyleLight)
	t.AppendHeader(table.Row{"#", "session", "sent", "received", "not sampled", "results", "drops", "errors", "p50 ms", "p95 ms", "p99 ms"})
	for i, r := range reports {
		received, notDue := "–", "–"
		if r.Edge != nil {
			var a, b uint32
			for _, s := range r.Edge {
				a, b = a+s.Received, b+s.NotDue
			}
			received, notDue = fmt.Sprint(a), fmt.Sprint(b)
		}
		failures := words(r.Errors)
		if r.Failure != "" {
			failures = strings.TrimSpace(failures + " " + r.Failure)
		}
		milliseconds := func(s float64) string { return fmt.Sprintf("%.1f", s*1000) }
		t.AppendRow(table.Row{
			i + 1, r.Session, r.Sent, received, notDue, r.Results, words(r.Drops), failures,
			milliseconds(r.Latency.P50), milliseconds(r.Latency.P95), milliseconds(r.Latency.P99),
		})
	}
	return t.Render()
}

func words(counts map[string]uint32) string {
	if len(counts) == 0 {
		return "0"
	}
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		parts = append(parts, fmt.Sprintf("%s %d", name, counts[name]))
	}
	return strings.Join(parts, "\n")
}
