package downlink

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"testing"

	"go.uber.org/goleak"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/pkg/wire"
	sluicev1 "github.com/sluice-dev/sluice/proto/gen/sluice/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func outcome(stream string, sequence uint32) *sluicev1.ServerMessage {
	o := media.Outcome{Session: "s", Stream: stream, Sequence: sequence, Model: "faces", Drop: media.Superseded}
	return &sluicev1.ServerMessage{Body: &sluicev1.ServerMessage_Outcome{Outcome: wire.OutcomeToProto(o)}}
}

func report(ssrc uint32) *sluicev1.ServerMessage {
	return &sluicev1.ServerMessage{Body: &sluicev1.ServerMessage_SenderReport{
		SenderReport: wire.SenderReportToProto(media.SenderReport{SSRC: ssrc}),
	}}
}

func publish(t *testing.T, h *Hub, messages ...*sluicev1.ServerMessage) {
	t.Helper()
	for _, m := range messages {
		if err := h.Publish(m); err != nil {
			t.Fatalf("Publish(%v): %v", m, err)
		}
	}
}

func subscribe(t *testing.T, h *Hub, after uint64) *Sink {
	t.Helper()
	s, err := h.Subscribe(after)
	if err != nil {
		t.Fatalf("Subscribe: %v", err)
	}
	return s
}

func rest(t *testing.T, s *Sink) (ms []Message) {
	t.Helper()
	for {
		m, err := s.Next(t.Context())
		if errors.Is(err, io.EOF) {
			return ms
		}
		if err != nil {
			t.Fatalf("Next: %v", err)
		}
		ms = append(ms, m)
	}
}

