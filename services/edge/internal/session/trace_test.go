package session

import (
	"slices"
	"testing"
	"time"

	"github.com/pion/webrtc/v4"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/pkg/serve/tracetest"
	"github.com/sluice-dev/sluice/pkg/sound"
	"github.com/sluice-dev/sluice/pkg/trace"
	"github.com/sluice-dev/sluice/services/edge/internal/spans"
)

// TestUnitsOfATrackAreTraced sends frames of a camera to an edge that traces all units: each has the edge's whole part of its trace, whatever became of it, and the uplink is told where to go on.
func TestUnitsOfATrackAreTraced(t *testing.T) {
	tracer, recorder := tracetest.New(1)
	r := newRig(t, func(d *Deps) { d.Tracer = tracer })
	var cam *camera
	var control <-chan message
	var d *webrtc.DataChannel
	c := r.connect(func(c *client) {
		cam = c.camera("camera")
		d, control = c.channel("anything", controlProtocol)
	})
	opened(t, d)
	cam.send(false, false) // no decoder can begin with it
	outcome(t, control)
	wait(t, cam.keys, "request for a key frame")
	cam.send(true, false)
	outcome(t, control)
	c.session.Close("test")

	units := recorder.Named("unit")
	if len(units) != 2 {
		t.Fatalf("%d units are traced, want 2", len(units))
	}
	for i, want := range []struct {
		outcome, reason string
		parts           []string
	}{
		{"drop", "DAMAGED", []string{"deliver", "order", "outcome", "receive"}},
		{"result", "", []string{"convert", "decode", "deliver", "order", "outcome", "receive", "turn", "uplink"}},
	} {
		id := trace.Of(c.session.ID()).Unit("camera", uint32(i+1))
		if got := units[i].SpanContext(); got.TraceID() != id.ID || got.SpanID() != id.Span {
			t.Errorf("unit %d is traced as %v, want %v", i+1, got, id)
		}
		if got := tracetest.Attribute(units[i], "sluice.outcome"); got != want.outcome {
			t.Errorf("unit %d ended as %s, want %s", i+1, got, want.outcome)
		}
		if got := tracetest.Attribute(units[i], "sluice.reason"); got != want.reason {
			t.Errorf("unit %d ended for %s, want %s", i+1, got, want.reason)
		}
		if got := recorder.Names(id.Span); !slices.Equal(got, want.parts) {
			t.Errorf("the parts of unit %d are %v, want %v", i+1, got, want.parts)
		}
	}
	up := r.uplinks[0].frames
	legs := recorder.Named("uplink")
	if len(up) != 1 || len(legs) != 1 || up[0].Trace.Span != legs[0].SpanContext().SpanID() || up[0].Trace.ID != units[1].SpanContext().TraceID() {
		t.Errorf("of %d frames the uplink was told %v, want the span of %v", len(up), up, legs)
	}
}

// TestSoundIsTraced has a message of sound heard by an edge that traces all units.
func TestSoundIsTraced(t *testing.T) {
	t.Parallel()
	tracer, recorder := tracetest.New(1)
	e := newEar(t, speech())
	traced := spans.NewSession("s", tracer)
	e.book.spans = traced
	e.book.deliver = func(o media.Outcome) { traced.Final(o).Told() }
	l := e.listener()
	l.stream.refresh()
	now := time.Now()
	s := span{Format: sound.Format{Codec: media.PCMS16, Clock: 16000, Channels: 1}, at: place{captured: now}, ready: now}
	s.Op, s.Begins, s.To, s.Data, s.Arrival = sound.Decode, true, 1600, make([]byte, 3200), now
	l.hear(t.Context(), s)
	units, legs := recorder.Named("unit"), recorder.Named("uplink")
	if len(units) == 0 || len(units) != len(legs) {
		t.Fatalf("%d windows are traced, with %d ways to a router", len(units), len(legs))
	}
	if got, want := recorder.Names(units[0].SpanContext().SpanID()), []string{"decode", "order", "outcome", "receive", "uplink"}; !slices.Equal(got, want) {
		t.Errorf("the parts of a window are %v, want %v", got, want)
	}
}
