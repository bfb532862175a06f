// Package edgetest is an edge small enough for the tests of sluicectl: it takes sessions by WHIP, answers every unit of their video and every packet of their sound over the
// session's channel, and ends a session with its summary. Its media stays on the loopback address.
package edgetest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/pion/ice/v4"
	"github.com/pion/interceptor"
	"github.com/pion/rtp"
	"github.com/pion/rtp/codecs"
	"github.com/pion/webrtc/v4"
	"google.golang.org/protobuf/proto"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/pkg/wire"
	sluicev1 "github.com/sluice-dev/sluice/proto/gen/sluice/v1"
)

// Every third unit is dropped as SUPERSEDED and every fifth of the others fails as BACKEND_TIMEOUT.
const (
	dropEvery = 3
	failEvery = 5
)

// models is what the edge says of its models: a window of sound is a packet of 20 ms.
const models = `{"models": [{"name": "faces", "input": {"picture": {"width": 320, "height": 180}}},
	{"name": "speech", "input": {"sound": {"rate": 16000, "window": 320, "hop": 320, "context": 0}}}]}`

// Spoken is how a packet of sound begins that holds speech, after the byte that tells Opus's configuration.
const Spoken = 's'

// Options say how the edge behaves; the zero value is a good edge.
type Options struct {
	// Token is the bearer token to demand; empty demands none.
	Token string
	// HangUpAfter closes each session's connection after so many units; 0 never does.
	HangUpAfter uint32
	// Asks makes it ask again for missing packets (NACK).
	Asks bool
}

// Edge is a running edge. It is safe for concurrent use.
type Edge struct {
	URL string

	options Options
	server  *httptest.Server

	mu       sync.Mutex
	sessions map[string]*session // by id
	models   []string            // asked for last
	ended    int                 // sessions that were deleted
	draining bool
}

// Start runs an edge until the test ends.
func Start(t testing.TB, options Options) *Edge {
	t.Helper()
	e := &Edge{options: options, sessions: map[string]*session{}}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /whip", e.publish)
	mux.HandleFunc("DELETE /whip/{id}", e.end)
	mux.HandleFunc("GET /models", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, models) })
	e.server = httptest.NewServer(mux)
	e.URL = e.server.URL
	t.Cleanup(func() {
		e.server.Close()
		e.mu.Lock()
		defer e.mu.Unlock()
		for _, s := range e.sessions {
			if err := s.peer.GracefulClose(); err != nil {
				t.Errorf("close session %s: %v", s.id, err)
			}
		}
	})
	return e
}

// Models gives the models that the last session asked for.
func (e *Edge) Models() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.models
}

// Ended gives the number of sessions that were deleted.
func (e *Edge) Ended() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.ended
}

// Sessions gives the number of sessions that were made.
func (e *Edge) Sessions() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.sessions)
}

// Drain asks all clients to leave, and refuses new ones.
func (e *Edge) Drain() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.draining = true
	for _, s := range e.sessions {
		s.mu.Lock()
		if s.channel != nil {
			s.say(&sluicev1.ServerMessage{Body: &sluicev1.ServerMessage_Drain{Drain: &sluicev1.Drain{ReconnectWithin: new(20.0)}}})
		}
		s.mu.Unlock()
	}
}

// Freeze makes the edge say nothing to the sessions that it has, as if the network to it had gone.
func (e *Edge) Freeze() {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, s := range e.sessions {
		s.mu.Lock()
		s.over = true
		s.mu.Unlock()
	}
}

func (e *Edge) publish(w http.ResponseWriter, r *http.Request) {
	if e.options.Token != "" && r.Header.Get("Authorization") != "Bearer "+e.options.Token {
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = io.WriteString(w, `{"status":401,"code":"UNAUTHORIZED","detail":"send a token"}`)
		return
	}
	offer, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.draining {
		w.Header().Set("Content-Type", "application/problem+json")
		w.Header().Set("Retry-After", "1")
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = io.WriteString(w, `{"status":503,"code":"DRAINING","detail":"go elsewhere"}`)
		return
	}
	e.models = r.URL.Query()["model"]
	_, port, _ := strings.Cut(r.Host, ":")
	s := &session{id: fmt.Sprintf("%s-%d", port, len(e.sessions)+1), options: e.options}
	answer, err := s.accept(string(offer))
	if s.peer != nil {
		e.sessions[s.id] = s
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusUnprocessableEntity)
		return
	}
	w.Header().Set("Location", "/whip/"+s.id)
	w.WriteHeader(http.StatusCreated)
	_, _ = io.WriteString(w, answer)
}

func (e *Edge) end(w http.ResponseWriter, r *http.Request) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.sessions[r.PathValue("id")] == nil {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	e.ended++
}

// session is one publisher's.
type session struct {
	id      string
	options Options
	peer    *webrtc.PeerConnection

	mu      sync.Mutex
	channel *webrtc.DataChannel // nil until it is open
	over    bool                // after the summary nothing is said
	counts  media.ModelCounts   // of the video
	sound   media.ModelCounts
}

