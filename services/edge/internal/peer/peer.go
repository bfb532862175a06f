package peer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/webrtc/v4"

	"github.com/sluice-dev/sluice/pkg/media"
)

// State is where a connection stands.
type State uint8

// The states. Failed and Closed are final.
const (
	Connecting State = iota
	Connected
	Disconnected
	Failed
	Closed
)

// Events is told what a client does. Its methods are called from the peer's goroutines, several at a time; they must return at once and
// must not call [Peer.Close].
type Events interface {
	// Track tells of a source of media that began to send.
	Track(t *Track)
	// Channel tells of a data channel that the client opened.
	Channel(c *Channel)
	// State tells that the connection changed.
	State(s State)
	// SenderReport tells of an RTCP sender report.
	SenderReport(r media.SenderReport)
	// Violation tells that the client broke a limit; the connection is worth nothing afterwards and has to be closed.
	Violation(what string)
}

// ErrClosed tells that the peer was closed.
var ErrClosed = errors.New("the connection is closed")

// Peer is one client's connection. It is safe for concurrent use.
type Peer struct {
	pc       *webrtc.PeerConnection
	events   Events
	logger   *slog.Logger
	metrics  *metrics
	loopback bool
	trickles bool
	offers   bool // it is the edge that offers
	limit    int  // channels open at once

	// negotiating lets one offer at a time in.
	negotiating sync.Mutex

	mu         sync.Mutex
	closed     bool
	tracks     int // that have not ended
	everBegun  int
	reads      map[*webrtc.TrackRemote]*Track
	channels   int // the client's
	everOpened int
	candidates int
	early      []webrtc.ICECandidateInit // the client's candidates that came before its answer
	offered    bool                      // an offer of the edge waits for its answer
	ice        iceSession
	layers     map[string][]announced // see offer
	messages   bool                   // the client negotiated data channels
	loops      sync.WaitGroup         // read loops; Add only while closed is false

	rotation atomic.Uint32 // see offer

	measureOnce sync.Once
	rtt         atomic.Int64  // the round-trip time, a time.Duration; 0 while unknown
	taken       atomic.Uint64 // messages of the client's that were read

	closing chan struct{} // closed when Close begins
	done    chan struct{} // closed when Close has done what it can
	joined  bool          // valid once done is closed
	streams atomic.Int32
}

// Answer makes a connection from a client's offer and gives the answer. With a nil trickle it holds all the edge's candidates; that takes
// no time, for they are the addresses of sockets that are already open. Otherwise trickle is handed the candidates one by one, and nil after
// the last; it may be called before Answer returns and must not block. Layers of a simulcast that are larger than any of the pictures needs are
// turned down where the offer tells their sizes; without pictures none is. ctx bounds the making of the answer only. Errors are *RefusedOffer
// when the client has to change something. The peer must be closed.
func (e *Endpoint) Answer(
	ctx context.Context, text string, pictures []media.PictureInput, trickle func(*webrtc.ICECandidateInit), events Events,
) (*Peer, string, error) {
	o, err := checkOffer(text, e.cfg.Loopback)
	if err != nil {
		return nil, "", err
	}
	p := e.newPeer(o, events)
	if err := e.connect(p, o.actpass, trickle); err != nil {
		return nil, "", err
	}
	answer, err := p.negotiate(ctx, o, o.checkAnswer)
	if err != nil {
		p.Close()
		return nil, "", err
	}
	p.answered(answer)
	return p, o.turnDown(answer, pictures), nil
}

// newPeer makes a peer without its connection.
func (e *Endpoint) newPeer(o offer, events Events) *Peer {
	p := &Peer{
		events: events, logger: e.cfg.Logger, metrics: e.metrics, loopback: e.cfg.Loopback, messages: o.messages, limit: e.cfg.Channels, candidates: o.candidates,
		ice: iceSession{ufrag: o.ufrag, password: o.password}, layers: o.layers, reads: make(map[*webrtc.TrackRemote]*Track),
		closing: make(chan struct{}), done: make(chan struct{}),
	}
	p.rotation.Store(uint32(o.rotation))
	return p
}

// connect makes a peer's connection. chooses tells that the client leaves the DTLS role to the edge.
func (e *Endpoint) connect(p *Peer, chooses bool, trickle func(*webrtc.ICECandidateInit)) error {
	settings, err := e.settings(chooses, p.newStream, p.streamEnded)
	if err != nil {
		return fmt.Errorf("settings of a connection: %w", err)
	}
	certificate, err := e.currentCertificate(time.Now())
	if err != nil {
		return fmt.Errorf("certificate: %w", err)
	}
	api := webrtc.NewAPI(webrtc.WithMediaEngine(e.media), webrtc.WithInterceptorRegistry(e.interceptors), webrtc.WithSettingEngine(settings))
	p.pc, err = api.NewPeerConnection(webrtc.Configuration{Certificates: []webrtc.Certificate{certificate}, AlwaysNegotiateDataChannels: p.offers})
	if err != nil {
		return fmt.Errorf("new connection: %w", err)
	}
	p.pc.OnConnectionStateChange(p.stateChanged)
	p.pc.OnTrack(p.trackBegan)
	p.pc.OnDataChannel(p.channelAnnounced)
	if p.trickles = trickle != nil; p.trickles {
		p.pc.OnICECandidate(func(c *webrtc.ICECandidate) {
			if c == nil {
				trickle(nil)
				return
			}
			candidate := c.ToJSON()
			trickle(&candidate)
		})
	}
	return nil
}

