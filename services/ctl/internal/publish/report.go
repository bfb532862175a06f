package publish

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/pkg/wire"
	sluicev1 "github.com/sluice-dev/sluice/proto/gen/sluice/v1"
	"github.com/sluice-dev/sluice/services/ctl/internal/speech"
)

// Report is what became of one published stream.
type Report struct {
	Session string
	// Sent counts pictures, SoundSent packets of sound, and Lost the packets of either that Config.Loss took.
	Sent, SoundSent, Lost uint32
	// Outcomes, Results, Drops and Errors are what the publisher received; Skipped is what the edge says it lost on the way to the publisher.
	Outcomes, Results, Skipped, Duplicates uint32
	Drops, Errors                          map[string]uint32
	// Latency runs from sending a frame's packets to receiving its result.
	Latency Quantiles
	// Edge holds the edge's own counts, nil until the session has ended.
	Edge []media.StreamCounts
	// Speech is what models heard, by their names.
	Speech []Speech
	// Failure says why the stream ended early, empty when it did not.
	Failure string
}

// Speech is where one model heard speech.
type Speech struct {
	Model string
	// Windows are the results it is made of.
	Windows int
	Spans   []speech.Span
}

// jsonReport is the report as scripts read it.
type jsonReport struct {
	Session    string            `json:"session"`
	Sent       uint32            `json:"sent"`
	SoundSent  uint32            `json:"soundSent,omitempty"`
	Lost       uint32            `json:"lost,omitempty"`
	Outcomes   uint32            `json:"outcomes"`
	Results    uint32            `json:"results"`
	Drops      map[string]uint32 `json:"drops"`
	Errors     map[string]uint32 `json:"errors"`
	Skipped    uint32            `json:"skipped"`
	Duplicates uint32            `json:"duplicates"`
	Latency    Quantiles         `json:"latency"`
	Summary    json.RawMessage   `json:"summary,omitempty"`
	Speech     []jsonSpeech      `json:"speech,omitempty"`
	Failure    string            `json:"failure,omitempty"`
}

// jsonSpeech is where a model heard speech, in seconds of the clip.
type jsonSpeech struct {
	Model   string     `json:"model"`
	Windows int        `json:"windows"`
	Spans   []jsonSpan `json:"spans"`
}

type jsonSpan struct {
	Start float64 `json:"start"`
	End   float64 `json:"end"`
	Peak  float64 `json:"peak"`
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
			SoundSent: r.SoundSent, Lost: r.Lost,
		}
		for _, s := range r.Speech {
			heard := jsonSpeech{Model: s.Model, Windows: s.Windows, Spans: []jsonSpan{}}
			for _, span := range s.Spans {
				heard.Spans = append(heard.Spans, jsonSpan{Start: span.Start.Seconds(), End: span.End.Seconds(), Peak: span.Peak})
			}
			j.Speech = append(j.Speech, heard)
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
			i + 1, r.Session, sent(r), received, notDue, r.Results, words(r.Drops), failures,
			milliseconds(r.Latency.P50), milliseconds(r.Latency.P95), milliseconds(r.Latency.P99),
		})
	}
	text := t.Render()
	if spans := speechTable(reports); spans != "" {
		text += "\n" + spans
	}
	return text
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
