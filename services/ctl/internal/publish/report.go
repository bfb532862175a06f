package publish

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/services/ctl/internal/speech"
)

// Report is what became of one published stream.
type Report struct {
	// Session is the public id of its last session, Sessions are all that it had.
	Session  string
	Sessions []SessionReport
	// Sent counts pictures, SoundSent packets of sound, and Lost the packets of either that Config.Loss took.
	Sent, SoundSent, Lost uint32
	// Outcomes, Results, Drops and Errors are what the publisher received; Skipped is what the edge says it lost on the way to the publisher.
	Outcomes, Results, Skipped, Duplicates uint32
	Drops, Errors                          map[string]uint32
	// Latency runs from sending a frame's packets to receiving its result.
	Latency Quantiles
	// Gap and ResultGap are the longest times in which no outcome and no result came, from the first one on until nothing more was sent.
	Gap, ResultGap time.Duration
	// Edge holds the edges' own counts of the sessions that have ended in order, nil before the first.
	Edge []media.StreamCounts
	// Speech is what models heard, by their names.
	Speech []Speech
	// Failure says why the stream ended early, empty when it did not.
	Failure string
}

// SessionReport is one session of a stream.
type SessionReport struct {
	// ID is the public id, empty until the first outcome.
	ID string
	// Start and End are when its sending began and ended, since that of the first one began; End is zero while it lasts.
	Start, End time.Duration
	// Cause says why another one took its place: the edge asked it to leave, ended it or fell silent. Empty for the last one.
	Cause string
	// Edge holds the edge's counts, nil where it did not tell them.
	Edge []media.StreamCounts
}

// Speech is where one model heard speech.
type Speech struct {
	Model string
	// Windows are the results it is made of.
	Windows int
	Spans   []speech.Span
}

// Table draws the reports for people. received and not sampled are the edge's and known at the end.
func Table(reports []Report) string {
	t := table.NewWriter()
	t.SetStyle(table.StyleLight)
	t.AppendHeader(table.Row{"#", "session", "sent", "received", "not sampled", "results", "drops", "errors", "p50 ms", "p95 ms", "p99 ms", "gap ms"})
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
			i + 1, sessions(r), sent(r), received, notDue, r.Results, words(r.Drops), failures,
			milliseconds(r.Latency.P50), milliseconds(r.Latency.P95), milliseconds(r.Latency.P99), r.Gap.Milliseconds(),
		})
	}
	text := t.Render()
	if spans := speechTable(reports); spans != "" {
		text += "\n" + spans
	}
	return text
}

// sessions names the last session and tells how many there were before it.
func sessions(r Report) string {
	if n := len(r.Sessions); n > 1 {
		return fmt.Sprintf("%s\nafter %d others", r.Session, n-1)
	}
	return r.Session
}

// sent tells what left: pictures, packets of sound, or both.
func sent(r Report) string {
	text := fmt.Sprint(r.Sent)
	switch {
	case r.SoundSent > 0 && r.Sent > 0:
		text += fmt.Sprintf("\nsound %d", r.SoundSent)
	case r.SoundSent > 0:
		text = fmt.Sprint(r.SoundSent)
	}
	if r.Lost > 0 {
		text += fmt.Sprintf("\nlost %d", r.Lost)
	}
	return text
}

// speechTable draws when somebody spoke, in seconds of the clip; empty when no model listened.
func speechTable(reports []Report) string {
	t := table.NewWriter()
	t.SetStyle(table.StyleLight)
	t.AppendHeader(table.Row{"#", "model", "speech from s", "to s", "for s", "peak"})
	for i, r := range reports {
		for _, s := range r.Speech {
			if len(s.Spans) == 0 {
				t.AppendRow(table.Row{i + 1, s.Model, fmt.Sprintf("none in %d windows", s.Windows)})
			}
			for _, span := range s.Spans {
				seconds := func(d time.Duration) string { return fmt.Sprintf("%.3f", d.Seconds()) }
				t.AppendRow(table.Row{i + 1, s.Model, seconds(span.Start), seconds(span.End), seconds(span.End - span.Start), fmt.Sprintf("%.2f", span.Peak)})
			}
		}
	}
	if t.Length() == 0 {
		return ""
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
