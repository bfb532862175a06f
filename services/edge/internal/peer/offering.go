package peer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/pion/webrtc/v4"
)

// Media is what a client means to send over a connection that the edge offers: so many tracks of each kind.
type Media struct {
	Video, Audio int
}

// ErrNotDue tells that an offer or an answer came that the connection does not wait for: whoever made the first offer makes all of them, one after
// the other's answer.
var ErrNotDue = errors.New("not due")

// Offer makes a connection that begins with the edge's offer. Browsers then send what they never offer by themselves, as capture times. The client's
// answer goes to [Peer.Accept], later offers come from [Peer.Offer]. trickle, which is required, and events are as for [Endpoint.Answer].
func (e *Endpoint) Offer(ctx context.Context, media Media, trickle func(*webrtc.ICECandidateInit), events Events) (*Peer, string, error) {
	p := e.newPeer(offer{messages: true}, events)
	p.offers = true
	if err := e.connect(p, true, trickle); err != nil {
		return nil, "", err
	}
	text, err := p.Offer(ctx, media, false)
	if err != nil {
		p.Close()
		return nil, "", err
	}
	return p, text, nil
}

// Offer makes another offer of a connection that the edge offers, for at least as many tracks as before; restart begins another ICE session. It fails
// with [ErrNotDue] while an offer waits for its answer.
func (p *Peer) Offer(_ context.Context, media Media, restart bool) (string, error) {
	p.negotiating.Lock()
	defer p.negotiating.Unlock()
	p.mu.Lock()
	closed, due := p.closed, p.offers && !p.offered
	p.mu.Unlock()
	switch {
	case closed:
		return "", ErrClosed
	case !due:
		return "", ErrNotDue
	}
	if err := p.expect(media); err != nil {
		return "", err
	}
	made, err := p.pc.CreateOffer(&webrtc.OfferOptions{ICERestart: restart, OfferAnswerOptions: webrtc.OfferAnswerOptions{ICETricklingSupported: true}})
	if err != nil {
		return "", fmt.Errorf("create offer: %w", err)
	}
	// Candidates of the client are kept from here until its answer, which they may overtake.
	p.mu.Lock()
	p.offered = true
	p.mu.Unlock()
	p.answered(made.SDP)
	if err := p.pc.SetLocalDescription(made); err != nil {
		return "", fmt.Errorf("set local description: %w", err)
	}
	return made.SDP, nil
}

// expect makes room for what the client means to send.
func (p *Peer) expect(media Media) error {
	if media.Video+media.Audio > maxSources {
		return refuse(ErrTooLarge, "%d tracks are asked for; at most %d are taken", media.Video+media.Audio, maxSources)
	}
	missing := map[webrtc.RTPCodecType]int{webrtc.RTPCodecTypeVideo: media.Video, webrtc.RTPCodecTypeAudio: media.Audio}
	for _, t := range p.pc.GetTransceivers() {
		missing[t.Kind()]--
	}
	for _, kind := range []webrtc.RTPCodecType{webrtc.RTPCodecTypeVideo, webrtc.RTPCodecTypeAudio} {
		for range missing[kind] {
			t, err := p.pc.AddTransceiverFromKind(kind, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionRecvonly})
			if err != nil {
				return fmt.Errorf("room for a track: %w", err)
			}
			if err := prefer(t); err != nil {
				return fmt.Errorf("codec preferences: %w", err)
			}
		}
	}
	return nil
}

// Accept takes the client's answer to the edge's offer. Errors are *RefusedOffer when the client has to change something, and
// [ErrNotDue] when no offer waits.
func (p *Peer) Accept(text string) error {
	p.negotiating.Lock()
	defer p.negotiating.Unlock()
	p.mu.Lock()
	closed, due := p.closed, p.offered
	p.mu.Unlock()
	switch {
	case closed:
		return ErrClosed
	case !due:
		return ErrNotDue
	}
	o, err := checkLaterOffer(text, p.loopback)
	if err != nil {
		return err
	}
	if err := p.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: o.sdp}); err != nil {
		p.logger.Debug("answer refused by pion", slog.String("error", err.Error()))
		p.mu.Lock()
		p.offered = p.pc.SignalingState() == webrtc.SignalingStateHaveLocalOffer
		p.mu.Unlock()
		return refuse(ErrMalformed, "the answer cannot be used: it does not fit the offer or lacks something")
	}
	p.mu.Lock()
	p.layers, p.offered = o.layers, false
	if p.ice.ufrag != o.ufrag {
		p.ice.former, p.ice.ufrag, p.candidates = p.ice.ufrag, o.ufrag, o.candidates
	}
	p.ice.password = o.password
	early := p.early
	p.early = nil
	p.mu.Unlock()
	for _, candidate := range early {
		if err := p.AddCandidate(candidate); err != nil {
			p.logger.Debug("a candidate cannot be used", slog.String("error", err.Error()))
		}
	}
	return nil
}