// accept makes the connection of an offer and gives the answer, all candidates in it.
func (s *session) accept(offer string) (string, error) {
	settings := webrtc.SettingEngine{}
	settings.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
	settings.SetIncludeLoopbackCandidate(true)
	settings.SetIPFilter(net.IP.IsLoopback)
	engine := &webrtc.MediaEngine{}
	if err := engine.RegisterDefaultCodecs(); err != nil {
		return "", err
	}
	registry := &interceptor.Registry{}
	if s.options.Asks {
		if err := webrtc.ConfigureNack(engine, registry); err != nil {
			return "", err
		}
	}
	api := webrtc.NewAPI(webrtc.WithSettingEngine(settings), webrtc.WithMediaEngine(engine), webrtc.WithInterceptorRegistry(registry))
	var err error
	if s.peer, err = api.NewPeerConnection(webrtc.Configuration{}); err != nil {
		return "", err
	}
	s.peer.OnTrack(func(track *webrtc.TrackRemote, _ *webrtc.RTPReceiver) { s.read(track) })
	s.peer.OnDataChannel(func(c *webrtc.DataChannel) {
		c.OnOpen(func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.channel = c
		})
		c.OnMessage(s.hear)
	})
	if err := s.peer.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: offer}); err != nil {
		return "", err
	}
	answer, err := s.peer.CreateAnswer(nil)
	if err != nil {
		return "", err
	}
	gathered := webrtc.GatheringCompletePromise(s.peer)
	if err := s.peer.SetLocalDescription(answer); err != nil {
		return "", err
	}
	<-gathered
	return s.peer.LocalDescription().SDP, nil
}

// read answers the units of a track until its end.
func (s *session) read(track *webrtc.TrackRemote) {
	if track.Kind() == webrtc.RTPCodecTypeAudio {
		s.listen(track)
		return
	}
	var depacketizer rtp.Depacketizer = &codecs.VP8Packet{}
	switch strings.ToLower(track.Codec().MimeType) {
	case strings.ToLower(webrtc.MimeTypeH264):
		depacketizer = &codecs.H264Packet{}
	case strings.ToLower(webrtc.MimeTypeH265):
		depacketizer = &codecs.H265Depacketizer{}
	}
	var unit []byte
	for {
		packet, _, err := track.ReadRTP()
		if err != nil {
			return
		}
		part, err := depacketizer.Unmarshal(packet.Payload)
		if err != nil {
			continue
		}
		if unit = append(unit, part...); packet.Marker {
			s.answer(unit, media.RTP{Valid: true, SSRC: packet.SSRC, Timestamp: packet.Timestamp})
			unit = nil
		}
	}
}

// listen answers the packets of a track of sound until its end, each with how likely it holds speech.
func (s *session) listen(track *webrtc.TrackRemote) {
	for {
		packet, _, err := track.ReadRTP()
		if err != nil {
			return
		}
		probability := 0.1
		if len(packet.Payload) > 1 && packet.Payload[1] == Spoken {
			probability = 0.9
		}
		s.mu.Lock()
		if s.channel != nil && !s.over {
			s.sound.Accepted++
			s.sound.Results++
			s.say(&sluicev1.ServerMessage{Body: &sluicev1.ServerMessage_Outcome{Outcome: wire.OutcomeToProto(media.Outcome{
				Session: s.id, Stream: "audio", Sequence: s.sound.Accepted, Model: "speech",
				RTP:    media.RTP{Valid: true, SSRC: packet.SSRC, Timestamp: packet.Timestamp},
				Result: &media.Result{Speech: []media.Speech{{Probability: probability}}},
			})}})
		}
		s.mu.Unlock()
	}
}

// answer says what became of a unit. A result's JSON is the text of the unit, so that a test can tell whose it is.
func (s *session) answer(unit []byte, stamp media.RTP) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.channel == nil || s.over {
		return
	}
	s.counts.Accepted++
	o := media.Outcome{Session: s.id, Stream: "video", Sequence: s.counts.Accepted, RTP: stamp, Model: "faces"}
	switch {
	case o.Sequence%dropEvery == 0:
		o.Drop = media.Superseded
		s.counts.Drops[o.Drop]++
	case o.Sequence%failEvery == 0:
		o.Error = media.BackendTimeout
		s.counts.Errors[o.Error]++
	default:
		o.Result = &media.Result{JSON: []string{string(bytes.ToValidUTF8(unit, []byte("?")))}}
		s.counts.Results++
	}
	s.say(&sluicev1.ServerMessage{Body: &sluicev1.ServerMessage_Outcome{Outcome: wire.OutcomeToProto(o)}})
	if s.counts.Accepted == s.options.HangUpAfter {
		s.over = true
		go func() { _ = s.peer.Close() }() // Joined by the test's end, which closes it gracefully.
	}
}

// hear takes a message of the client: a ping is answered, and after bye comes the summary.
func (s *session) hear(m webrtc.DataChannelMessage) {
	var message map[string]json.RawMessage
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case json.Unmarshal(m.Data, &message) != nil || s.over:
		return
	case message["ping"] != nil:
		s.say(&sluicev1.ServerMessage{Body: &sluicev1.ServerMessage_Pong{Pong: &sluicev1.Pong{Id: new(uint32(0))}}})
		return
	case message["bye"] == nil:
		return
	}
	s.over = true
	var streams []media.StreamCounts
	for _, c := range []struct {
		stream, model string
		counts        media.ModelCounts
	}{{"video", "faces", s.counts}, {"audio", "speech", s.sound}} {
		if c.counts.Accepted > 0 {
			c.counts.Model = c.model
			streams = append(streams, media.StreamCounts{Stream: c.stream, Received: c.counts.Accepted, Accepted: c.counts.Accepted, Models: []media.ModelCounts{c.counts}})
		}
	}
	s.say(&sluicev1.ServerMessage{Body: &sluicev1.ServerMessage_Summary{Summary: &sluicev1.Summary{Session: new(s.id), Streams: wire.CountsToProto(streams)}}})
}

// say sends a message. The caller holds the lock.
func (s *session) say(m proto.Message) {
	if text, err := wire.JSON(m); err == nil {
		_ = s.channel.SendText(string(text)) // A client that is gone is told nothing.
	}
}
