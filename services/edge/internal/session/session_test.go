package session

import (
	"fmt"
	"testing"

	"github.com/pion/webrtc/v4"

	"github.com/sluice-dev/sluice/pkg/media"
)

func typeName(v any) string { return fmt.Sprintf("%T", v) }

// checkCounts holds the session's books against invariant 1 of the design and gives them by stream.
func checkCounts(t *testing.T, s *Session) map[string]media.StreamCounts {
	t.Helper()
	byName := make(map[string]media.StreamCounts)
	for _, c := range s.Counts() {
		byName[c.Stream] = c
		if c.Received != c.NotDue+c.Accepted {
			t.Errorf("stream %s: received %d, not due %d, accepted %d", c.Stream, c.Received, c.NotDue, c.Accepted)
		}
		for _, m := range c.Models {
			ended := m.Results
			for _, n := range m.Drops {
				ended += n
			}
			for _, n := range m.Errors {
				ended += n
			}
			if m.Accepted != ended || m.InFlight != 0 {
				t.Errorf("stream %s, model %s: accepted %d, ended %d, in flight %d", c.Stream, m.Model, m.Accepted, ended, m.InFlight)
			}
		}
	}
	return byName
}

func TestFramesOfATrackGetTheirOutcomesOnTheControlChannel(t *testing.T) {
	r := newRig(t, nil)
	var cam *camera
	var control <-chan message
	var d *webrtc.DataChannel
	c := r.connect(func(c *client) {
		cam = c.camera("camera")
		d, control = c.channel("anything", controlProtocol)
	})
	opened(t, d)

	// A frame that no decoder can begin with is refused, and a key frame asked for.
	cam.send(false, false)
	if m := outcome(t, control); m.Outcome.Drop == nil || m.Outcome.Drop.Reason != "DAMAGED" {
		t.Errorf("frame before the first key frame: %+v", m.Outcome)
	}
	wait(t, cam.keys, "request for a key frame")
	for i := range 5 {
		ts := cam.send(i == 0, false)
		o := outcome(t, control).Outcome
		if o.Result == nil || o.Sequence != uint32(i+2) || o.Stream != "camera" || o.Model != "faces" || o.Session != c.session.ID() {
			t.Errorf("frame %d: %+v", i, o)
		}
		if o.RtpTimestamp == nil || *o.RtpTimestamp != ts {
			t.Errorf("frame %d has timestamp %v, want %d", i, o.RtpTimestamp, ts)
		}
		if o.Timings["total"] <= 0 || o.Timings["decode"] != 0.001 {
			t.Errorf("frame %d has timings %v", i, o.Timings)
		}
	}
	c.session.Close("test")
	for {
		m := wait(t, control, "summary")
		if m.Summary == nil {
			continue
		}
		if got := m.Summary.Streams[0]["received"]; got != 6.0 {
			t.Errorf("summary: received %v", got)
		}
		break
	}
	if n := checkCounts(t, c.session)["camera"]; n.Received != 6 || n.Models[0].Results != 5 || n.Models[0].Drops[media.Damaged] != 1 {
		t.Errorf("counts: %+v", n)
	}
}
