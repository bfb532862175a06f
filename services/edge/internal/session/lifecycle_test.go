package session

import (
	"context"
	"errors"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pion/webrtc/v4"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-dev/sluice/pkg/ledger"
	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/services/edge/internal/downlink"
	"github.com/sluice-dev/sluice/services/edge/internal/uplink"
)

func TestRefusals(t *testing.T) {
	r := newRig(t, nil)
	video := r.newClient(func(c *client) { c.camera("camera") }).offer()
	receiver := r.newClient(func(c *client) {
		init := webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionRecvonly}
		if _, err := c.pc.AddTransceiverFromKind(webrtc.RTPCodecTypeVideo, init); err != nil {
			t.Fatal(err)
		}
	}).offer()
	for _, c := range []struct {
		name, offer, model string
		status             int
		code               Code
		says               string
	}{
		{"no SDP", "hello", "", http.StatusBadRequest, CodeInvalidSDP, "not SDP"},
		{"huge", video + strings.Repeat("a=x\r\n", 20_000), "", http.StatusRequestEntityTooLarge, CodeTooLarge, "65536"},
		{"receives only", receiver, "", http.StatusUnprocessableEntity, CodeNothingSent, "sendonly"},
		{"foreign codecs", regexp.MustCompile(`VP8|VP9|H264|H265|AV1`).ReplaceAllString(video, "X264"), "", http.StatusUnprocessableEntity, CodeUnsupportedCodec, "VP8, H264"},
		{"unknown model", video, "cats", http.StatusUnprocessableEntity, CodeUnknownModel, "faces"},
		{"no fingerprint", regexp.MustCompile(`a=fingerprint:.*\r\n`).ReplaceAllString(video, ""), "", http.StatusBadRequest, CodeInvalidSDP, "fingerprint"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var models []string
			if c.model != "" {
				models = []string{c.model}
			}
			_, _, err := r.manager.Create(t.Context(), Request{Offer: c.offer, Models: models})
			var refusal *Refusal
			if !errors.As(err, &refusal) || refusal.Status != c.status || refusal.Code != c.code || !strings.Contains(refusal.Detail, c.says) {
				t.Errorf("refused with %#v", err)
			}
		})
	}
	if n := len(r.manager.List()); n != 0 {
		t.Errorf("%d sessions are left", n)
	}
	r.catalog = uplink.Catalog{}
	_, _, err := r.manager.Create(t.Context(), Request{Offer: video})
	var refusal *Refusal
	if !errors.As(err, &refusal) || refusal.Code != CodeNoRouter || refusal.RetryAfter == 0 {
		t.Errorf("without a router: %#v", err)
	}
}

func TestSessionsAreLimitedFoundAndForgotten(t *testing.T) {
	r := newRig(t, func(d *Deps) { d.Limits.Sessions = 1 })
	c := r.newClient(func(c *client) { c.channel("m", "") })
	id := r.manager.NewID()
	s, _, err := r.manager.Create(t.Context(), Request{ID: id, Offer: c.offer()})
	if err != nil {
		t.Fatal(err)
	}
	if s.ID() != id || s.Secret() == id || len(s.Secret()) != 26 || s.State() != Connecting {
		t.Errorf("session %q, state %q, with a secret of %d characters", s.ID(), s.State(), len(s.Secret()))
	}
	if found, ok := r.manager.BySecret(s.Secret()); !ok || found != s {
		t.Error("not found by its secret")
	}
	if _, ok := r.manager.BySecret(s.ID()); ok {
		t.Error("found by its id instead of its secret")
	}
	_, _, err = r.manager.Create(t.Context(), Request{Offer: c.pc.LocalDescription().SDP})
	var refusal *Refusal
	if !errors.As(err, &refusal) || refusal.Status != http.StatusServiceUnavailable || refusal.Code != CodeTooManySessions || refusal.RetryAfter == 0 {
		t.Errorf("second session: %#v", err)
	}
	s.Close("test")
	s.Close("twice")
	if _, ok := r.manager.BySecret(s.Secret()); ok {
		t.Error("an ended session is found by its secret")
	}
	if found, ok := r.manager.ByID(id); !ok || found != s || s.State() != Closed {
		t.Error("an ended session is not known any more")
	}
	sink, err := s.Subscribe(0)
	if err != nil {
		t.Fatal(err)
	}
	if m, err := sink.Next(t.Context()); err != nil || m.Kind != downlink.KindSummary {
		t.Errorf("after the end: %v, %v", m.Kind, err)
	}
	if err := s.AddCandidate(webrtc.ICECandidateInit{Candidate: "candidate:1 1 udp 1 192.0.2.1 9 typ host"}); err == nil {
		t.Error("an ended session takes candidates")
	}
	if _, err := s.Renegotiate(t.Context(), c.pc.LocalDescription().SDP); err == nil {
		t.Error("an ended session takes offers")
	}
}

