package front

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"unicode/utf8"

	"buf.build/go/protovalidate"
	"github.com/pion/webrtc/v4"
	"google.golang.org/protobuf/encoding/protojson"

	sluicev1 "github.com/sluice-dev/sluice/proto/gen/sluice/v1"
	"github.com/sluice-dev/sluice/services/edge/internal/downlink"
)

var errNotUTF8 = errors.New("text that is not UTF-8")

// parseMessage reads one message of a client. The details of a bad one stay inside: they would repeat the client's own bytes.
func parseMessage(data []byte) (*sluicev1.ClientMessage, error) {
	if !utf8.Valid(data) {
		return nil, errNotUTF8
	}
	var message sluicev1.ClientMessage
	if err := protojson.Unmarshal(data, &message); err != nil {
		return nil, refuse(http.StatusBadRequest, codeInvalidMessage, `the message is not a ClientMessage in JSON: {"offer":{"sdp":"…"}}, {"candidate":{…}} or {"bye":{}}`)
	}
	if err := protovalidate.Validate(&message); err != nil {
		return nil, refuse(http.StatusBadRequest, codeInvalidMessage, "the message breaks a rule of ClientMessage: %v", err)
	}
	return &message, nil
}

// handle does what a message asks.
func (s *socket) handle(ctx context.Context, message *sluicev1.ClientMessage) error {
	switch body := message.GetBody().(type) {
	case *sluicev1.ClientMessage_Offer:
		return s.negotiate(ctx, body.Offer.GetSdp())
	case *sluicev1.ClientMessage_OfferRequest:
		return s.offer(ctx, body.OfferRequest)
	case *sluicev1.ClientMessage_Answer:
		if s.session == nil {
			return refuse(http.StatusBadRequest, codeNoOffer, "an answer came before the first offer")
		}
		return s.session.Accept(body.Answer.GetSdp())
	case *sluicev1.ClientMessage_Candidate:
		if s.session == nil {
			return refuse(http.StatusBadRequest, codeNoOffer, "a candidate came before the first offer")
		}
		return s.session.AddCandidate(candidateInit(body.Candidate))
	case *sluicev1.ClientMessage_Ping:
		s.send(&sluicev1.ServerMessage{Body: &sluicev1.ServerMessage_Pong{Pong: &sluicev1.Pong{Id: body.Ping.Id}}})
		return nil
	}
	return refuse(http.StatusBadRequest, codeInvalidMessage, "the message holds nothing that is known here")
}

// negotiate answers an offer: the first one starts the session, later ones renegotiate. The edge's candidates wait for the answer, because a
// browser refuses those that come before it.
func (s *socket) negotiate(ctx context.Context, sdp string) error {
	s.trickle.hold()
	defer s.trickle.release(s)
	if s.session == nil {
		return s.start(ctx, Offer{SDP: sdp}, answerMessage)
	}
	if err := checkOffer(sdp); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	answer, err := s.session.Renegotiate(ctx, sdp)
	if err != nil {
		return err
	}
	s.send(answerMessage(answer))
	return nil
}

// offer makes the edge's offer that a client asks for, which starts the session or renegotiates. The edge's candidates wait for it, as above.
func (s *socket) offer(ctx context.Context, request *sluicev1.OfferRequest) error {
	s.trickle.hold()
	defer s.trickle.release(s)
	media := Media{Video: int(request.GetVideo()), Audio: int(request.GetAudio())} // at most 8 each, by protovalidate
	if s.session == nil {
		return s.start(ctx, Offer{Media: &media}, edgeOffer)
	}
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	offer, err := s.session.Offer(ctx, media, request.GetRestart())
	if err != nil {
		return err
	}
	s.send(edgeOffer(offer))
	return nil
}

// start begins the session and sends the edge's description, which message puts into a message.
func (s *socket) start(ctx context.Context, offer Offer, message func(sdp string) *sluicev1.ServerMessage) error {
	offer.ID, offer.Models, offer.Share = s.id, s.models, s.share
	offer.Trickle = func(candidate *webrtc.ICECandidateInit) { s.trickle.add(s, candidate) }
	session, description, err := s.front.create(ctx, offer)
	if err != nil {
		return err
	}
	s.session = session
	s.send(message(description))
	sink, err := subscribe(session, downlink.Live)
	if err != nil {
		return err
	}
	s.relays.Go(func() { s.relay(ctx, sink) })
	close(s.offered)
	return nil
}

func edgeOffer(sdp string) *sluicev1.ServerMessage {
	return &sluicev1.ServerMessage{Body: &sluicev1.ServerMessage_Offer{Offer: &sluicev1.Offer{Sdp: &sdp}}}
}

func answerMessage(sdp string) *sluicev1.ServerMessage {
	return &sluicev1.ServerMessage{Body: &sluicev1.ServerMessage_Answer{Answer: &sluicev1.Answer{Sdp: &sdp}}}
}

// trickle holds the edge's candidates back while an offer is being answered. The zero value is ready; it is safe for concurrent use.
type trickle struct {
	mu      sync.Mutex
	holding bool
	held    []*webrtc.ICECandidateInit
}

func (t *trickle) hold() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.holding = true
}

// release sends what was held, unless no session came of the offer. It stays locked meanwhile, so that no later candidate overtakes.
func (t *trickle) release(s *socket) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.holding = false
	for _, candidate := range t.held {
		if s.session == nil {
			break
		}
		s.send(candidateMessage(candidate))
	}
	t.held = nil
}

// add takes a candidate from the session; nil says that there are no more. The number held is bounded by the number a session gathers.
func (t *trickle) add(s *socket, candidate *webrtc.ICECandidateInit) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.holding {
		if len(t.held) < outgoing/2 {
			t.held = append(t.held, candidate)
		}
		return
	}
	s.send(candidateMessage(candidate))
}

func candidateMessage(candidate *webrtc.ICECandidateInit) *sluicev1.ServerMessage {
	text := ""
	message := &sluicev1.Candidate{Candidate: &text}
	if candidate != nil {
		message.Candidate, message.SdpMid, message.UsernameFragment = &candidate.Candidate, candidate.SDPMid, candidate.UsernameFragment
		if candidate.SDPMLineIndex != nil {
			index := uint32(*candidate.SDPMLineIndex)
			message.SdpMLineIndex = &index
		}
	}
	return &sluicev1.ServerMessage{Body: &sluicev1.ServerMessage_Candidate{Candidate: message}}
}

func candidateInit(candidate *sluicev1.Candidate) webrtc.ICECandidateInit {
	init := webrtc.ICECandidateInit{Candidate: candidate.GetCandidate(), SDPMid: candidate.SdpMid, UsernameFragment: candidate.UsernameFragment}
	if candidate.SdpMLineIndex != nil {
		index := uint16(candidate.GetSdpMLineIndex()) // at most 64, by protovalidate
		init.SDPMLineIndex = &index
	}
	return init
}
