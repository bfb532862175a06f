package publish

import (
	"encoding/json"
	"io"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/pkg/wire"
	sluicev1 "github.com/sluice-dev/sluice/proto/gen/sluice/v1"
)

// jsonReport is the report as scripts read it, times in seconds.
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
	Gap        float64           `json:"gap"`
	ResultGap  float64           `json:"resultGap"`
	Summary    json.RawMessage   `json:"summary,omitempty"`
	Sessions   []jsonSession     `json:"sessions,omitempty"`
	Speech     []jsonSpeech      `json:"speech,omitempty"`
	Failure    string            `json:"failure,omitempty"`
}

// jsonSession is one session of a stream; its times count from the beginning of the first.
type jsonSession struct {
	Session string          `json:"session"`
	Start   float64         `json:"start"`
	End     float64         `json:"end,omitempty"`
	Cause   string          `json:"cause,omitempty"`
	Summary json.RawMessage `json:"summary,omitempty"`
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

// jsonTotal sums up the streams; the gaps are those of the stream with the longest.
type jsonTotal struct {
	Sessions   int               `json:"sessions"`
	Sent       uint32            `json:"sent"`
	Outcomes   uint32            `json:"outcomes"`
	Results    uint32            `json:"results"`
	Drops      map[string]uint32 `json:"drops"`
	Errors     map[string]uint32 `json:"errors"`
	Skipped    uint32            `json:"skipped"`
	Duplicates uint32            `json:"duplicates"`
	Gap        float64           `json:"gap"`
	ResultGap  float64           `json:"resultGap"`
	Failures   int               `json:"failures"`
}

// WriteJSON writes the reports as one JSON object: {"streams":[…],"total":{…}}, times in seconds, each session with the edge's summary in the contract's form.
func WriteJSON(w io.Writer, reports []Report) error {
	all := struct {
		Streams []jsonReport `json:"streams"`
		Total   jsonTotal    `json:"total"`
	}{Total: total(reports)}
	for _, r := range reports {
		j, err := toJSON(r)
		if err != nil {
			return err
		}
		all.Streams = append(all.Streams, j)
	}
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(all)
}

func toJSON(r Report) (j jsonReport, err error) {
	j = jsonReport{
		Session: r.Session, Sent: r.Sent, Outcomes: r.Outcomes, Results: r.Results, Drops: r.Drops, Errors: r.Errors, Skipped: r.Skipped,
		Duplicates: r.Duplicates, Latency: r.Latency, Failure: r.Failure, Gap: r.Gap.Seconds(), ResultGap: r.ResultGap.Seconds(),
		SoundSent: r.SoundSent, Lost: r.Lost,
	}
	for _, s := range r.Speech {
		heard := jsonSpeech{Model: s.Model, Windows: s.Windows, Spans: []jsonSpan{}}
		for _, span := range s.Spans {
			heard.Spans = append(heard.Spans, jsonSpan{Start: span.Start.Seconds(), End: span.End.Seconds(), Peak: span.Peak})
		}
		j.Speech = append(j.Speech, heard)
	}
	last := r.Edge
	for _, s := range r.Sessions {
		one := jsonSession{Session: s.ID, Start: s.Start.Seconds(), End: s.End.Seconds(), Cause: s.Cause}
		if one.Summary, err = summary(s.ID, s.Edge); err != nil {
			return j, err
		}
		j.Sessions, last = append(j.Sessions, one), s.Edge
	}
	j.Summary, err = summary(r.Session, last)
	return j, err
}

// summary gives an edge's counts of a session as the edge told them, nil for none.
func summary(session string, counts []media.StreamCounts) (json.RawMessage, error) {
	if counts == nil {
		return nil, nil
	}
	return wire.JSON(&sluicev1.Summary{Session: &session, Streams: wire.CountsToProto(counts)})
}

func total(reports []Report) jsonTotal {
	t := jsonTotal{Drops: map[string]uint32{}, Errors: map[string]uint32{}}
	for _, r := range reports {
		t.Sessions += len(r.Sessions)
		t.Sent, t.Outcomes, t.Results = t.Sent+r.Sent, t.Outcomes+r.Outcomes, t.Results+r.Results
		t.Skipped, t.Duplicates = t.Skipped+r.Skipped, t.Duplicates+r.Duplicates
		for name, n := range r.Drops {
			add(t.Drops, name, n)
		}
		for name, n := range r.Errors {
			add(t.Errors, name, n)
		}
		t.Gap, t.ResultGap = max(t.Gap, r.Gap.Seconds()), max(t.ResultGap, r.ResultGap.Seconds())
		if r.Failure != "" {
			t.Failures++
		}
	}
	return t
}