func TestEveryWayToEnd(t *testing.T) {
	for name, end := range map[string]func(*rig, *client, *webrtc.DataChannel){
		"the front deletes it": func(_ *rig, c *client, _ *webrtc.DataChannel) { c.session.Close("deleted") },
		"the client goes":      func(_ *rig, c *client, _ *webrtc.DataChannel) { _ = c.pc.GracefulClose() },
		"the client says bye":  func(_ *rig, _ *client, d *webrtc.DataChannel) { _ = d.SendText(`{"bye":{}}`) },
		"the edge drains": func(r *rig, _ *client, _ *webrtc.DataChannel) {
			ctx, stop := context.WithCancel(context.Background())
			stop()
			r.manager.Drain(ctx)
		},
		"the edge stops":    func(r *rig, _ *client, _ *webrtc.DataChannel) { r.manager.Close() },
		"the client floods": func(_ *rig, c *client, _ *webrtc.DataChannel) { c.flood() },
		"a label is too long": func(_ *rig, c *client, _ *webrtc.DataChannel) {
			_, _ = c.pc.CreateDataChannel(strings.Repeat("x", 200), nil)
		},
	} {
		t.Run(name, func(t *testing.T) {
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
			end(r, c, d)
			wait(t, c.session.Done(), "end")
			if n := checkCounts(t, c.session)["camera"]; n.Received != 1 {
				t.Errorf("counts: %+v", n)
			}
		})
	}
}

// A browser's client closes its connection in the very moment that it has the summary, which it then never acknowledges.
func TestAClientThatHangsUpOnItsSummaryIsNotWaitedFor(t *testing.T) {
	r := newRig(t, nil)
	var d *webrtc.DataChannel
	var got <-chan message
	c := r.connect(func(c *client) { d, got = c.channel("", controlProtocol) })
	opened(t, d)
	_ = d.SendText(`{"bye":{}}`)
	for wait(t, got, "summary").Summary == nil {
	}
	hungUp := time.Now()
	_ = c.pc.Close()
	wait(t, c.session.Done(), "end")
	if after := time.Since(hungUp); after > flushLimit/2 {
		t.Errorf("the session ended %s after its client", after)
	}
}

// flood opens more channels than the edge takes.
func (c *client) flood() {
	for i := range 12 {
		_, _ = c.pc.CreateDataChannel(strconv.Itoa(i), nil)
	}
}

func TestDrainTellsClientsAndRefusesNewOnes(t *testing.T) {
	r := newRig(t, nil)
	var d *webrtc.DataChannel
	var got <-chan message
	c := r.connect(func(c *client) { d, got = c.channel("", controlProtocol) })
	opened(t, d)
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		r.manager.Drain(ctx)
	}()
	for {
		if m := wait(t, got, "notice"); m.Drain != nil {
			if m.Drain.ReconnectWithin <= 0 || m.Drain.ReconnectWithin > soon.Seconds() {
				t.Errorf("reconnect within %v s", m.Drain.ReconnectWithin)
			}
			break
		}
	}
	if s := c.session.State(); s != Draining {
		t.Errorf("state %q", s)
	}
	_, _, err := r.manager.Create(t.Context(), Request{Offer: c.pc.LocalDescription().SDP})
	var refusal *Refusal
	if !errors.As(err, &refusal) || refusal.Code != CodeDraining || refusal.Status != http.StatusServiceUnavailable {
		t.Errorf("new session: %#v", err)
	}
	_ = c.pc.GracefulClose()
	wait(t, drained, "end of the drain")
}

