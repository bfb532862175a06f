// Package session is the edge's one place that knows the order of its stages: packets of a peer through jitter, depacket, sample and
// decoder to the uplink, and outcomes through the ledger to the client. A [Manager] holds the sessions.
// Sound goes its own way from jitter on: the timeline and the windows of package sound, in every model's own form; see listener.
//
// A session has one supervising goroutine (serve.go), which owns its streams and outlets; one runner for each track and, where that is a
// simulcast, one that hands on the layer in use; for each channel of frames a reader, a converter and, where sound may come, a player; one relay
// for each data channel that carries messages; and the expiry of its book. What they share is safe for concurrent use by itself: the book, the
// budget, the hub, the decoder, the uplink.
package session

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/webrtc/v4"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/pkg/wire"
	sluicev1 "github.com/sluice-dev/sluice/proto/gen/sluice/v1"
	"github.com/sluice-dev/sluice/services/edge/internal/downlink"
	"github.com/sluice-dev/sluice/services/edge/internal/peer"
	"github.com/sluice-dev/sluice/services/edge/internal/sdpfrag"
	"github.com/sluice-dev/sluice/services/edge/internal/spans"
)

// State is where a session stands; its text is what inspection shows.
type State string

// The states.
const (
	Connecting   State = "connecting"
	Connected    State = "connected"
	Disconnected State = "disconnected"
	Draining     State = "draining"
	Closed       State = "closed"
)

// Session is one client's connection. It is safe for concurrent use.
type Session struct {
	id, secret string
	started    time.Time
	logger     *slog.Logger
	limits     Limits
	outcomes   outcomes

	hub     *downlink.Hub
	book    *book
	budget  *budget
	turns   turns
	reports *reportBoard
	spans   *spans.Session // nil where nothing is traced
	wants   atomic.Pointer[wants]
	told    chan struct{} // closed by tell
	tell    func()        // notes that there are wants; it may be called again

	decoder Decoder
	uplink  Uplink

	events    chan event
	ending    chan string // the first reason to end, capacity 1
	connected chan struct{}
	done      chan struct{}

	mu         sync.Mutex
	peer       *peer.Peer // nil once the session has ended
	connection State
	draining   bool
}

// ID is the public id: it opens results, not control.
func (s *Session) ID() string { return s.id }

// Secret is what controls the session: 128 random bits in base32, unrelated to the id. Never log it.
func (s *Session) Secret() string { return s.secret }

// Started is when the session began.
func (s *Session) Started() time.Time { return s.started }

// State tells where the session stands.
func (s *Session) State() State {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining && s.connection != Closed {
		return Draining
	}
	return s.connection
}

// Done is closed when the session has ended, its summary included.
func (s *Session) Done() <-chan struct{} { return s.done }

// AddCandidate takes one of the client's ICE candidates; an empty one means that no more will come. A candidate that the edge never
// talks to (link-local, multicast, a host name, one too many) is ignored without an error. Errors are *Refusal.
func (s *Session) AddCandidate(candidate webrtc.ICECandidateInit) error {
	p := s.connectedPeer()
	if p == nil {
		return errEnded()
	}
	if err := p.AddCandidate(candidate); err != nil {
		return refuse(http.StatusBadRequest, CodeInvalidCandidate, "the candidate cannot be used (RFC 8839)")
	}
	return nil
}

// Renegotiate takes another offer of the same client, for new ICE credentials (an ICE restart) or more tracks, and returns the answer.
// After an error the session goes on as before. Errors are *Refusal.
func (s *Session) Renegotiate(ctx context.Context, offer string) (answer string, err error) {
	p := s.connectedPeer()
	if p == nil {
		return "", errEnded()
	}
	answer, err = p.Renegotiate(ctx, offer, s.current().pictures())
	if err != nil {
		return "", s.refusal(err)
	}
	return answer, nil
}

// Offer makes another offer of a session that the edge offers: for at least the media named, in another ICE session where restart is set. Errors are
// *Refusal.
func (s *Session) Offer(ctx context.Context, media peer.Media, restart bool) (offer string, err error) {
	p := s.connectedPeer()
	if p == nil {
		return "", errEnded()
	}
	offer, err = p.Offer(ctx, media, restart)
	if err != nil {
		return "", s.refusal(err)
	}
	return offer, nil
}

