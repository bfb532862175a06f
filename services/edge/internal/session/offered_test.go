package session

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/pion/interceptor"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

	"github.com/sluice-dev/sluice/services/edge/internal/peer"
)

// answering is a client that the edge makes offers to. Like a browser it takes capture times that it is offered.
type answering struct {
	*client
	own, edge chan *webrtc.ICECandidateInit
}

func (r *rig) newAnswering() *answering {
	r.t.Helper()
	settings := webrtc.SettingEngine{}
	settings.SetIncludeLoopbackCandidate(true)
	settings.SetInterfaceFilter(func(name string) bool { return name == "lo" })
	c := &answering{own: make(chan *webrtc.ICECandidateInit, 64), edge: make(chan *webrtc.ICECandidateInit, 64)}
	c.client = r.newClientWith(settings, func(m *webrtc.MediaEngine, _ *interceptor.Registry) error {
		return m.RegisterHeaderExtension(webrtc.RTPHeaderExtensionCapability{URI: captureTimeURI}, webrtc.RTPCodecTypeVideo)
	}, nil)
	c.pc.OnICECandidate(func(candidate *webrtc.ICECandidate) {
		if candidate != nil {
			init := candidate.ToJSON()
			c.own <- &init
		}
	})
	r.t.Cleanup(func() { _ = c.pc.GracefulClose() })
	return c
}

// answer takes an offer and gives the answer.
func (c *answering) answer(offer string) string {
	c.t.Helper()
	if err := c.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: offer}); err != nil {
		c.t.Fatal(err)
	}
	answer, err := c.pc.CreateAnswer(nil)
	if err != nil {
		c.t.Fatal(err)
	}
	if err := c.pc.SetLocalDescription(answer); err != nil {
		c.t.Fatal(err)
	}
	return answer.SDP
}

// trickle hands the edge's candidates to the client.
func (c *answering) trickle() {
	c.t.Helper()
	for candidate := wait(c.t, c.edge, "candidate"); candidate != nil; candidate = wait(c.t, c.edge, "candidate") {
		if err := c.pc.AddICECandidate(*candidate); err != nil {
			c.t.Fatal(err)
		}
	}
}

// The edge offers, and so gets capture times; its later offers restart ICE and add tracks, without another track's stream beginning anew.
func TestTheEdgeOffers(t *testing.T) {
	r := newRig(t, nil)
	c := r.newAnswering()
	s, offer, err := r.manager.Create(t.Context(), Request{
		Media: &peer.Media{Video: 1}, Trickle: func(candidate *webrtc.ICECandidateInit) { c.edge <- candidate },
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{captureTimeURI, "m=application ", "a=recvonly", "a=setup:actpass", " VP8/90000", "a=ice-options:trickle"} {
		if !strings.Contains(offer, line) {
			t.Errorf("the offer lacks %q:\n%s", line, offer)
		}
	}
	cam := c.camera("camera")
	d, got := c.channel("", controlProtocol)
	answer := c.answer(offer)
	// A candidate that overtakes its answer waits for it.
	if err := s.AddCandidate(*wait(t, c.own, "candidate of the client")); err != nil {
		t.Errorf("a candidate before the answer: %v", err)
	}
	checkNotDue(t, "another offer before the answer", func() error { _, err := s.Offer(t.Context(), peer.Media{Video: 1}, true); return err })
	checkNotDue(t, "an offer of the client", func() error { _, err := s.Renegotiate(t.Context(), answer); return err })
	for _, bad := range []string{"", "nonsense", strings.Replace(answer, "a=fingerprint", "a=x", 1)} {
		if err := s.Accept(bad); err == nil {
			t.Errorf("%.20q is taken as an answer", bad)
		}
	}
	// pion would begin to read both tracks of a description, though it has made one of them only.
	if err := s.Accept(strings.Replace(answer, "a=sendonly\r\n", "a=sendonly\r\na=ssrc:5 cname:x\r\n", 1)); err == nil || !strings.Contains(err.Error(), "Plan B") {
		t.Errorf("an answer with two tracks in one description: %v", err)
	}
	if err := s.Accept(answer); err != nil {
		t.Fatal(err)
	}
	checkNotDue(t, "an answer to nothing", func() error { return s.Accept(answer) })
	c.trickle()
	opened(t, d)
	c.film(cam, got, "camera", 1)

	before := s.ICESession()
	offer, err = s.Offer(t.Context(), peer.Media{Video: 2, Audio: 1}, true)
	if err != nil {
		t.Fatal(err)
	}
	second := c.camera("second")
	if err := s.Accept(c.answer(offer)); err != nil {
		t.Fatal(err)
	}
	if s.ICESession() == before {
		t.Error("ICE was not restarted")
	}
	c.trickle()
	c.film(cam, got, "camera", 2)
	c.film(second, got, "second", 1)
	s.Close("test")
	checkCounts(t, s)
}

func checkNotDue(t *testing.T, what string, do func() error) {
	t.Helper()
	var refusal *Refusal
	if err := do(); !errors.As(err, &refusal) || refusal.Code != CodeNotDue || refusal.Status != http.StatusConflict {
		t.Errorf("%s: %v", what, err)
	}
}

// film sends frames with capture times until one is a result, which must be of the stream and know when it was captured.
func (c *answering) film(cam *camera, got <-chan message, stream string, least uint32) {
	c.t.Helper()
	captured := time.Date(2026, 11, 23, 1, 2, 3, 0, time.UTC)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(soon)
	for {
		c.sendCaptured(cam, captured)
		select {
		case m := <-got:
			if m.Outcome == nil || m.Outcome.Stream != stream || m.Outcome.Result == nil || m.Outcome.Sequence < least {
				continue
			}
			if m.Outcome.Clock != "ABS_CAPTURE" {
				c.t.Errorf("the clock is %s", m.Outcome.Clock)
			}
			return
		case <-deadline:
			c.t.Fatalf("no result of %s", stream)
		case <-tick.C:
		}
	}
}

// sendCaptured sends a key frame in one packet with its capture time.
func (c *answering) sendCaptured(cam *camera, at time.Time) {
	c.t.Helper()
	cam.ts += 3000
	cam.seq++
	p := &rtp.Packet{
		Header:  rtp.Header{Version: 2, SequenceNumber: cam.seq, Timestamp: cam.ts, Marker: true},
		Payload: []byte{0x10, 0x10, 0, 0, 0x9d, 0x01, 0x2a, 64, 0, 64, 0, 0, 0},
	}
	extension, err := rtp.NewAbsCaptureTimeExtension(at).Marshal()
	if err != nil {
		c.t.Fatal(err)
	}
	for _, sender := range c.pc.GetSenders() {
		for _, e := range sender.GetParameters().HeaderExtensions {
			if e.URI == captureTimeURI {
				_ = p.SetExtension(uint8(e.ID), extension)
			}
		}
	}
	if err := cam.track.WriteRTP(p); err != nil {
		c.t.Fatal(err)
	}
}
