package peer

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"

	"github.com/pion/sdp/v3"
	"github.com/pion/webrtc/v4"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/services/edge/internal/sdpfrag"
)

// iceSession is the pair of descriptions that ICE works with; a restart begins another one (RFC 8445 section 2.4).
type iceSession struct {
	ufrag, password string // the client's
	own             string // the edge's user name fragment
	former          string // the client's user name fragment before the restart
}

// ICESession names the ICE session that the connection is in: the edge's user name fragment, which is random and new after each restart.
func (p *Peer) ICESession() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ice.own
}

// answered notes the edge's side of the ICE session that an answer is for.
func (p *Peer) answered(answer string) {
	own, err := sdpfrag.Parse(sdpfrag.Of(answer))
	if err != nil {
		p.logger.Error("an answer without ICE credentials") // a defect; nothing can be trickled then
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ice.own = own.Ufrag
}

// Renegotiate takes another offer on the same connection: new ICE credentials restart ICE, added media descriptions add tracks, and those that
// send no more (inactive, recvonly) end theirs; see [Endpoint.Answer] for the pictures. After an error the connection goes on as it was.
func (p *Peer) Renegotiate(ctx context.Context, text string, pictures []media.PictureInput) (string, error) {
	p.negotiating.Lock()
	defer p.negotiating.Unlock()
	if p.offers {
		return "", ErrNotDue
	}
	return p.renegotiate(ctx, text, pictures)
}

// renegotiate does the work of Renegotiate. The caller holds negotiating.
func (p *Peer) renegotiate(ctx context.Context, text string, pictures []media.PictureInput) (string, error) {
	o, err := checkLaterOffer(text, p.loopback)
	if err != nil {
		return "", err
	}
	if p.isClosed() {
		return "", ErrClosed
	}
	// pion cannot roll a client's offer back, so whatever it would refuse has to be found by checkOffer, and whatever it turns down in its
	// answer stands: otherwise no later offer could be taken.
	answer, err := p.negotiate(ctx, o, func(string) error { return nil })
	if err != nil {
		return "", err
	}
	p.rotation.Store(uint32(o.rotation))
	p.answered(answer)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.messages, p.layers = p.messages || o.messages, o.layers
	if p.ice.ufrag != o.ufrag { // an ICE restart starts the counting anew
		p.ice.former, p.ice.ufrag, p.candidates = p.ice.ufrag, o.ufrag, o.candidates
	}
	p.ice.password = o.password
	return o.turnDown(answer, pictures), nil
}

// Trickle takes a fragment of the client's description. Its candidates are treated as [Peer.AddCandidate] does it. New credentials restart ICE, and
// only then there is an answer: the edge's whole description, with all its candidates. What belongs to an ICE session that is over is ignored.
// After an error the connection goes on as it was. Errors are *RefusedOffer when the client has to change something.
func (p *Peer) Trickle(ctx context.Context, f sdpfrag.Fragment, pictures []media.PictureInput) (answer string, err error) {
	p.negotiating.Lock()
	defer p.negotiating.Unlock()
	p.mu.Lock()
	ice := p.ice
	p.mu.Unlock()
	switch {
	case p.offers:
		return "", ErrNotDue
	case f.Ufrag == "":
	case f.Ufrag == ice.ufrag:
		if f.Password != "" && f.Password != ice.password {
			return "", refuse(ErrMalformed, "the fragment has a new a=ice-pwd with the old a=ice-ufrag; an ICE restart changes both (RFC 8839 section 4.4.1.1.1)")
		}
	case f.Password == "" || f.Ufrag == ice.former:
		return "", nil
	default:
		// pion restarts ICE when an offer comes with new credentials, so it is given the last one again.
		offered := p.pc.CurrentRemoteDescription()
		if offered == nil {
			return "", ErrClosed
		}
		again, err := p.withSources(sdpfrag.Restart(offered.SDP, f.Ufrag, f.Password))
		if err != nil {
			return "", err
		}
		if answer, err = p.renegotiate(ctx, again, pictures); err != nil {
			return "", err
		}
	}
	for _, candidate := range f.Candidates {
		init := webrtc.ICECandidateInit{Candidate: candidate}
		if f.Ufrag != "" {
			init.UsernameFragment = &f.Ufrag
		}
		if err := p.AddCandidate(init); err != nil {
			p.logger.Debug("a candidate cannot be used", slog.String("error", err.Error()))
		}
	}
	return answer, nil
}

// withSources gives an offer in which the sources that are heard are declared (RFC 5576), as some clients do not do. pion would end the track of
// a source that a later offer says nothing of, and begin another one.
func (p *Peer) withSources(offered string) (string, error) {
	var s sdp.SessionDescription
	if err := s.UnmarshalString(offered); err != nil {
		return "", fmt.Errorf("parse the offer again: %w", err)
	}
	named, nameless := make(map[string]webrtc.SSRC), make(map[string]webrtc.SSRC) // the latter by kind: pion could only guess whose they are
	for _, t := range p.pc.GetTransceivers() {
		for _, track := range t.Receiver().Tracks() {
			if t.Mid() != "" {
				named[t.Mid()] = track.SSRC()
			} else {
				nameless[t.Kind().String()] = track.SSRC()
			}
		}
	}
	for _, m := range s.MediaDescriptions {
		mid, _ := m.Attribute(sdp.AttrKeyMID)
		_, declared := m.Attribute(sdp.AttrKeySSRC)
		_, layered := m.Attribute("rid")
		if source := cmp.Or(named[mid], nameless[m.MediaName.Media]); source != 0 && !declared && !layered {
			m.WithValueAttribute(sdp.AttrKeySSRC, fmt.Sprintf("%d cname:-", source))
		}
	}
	text, err := s.Marshal()
	if err != nil {
		return "", fmt.Errorf("write the offer again: %w", err)
	}
	return string(text), nil
}