// Accept takes the client's answer to the edge's offer. Errors are *Refusal.
func (s *Session) Accept(answer string) error {
	p := s.connectedPeer()
	if p == nil {
		return errEnded()
	}
	if err := p.Accept(answer); err != nil {
		return s.refusal(err)
	}
	return nil
}

// Trickle takes a fragment of the client's description: more candidates, of which those that the edge never talks to are ignored, or with new
// credentials an ICE restart. Only a restart has an answer: the edge's whole description. After an error the session goes on as before. Errors
// are *Refusal.
func (s *Session) Trickle(ctx context.Context, fragment sdpfrag.Fragment) (answer string, err error) {
	p := s.connectedPeer()
	if p == nil {
		return "", errEnded()
	}
	answer, err = p.Trickle(ctx, fragment, s.current().pictures())
	if err != nil {
		return "", s.refusal(err)
	}
	return answer, nil
}

// ICESession names the ICE session that the connection is in: a word that is new after each restart; empty once the session has ended.
func (s *Session) ICESession() string {
	p := s.connectedPeer()
	if p == nil {
		return ""
	}
	return p.ICESession()
}

// Subscribe opens a sink for the session's messages, those after the message with the given id that are still kept, or from now on for
// downlink.Live. After the session's end the sink still gives what is kept, and then io.EOF.
func (s *Session) Subscribe(after uint64) (*downlink.Sink, error) { return s.hub.Subscribe(after) }

// Close ends the session and returns when it has: counts final, summary sent, goroutines joined. The reason is for the log.
func (s *Session) Close(reason string) {
	s.end(reason)
	<-s.done
}

// Counts gives the counts of each stream so far.
func (s *Session) Counts() []media.StreamCounts { return s.book.counts() }

// Activity gives the counts of each stream so far and, in the same order, how busy it is.
func (s *Session) Activity() (counts []media.StreamCounts, activity []media.StreamActivity) {
	return s.book.state()
}

// end asks the supervising goroutine to end the session. It does not wait.
func (s *Session) end(reason string) {
	select {
	case s.ending <- reason:
	default: // it ends already
	}
}

func (s *Session) current() *wants { return s.wants.Load() }

func (s *Session) demand(d media.Demand) {
	s.publish(&sluicev1.ServerMessage{Body: &sluicev1.ServerMessage_Demand{Demand: wire.DemandToProto(d)}})
}

func (s *Session) connectedPeer() *peer.Peer {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.peer
}

func (s *Session) setState(state State) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.connection != Closed {
		s.connection = state
	}
}

// drain tells the client to connect anew.
func (s *Session) drain(within time.Duration) {
	s.mu.Lock()
	s.draining = true
	s.mu.Unlock()
	seconds := within.Seconds()
	s.publish(&sluicev1.ServerMessage{Body: &sluicev1.ServerMessage_Drain{Drain: &sluicev1.Drain{ReconnectWithin: &seconds}}})
}

func (s *Session) summarise() {
	s.publish(&sluicev1.ServerMessage{Body: &sluicev1.ServerMessage_Summary{Summary: &sluicev1.Summary{
		Session: &s.id, Streams: wire.CountsToProto(s.book.counts()),
	}}})
}

func (s *Session) publish(m *sluicev1.ServerMessage) { s.publishTold(m, nil) }

// publishTold hands a message to all sinks; delivered is told when they have it; nil is nobody.
func (s *Session) publishTold(m *sluicev1.ServerMessage, delivered func(sink string)) {
	if err := s.hub.PublishTold(m, delivered); err != nil && !errors.Is(err, downlink.ErrClosed) {
		s.logger.Error("a message to the client is lost", slog.String("error", err.Error()))
	}
}

// refusal puts an error of the peer into words for the client.
func (s *Session) refusal(err error) *Refusal { return asRefusal(err, s.logger) }

func errEnded() *Refusal {
	return refuse(http.StatusNotFound, CodeSessionClosed, "the session has ended; start another one")
}