// negotiate takes a checked offer and gives the whole answer, if check finds it good.
func (p *Peer) negotiate(ctx context.Context, o offer, check func(answer string) error) (string, error) {
	if err := p.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: o.sdp}); err != nil {
		p.logger.Debug("offer refused by pion", slog.String("error", err.Error()))
		return "", refuse(ErrMalformed, "the offer cannot be used: it lacks something or contradicts itself")
	}
	for _, t := range p.pc.GetTransceivers() {
		if err := prefer(t); err != nil {
			return "", fmt.Errorf("codec preferences: %w", err)
		}
	}
	gathered := webrtc.GatheringCompletePromise(p.pc)
	answer, err := p.pc.CreateAnswer(nil)
	switch {
	case errors.Is(err, webrtc.ErrIncorrectSDPSemantics):
		return "", refuse(ErrMalformed, "a media description of the offer has several tracks (Plan B); each track needs one of its own (RFC 8829)")
	case err != nil:
		return "", fmt.Errorf("create answer: %w", err)
	}
	if err := check(answer.SDP); err != nil {
		return "", err
	}
	if err := p.pc.SetLocalDescription(answer); err != nil {
		return "", fmt.Errorf("set local description: %w", err)
	}
	if p.trickles {
		return answer.SDP, nil
	}
	select {
	case <-gathered:
	case <-ctx.Done():
		return "", fmt.Errorf("gather candidates: %w", ctx.Err())
	}
	return preferredFirst(p.pc.LocalDescription().SDP), nil
}

// AddCandidate takes one of the client's candidates. One that the edge never talks to is ignored, as is one of another ICE generation and
// every one beyond the 64th; an empty one says that there will be no more.
func (p *Peer) AddCandidate(c webrtc.ICECandidateInit) error {
	if strings.TrimSpace(c.Candidate) == "" {
		return nil
	}
	p.mu.Lock()
	if p.offered && len(p.early) < maxCandidates {
		p.early = append(p.early, c)
		p.mu.Unlock()
		return nil
	}
	p.candidates++
	known := p.candidates <= maxCandidates && !p.closed && (c.UsernameFragment == nil || *c.UsernameFragment == "" || *c.UsernameFragment == p.ice.ufrag)
	p.mu.Unlock()
	if !known || !admitCandidate(c.Candidate, p.loopback) {
		return nil
	}
	c.SDPMid, c.SDPMLineIndex = nil, nil // everything is bundled
	if err := p.pc.AddICECandidate(c); err != nil && !p.isClosed() {
		return fmt.Errorf("add candidate: %w", err)
	}
	return nil
}

// HasMessages tells whether the client negotiated data channels, so that the edge may open one.
func (p *Peer) HasMessages() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.messages
}

// closeLimit is how long pion may take to close; it normally needs a few milliseconds.
const closeLimit = 5 * time.Second

// Close ends the connection and joins its read loops, and with them every Read of a channel. It must not be called from [Events]. It returns
// false in the case, a defect, that the connection does not close in time: then something of it is left. Closing twice is harmless; both wait.
func (p *Peer) Close() (joined bool) {
	p.mu.Lock()
	first := !p.closed
	p.closed = true
	p.mu.Unlock()
	if !first {
		<-p.done
		return p.joined
	}
	close(p.closing)
	defer close(p.done)
	finished := make(chan struct{})
	go func() { // joined below, unless pion hangs
		defer close(finished)
		if err := p.pc.GracefulClose(); err != nil {
			p.logger.Debug("close of a connection", slog.String("error", err.Error()))
		}
		p.loops.Wait()
	}()
	watchdog := time.NewTimer(closeLimit)
	defer watchdog.Stop()
	select {
	case <-finished:
		p.joined = true
	case <-watchdog.C:
		p.logger.Error("a connection does not close; its goroutines are lost", slog.Duration("after", closeLimit))
	}
	return p.joined
}

func (p *Peer) isClosed() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.closed
}

// start runs a read loop unless the peer is closing; Close joins it.
func (p *Peer) start(loop func()) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	p.loops.Go(loop)
	return true
}

func (p *Peer) stateChanged(s webrtc.PeerConnectionState) {
	switch s {
	case webrtc.PeerConnectionStateConnected:
		p.measureOnce.Do(func() { p.start(p.measure) })
		p.events.State(Connected)
	case webrtc.PeerConnectionStateDisconnected:
		p.events.State(Disconnected)
	case webrtc.PeerConnectionStateFailed:
		p.events.State(Failed)
	case webrtc.PeerConnectionStateClosed:
		p.events.State(Closed)
	default: // on the way to one of these
	}
}

// newStream counts SRTP sources before pion gives them memory: a client can invent four billion. streamEnded gives a place back.
func (p *Peer) newStream() {
	// RTP and RTCP of one source each have a buffer.
	if p.streams.Add(1) == 2*maxStreams+1 {
		p.events.Violation(fmt.Sprintf("more than %d media sources", maxStreams))
	}
}

func (p *Peer) streamEnded() { p.streams.Add(-1) }
