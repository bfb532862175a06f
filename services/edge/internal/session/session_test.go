package session

import (
	"fmt"
	"testing"
	"time"

	"github.com/pion/webrtc/v4"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/services/edge/internal/decoder"
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

func TestLostPacketsAreDamageAndAskForAKeyFrame(t *testing.T) {
	r := newRig(t, nil)
	var cam *camera
	var d *webrtc.DataChannel
	var got <-chan message
	c := r.connect(func(c *client) {
		cam = c.camera("camera")
		d, got = c.channel("", controlProtocol)
	})
	opened(t, d)
	cam.send(true, false)
	outcome(t, got)
	cam.send(false, true) // its second packet is lost
	cam.send(false, false)
	for range 2 {
		if o := outcome(t, got).Outcome; o.Drop == nil || o.Drop.Reason != "DAMAGED" {
			t.Errorf("after a loss: %+v", o)
		}
	}
	wait(t, cam.keys, "request for a key frame")
	cam.send(true, false)
	if o := outcome(t, got).Outcome; o.Result == nil || o.Sequence != 4 {
		t.Errorf("after the key frame: %+v", o)
	}
	c.session.Close("test")
	checkCounts(t, c.session)
}

func TestACrashOfTheDecoderCostsUntilTheNextKeyFrame(t *testing.T) {
	r := newRig(t, nil)
	crash := false
	r.decode = func(q decoder.Request) ([]decoder.Picture, error) {
		if crash {
			crash = false
			return nil, &decoder.Error{Code: media.DecoderError, NeedKey: true, Crashed: true}
		}
		return []decoder.Picture{{Tag: q.Tag, Payload: make([]byte, 32*32*3), Release: func() {}}}, nil
	}
	var cam *camera
	var d *webrtc.DataChannel
	var got <-chan message
	c := r.connect(func(c *client) {
		cam = c.camera("camera")
		d, got = c.channel("", controlProtocol)
	})
	opened(t, d)
	cam.send(true, false)
	outcome(t, got)
	r.decoders[0].mu.Lock()
	crash = true
	r.decoders[0].mu.Unlock()
	cam.send(false, false)
	if o := outcome(t, got).Outcome; o.Error == nil || o.Error.Code != "DECODER" {
		t.Errorf("the crash: %+v", o)
	}
	wait(t, cam.keys, "request for a key frame")
	cam.send(false, false)
	if o := outcome(t, got).Outcome; o.Drop == nil || o.Drop.Reason != "DAMAGED" {
		t.Errorf("after the crash: %+v", o)
	}
	cam.send(true, false)
	if o := outcome(t, got).Outcome; o.Result == nil {
		t.Errorf("after the key frame: %+v", o)
	}
	c.session.Close("test")
	checkCounts(t, c.session)
}

func TestSenderReportsAreRelayedAndDateTheFrames(t *testing.T) {
	r := newRig(t, nil)
	var cam *camera
	var d *webrtc.DataChannel
	var got <-chan message
	c := r.connect(func(c *client) {
		cam = c.camera("camera")
		d, got = c.channel("", controlProtocol)
	})
	opened(t, d)
	cam.send(true, false)
	ssrc := uint32(c.pc.GetSenders()[0].GetParameters().Encodings[0].SSRC)
	for {
		m := wait(t, got, "sender report") // pion sends one a second
		if m.SenderReport == nil {
			continue
		}
		off := time.Since(time.UnixMilli(int64(m.SenderReport.NtpMillis)))
		if m.SenderReport.Ssrc != ssrc || off < -time.Minute || off > time.Minute {
			t.Errorf("report %+v, the track is %d", m.SenderReport, ssrc)
		}
		break
	}
	cam.send(false, false)
	if o := outcome(t, got).Outcome; o.Clock != "SENDER_REPORT" {
		t.Errorf("dated by %q", o.Clock)
	}
	c.session.Close("test")
}

func TestTracksGetNamesOfTheirOwn(t *testing.T) {
	r := newRig(t, nil)
	var cams [2]*camera
	var d *webrtc.DataChannel
	var got <-chan message
	c := r.connect(func(c *client) {
		for i := range cams {
			cams[i] = c.camera("screen")
		}
		d, got = c.channel("", controlProtocol)
	})
	opened(t, d)
	seen := make(map[string]bool)
	for _, cam := range cams {
		cam.send(true, false)
		seen[outcome(t, got).Outcome.Stream] = true
	}
	if !seen["screen"] || !seen["screen2"] {
		t.Errorf("streams: %v", seen)
	}
	c.session.Close("test")
	checkCounts(t, c.session)
}