func TestTrickleAndICERestart(t *testing.T) {
	r := newRig(t, nil)
	var d *webrtc.DataChannel
	var got <-chan message
	c := r.newClient(func(c *client) { d, got = c.channel("m", "") })
	offer, err := c.pc.CreateOffer(nil)
	if err != nil {
		t.Fatal(err)
	}
	var session *Session
	own := make(chan webrtc.ICECandidateInit, 64)
	c.pc.OnICECandidate(func(candidate *webrtc.ICECandidate) {
		if candidate != nil {
			own <- candidate.ToJSON()
		}
	})
	theirs := make(chan *webrtc.ICECandidateInit, 64)
	request := Request{Offer: offer.SDP, Trickle: func(candidate *webrtc.ICECandidateInit) { theirs <- candidate }}
	session, answer, err := r.manager.Create(t.Context(), request)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.pc.SetLocalDescription(offer); err != nil {
		t.Fatal(err)
	}
	c.accept(answer)
	for candidate := wait(t, theirs, "candidate"); candidate != nil; candidate = wait(t, theirs, "candidate") {
		if err := c.pc.AddICECandidate(*candidate); err != nil {
			t.Fatal(err)
		}
	}
	for _, hostile := range []string{"candidate:1 1 udp 1 169.254.169.254 9 typ host", "candidate:1 1 udp 1 some.host 9 typ host", "nonsense", ""} {
		if err := session.AddCandidate(webrtc.ICECandidateInit{Candidate: hostile}); err != nil {
			t.Errorf("%q: %v", hostile, err)
		}
	}
	if err := session.AddCandidate(wait(t, own, "candidate of the client")); err != nil {
		t.Fatal(err)
	}
	opened(t, d)
	send(t, d, jpeg(10))
	outcome(t, got)

	current := c.pc.LocalDescription().SDP
	for _, bad := range []string{"nonsense", strings.Replace(current, "a=group:BUNDLE ", "a=group:BUNDLE no", 1), regexp.MustCompile(`a=mid:.*\r\n`).ReplaceAllString(current, "")} {
		if _, err := session.Renegotiate(t.Context(), bad); err == nil {
			t.Error("nonsense restarts ICE")
		}
	}
	restart, err := c.pc.CreateOffer(&webrtc.OfferOptions{ICERestart: true})
	if err != nil {
		t.Fatal(err)
	}
	gathered := webrtc.GatheringCompletePromise(c.pc)
	if err := c.pc.SetLocalDescription(restart); err != nil {
		t.Fatal(err)
	}
	<-gathered
	answer, err = session.Renegotiate(t.Context(), c.pc.LocalDescription().SDP)
	if err != nil {
		t.Fatal(err)
	}
	c.accept(answer)
	for candidate := wait(t, theirs, "candidate"); candidate != nil; candidate = wait(t, theirs, "candidate") {
		if err := c.pc.AddICECandidate(*candidate); err != nil {
			t.Fatal(err)
		}
	}
	send(t, d, jpeg(10))
	if o := outcome(t, got).Outcome; o.Result == nil || o.Sequence != 2 {
		t.Errorf("after the restart: %+v", o)
	}
	session.Close("test")
	checkCounts(t, session)
}

func TestMetricsAreTheLedger(t *testing.T) {
	registry := prometheus.NewRegistry()
	watched := make(chan media.Outcome, 10)
	r := newRig(t, func(d *Deps) { d.Registry, d.Watch = registry, func(o media.Outcome) { watched <- o } })
	var d *webrtc.DataChannel
	var got <-chan message
	c := r.connect(func(c *client) { d, got = c.channel("m", "") }, "faces")
	opened(t, d)
	send(t, d, jpeg(10))
	outcome(t, got)
	if o := wait(t, watched, "watched outcome"); o.Session != c.session.ID() || o.Result == nil {
		t.Errorf("watched: %+v", o)
	}
	life := handed(t, r.manager, c.session.ID(), "m", 1)
	if len(life.Outcomes) != 1 || life.Ways[0].Router != "a router" || life.Ways[0].Prepared < 1 || life.Ways[0].Sent < life.Ways[0].Prepared {
		t.Errorf("explained: %+v", life)
	}
	if sinks := life.Ways[0].Deliveries; len(sinks) != 1 || sinks[0].Sink != `data channel "m"` {
		t.Errorf("handed to %v, want its channel", sinks)
	}
	if counts, busy := c.session.Activity(); len(counts) != 1 || len(busy) != 1 || busy[0].Stream != "m" || !(busy[0].Units > 0) || !(busy[0].Models[0].Results > 0) {
		t.Errorf("busy %+v", busy)
	}
	for _, state := range []string{"live", "ended"} {
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		values := make(map[string]float64)
		for _, f := range families {
			for _, m := range f.GetMetric() {
				values[f.GetName()] += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
		want := map[string]float64{
			"sluice_edge_units_received_total": 1, "sluice_edge_accepted_total": 1, "sluice_edge_outcomes_total": 1,
			"sluice_edge_in_flight": 0, "sluice_edge_sessions_started_total": 1,
			"sluice_edge_sessions": map[string]float64{"live": 1, "ended": 0}[state],
			"sluice_edge_draining": 0,
		}
		for name, n := range want {
			if values[name] != n {
				t.Errorf("%s: %s is %v, want %v", state, name, values[name], n)
			}
		}
		c.session.Close("test")
	}
}

// handed gives a unit's life once its outcome has been handed to somebody, which is noted a moment after he has it.
func handed(t *testing.T, m *Manager, session, stream string, sequence uint32) ledger.Life {
	t.Helper()
	limit, tick := time.NewTimer(soon), time.NewTicker(time.Millisecond)
	defer limit.Stop()
	defer tick.Stop()
	for {
		life, ok := m.Explain(session, stream, sequence)
		if ok && len(life.Ways) > 0 && len(life.Ways[0].Deliveries) > 0 {
			return life
		}
		select {
		case <-limit.C:
			t.Fatalf("the outcome was handed to nobody: %+v, %v", life, ok)
		case <-tick.C:
		}
	}
}