func sameJSON(t *testing.T, got []byte, want string) {
	t.Helper()
	var g, w any
	if err := json.Unmarshal(got, &g); err != nil {
		t.Fatalf("%s: %v", got, err)
	}
	if err := json.Unmarshal([]byte(want), &w); err != nil {
		t.Fatalf("%s: %v", want, err)
	}
	if !reflect.DeepEqual(g, w) {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestMessages(t *testing.T) {
	t.Parallel()
	h := NewHub()
	publish(t, h,
		outcome("camera", 1),
		&sluicev1.ServerMessage{Body: &sluicev1.ServerMessage_Demand{Demand: wire.DemandToProto(media.Demand{Stream: "camera", MaxFramerate: 10})}},
		report(9),
		&sluicev1.ServerMessage{Body: &sluicev1.ServerMessage_Drain{Drain: &sluicev1.Drain{ReconnectWithin: new(20.0)}}},
		&sluicev1.ServerMessage{Body: &sluicev1.ServerMessage_Summary{Summary: &sluicev1.Summary{Session: new("s")}}},
	)
	h.Close()
	want := []struct {
		kind   Kind
		stream string
		json   string
	}{
		{KindOutcome, "camera", `{"outcome":{"session":"s","stream":"camera","sequence":1,"model":"faces","drop":{"reason":"SUPERSEDED"}}}`},
		{"demand", "camera", `{"demand":{"stream":"camera","maxFramerate":10}}`},
		{"senderReport", "", `{"senderReport":{"ssrc":9,"rtpTimestamp":0,"ntpMillis":-2208988800000}}`},
		{"drain", "", `{"drain":{"reconnectWithin":20}}`},
		{KindSummary, "", `{"summary":{"session":"s"}}`},
	}
	got := rest(t, subscribe(t, h, 0))
	if len(got) != len(want) {
		t.Fatalf("got %d messages, want %d", len(got), len(want))
	}
	for i, w := range want {
		if g := got[i]; g.ID != uint64(i+1) || g.Kind != w.kind || g.Stream != w.stream {
			t.Errorf("message %d is %d %q of %q, want %d %q of %q", i, g.ID, g.Kind, g.Stream, i+1, w.kind, w.stream)
		}
		sameJSON(t, got[i].JSON, w.json)
	}
}

func TestSlowSink(t *testing.T) {
	t.Parallel()
	h := NewHub()
	slow, onlyReports := subscribe(t, h, 0), h.Attach(0, func(m Message) bool { return m.Kind == "senderReport" })
	const outcomes = keptMessages + 100
	publish(t, h, report(1)) // lost, and not counted since it is no outcome
	for i := range uint32(outcomes) {
		publish(t, h, outcome("camera", i+1))
	}
	publish(t, h, report(2))
	h.Close()
	got := rest(t, slow)
	lost := outcomes - (keptMessages - 1)
	if len(got) != keptMessages+1 || got[0].Kind != KindSkipped || got[0].ID != 0 {
		t.Fatalf("got %d messages, the first %+v; want %d, the first skipped", len(got), got[0], keptMessages+1)
	}
	sameJSON(t, got[0].JSON, fmt.Sprintf(`{"skipped":%d}`, lost))
	sameJSON(t, got[1].JSON, fmt.Sprintf(
		`{"outcome":{"session":"s","stream":"camera","sequence":%d,"model":"faces","drop":{"reason":"SUPERSEDED"}}}`, lost+1))
	if last := got[len(got)-1]; last.Kind != "senderReport" {
		t.Errorf("the newest message is %+v, want the second report", last)
	}
	if got := rest(t, onlyReports); len(got) != 1 || got[0].Kind != "senderReport" {
		t.Errorf("a sink that wants no outcomes got %+v, want one report and no word of loss", got)
	}
}

// A reader that takes nothing for a while gets the newest outcome next, is told how many it missed, and misses nothing that does not go stale.
func TestUndelivered(t *testing.T) {
	t.Parallel()
	demand := &sluicev1.ServerMessage{Body: &sluicev1.ServerMessage_Demand{Demand: wire.DemandToProto(media.Demand{Stream: "camera", MaxFramerate: 5})}}
	h := NewHub()
	s := subscribe(t, h, 0)
	next := func() Message {
		t.Helper()
		m, err := s.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	publish(t, h, outcome("camera", 1))
	alone := next()
	s.Undelivered(alone)
	if m := next(); m.ID != alone.ID {
		t.Errorf("the only outcome was replaced by %+v", m)
	}
	s.Undelivered(alone)
	publish(t, h, report(1), demand, outcome("camera", 2), report(2), outcome("camera", 3), report(3))
	for range 3 { // tried in vain, whatever comes first
		s.Undelivered(next())
	}
	publish(t, h, outcome("camera", 4))
	s.Undelivered(next())
	h.Close()
	var kinds []string
	for _, m := range rest(t, s) {
		kinds = append(kinds, string(m.JSON))
	}
	want := []string{
		`{"skipped":1}`,
		`{"demand":{"stream":"camera","maxFramerate":5}}`,
		`{"skipped":2}`,
		`{"outcome":{"session":"s","stream":"camera","sequence":4,"model":"faces","drop":{"reason":"SUPERSEDED"}}}`,
	}
	if len(kinds) != len(want) {
		t.Fatalf("got %q, want %q", kinds, want)
	}
	for i := range want {
		sameJSON(t, []byte(kinds[i]), want[i])
	}
}

func TestResume(t *testing.T) {
	t.Parallel()
	h := NewHub()
	first := subscribe(t, h, Live)
	publish(t, h, outcome("camera", 1), outcome("camera", 2), outcome("camera", 3))
	m, err := first.Next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	first.Close()
	second := subscribe(t, h, m.ID)
	h.Close()
	if got := rest(t, second); len(got) != 2 || got[0].ID != 2 || got[1].ID != 3 {
		t.Errorf("resumed with %+v, want 2 and 3", got)
	}
}

func TestRefused(t *testing.T) {
	t.Parallel()
	h := NewHub()
	if err := h.Publish(&sluicev1.ServerMessage{}); err == nil {
		t.Error("a message without a body was published")
	}
	if err := h.Publish(outcome("camera\xff", 1)); err == nil {
		t.Error("a message that is not UTF-8 was published")
	}
	for range maxSinks {
		subscribe(t, h, 0)
	}
	if _, err := h.Subscribe(0); !errors.Is(err, ErrTooManySinks) {
		t.Errorf("sink %d: error %v, want ErrTooManySinks", maxSinks+1, err)
	}
	own := h.Attach(0, nil)
	publish(t, h, outcome("camera", 1))
	if m, err := own.Next(t.Context()); err != nil || m.Stream != "camera" {
		t.Errorf("the session's own sink beside all others gets %+v, %v", m, err)
	}
	h.Close()
	if err := h.Publish(outcome("camera", 1)); !errors.Is(err, ErrClosed) {
		t.Errorf("Publish after Close: %v, want ErrClosed", err)
	}
}

func TestNextEndsWithItsContext(t *testing.T) {
	t.Parallel()
	s := subscribe(t, NewHub(), 0)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Next(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want context.Canceled", err)
	}
}

func TestDelivered(t *testing.T) {
	t.Parallel()
	var told []string
	h := NewHub()
	for _, name := range []string{"first", "second"} {
		if err := h.PublishTold(outcome("camera", 7), func(sink string) { told = append(told, name+" by "+sink) }); err != nil {
			t.Fatal(err)
		}
	}
	publish(t, h, report(1))
	h.Close()
	for _, m := range rest(t, subscribe(t, h, 0)) {
		m.Delivered("WebSocket")
	}
	if want := []string{"first by WebSocket", "second by WebSocket"}; !slices.Equal(told, want) {
		t.Errorf("told %q, want %q", told, want)
	}
}
