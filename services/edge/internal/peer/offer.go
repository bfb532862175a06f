package peer

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/pion/sdp/v3"
)

// The limits of an offer.
const (
	MaxOffer         = 64 << 10 // bytes
	maxLine          = 8 << 10  // bytes
	maxDescriptions  = 32
	maxFormats       = 128 // of one media description; Chromium offers about 40
	maxOfferedSource = 4 * maxSources
)

// Why an offer is refused; a [RefusedOffer] wraps one of them.
var (
	ErrMalformed        = errors.New("malformed")
	ErrTooLarge         = errors.New("too large")
	ErrNothingSent      = errors.New("nothing sent")
	ErrUnsupportedCodec = errors.New("unsupported codec")
)

// RefusedOffer says what is wrong with an offer, in words that can be shown to whoever sent it. It never holds SDP.
type RefusedOffer struct { //nolint:errname // it is what became of the offer
	// Reason is one of the errors above.
	Reason error
	Detail string
}

// Error implements error.
func (r *RefusedOffer) Error() string { return r.Detail }

// Unwrap gives the reason.
func (r *RefusedOffer) Unwrap() error { return r.Reason }

func refuse(reason error, format string, args ...any) *RefusedOffer {
	return &RefusedOffer{Reason: reason, Detail: fmt.Sprintf(format, args...)}
}

// offer is what the edge needs to know of an offer before pion sees it.
type offer struct {
	// sdp is the offer without the candidates that the edge never talks to.
	sdp string
	// actpass tells that the client lets us choose the DTLS role.
	actpass bool
	// messages tells that the client wants data channels.
	messages   bool
	candidates int
	// ufrag and password are the client's ICE credentials.
	ufrag, password string
	// sends holds the kinds of the media descriptions by index, empty where nothing is sent.
	sends []string
	// layers holds those of each simulcast by the name (a=mid) of its media description.
	layers map[string][]announced
	// rotation is the id of the header extension that says how pictures are turned; 0 where it is not offered.
	rotation uint8
	// idle, when not nil, says what of the offer sends nothing.
	idle error
}

// checkOffer reads the offer that begins a session, and refuses it also when something of it sends nothing. A later one may: that is how a track
// is taken back.
func checkOffer(text string, loopback bool) (offer, error) {
	o, err := checkLaterOffer(text, loopback)
	if err == nil && o.idle != nil {
		return offer{}, o.idle
	}
	return o, err
}

// checkLaterOffer reads an offer (RFC 8829) and refuses it when it breaks a limit, could not work, or would work only in part: a client is told
// at once rather than left to wonder about a missing track.
func checkLaterOffer(text string, loopback bool) (offer, error) {
	if len(text) > MaxOffer {
		return offer{}, refuse(ErrTooLarge, "the offer has %d bytes; at most %d are taken", len(text), MaxOffer)
	}
	o, err := admitLines(text, loopback)
	if err != nil {
		return offer{}, err
	}
	var s sdp.SessionDescription
	if err := s.UnmarshalString(o.sdp); err != nil || !strings.HasPrefix(o.sdp, "v=") {
		return offer{}, refuse(ErrMalformed, "the offer is not SDP (RFC 8866)")
	}
	if n := len(s.MediaDescriptions); n > maxDescriptions {
		return offer{}, refuse(ErrTooLarge, "the offer has %d media descriptions; at most %d are taken", n, maxDescriptions)
	}
	senders, sources, mids := 0, make(map[string]bool), make(map[string]bool)
	claimed := make(map[uint64]int)
	o.sends, o.layers = make([]string, len(s.MediaDescriptions)), make(map[string][]announced)
	for i, m := range s.MediaDescriptions {
		mid, _ := m.Attribute("mid")
		if mid == "" || mids[mid] {
			return offer{}, refuse(ErrMalformed, "media description %d has no a=mid of its own (RFC 9143)", i)
		}
		mids[mid] = true
		if severalTracks(m) {
			return offer{}, refuse(ErrMalformed, "media description %d has several tracks (Plan B); each track needs one of its own (RFC 8829)", i)
		}
		if m.MediaName.Media == "application" {
			o.messages = true
		} else if sends, err := checkMedia(i, m, &s); errors.Is(err, ErrNothingSent) {
			o.idle = err
		} else if err != nil {
			return offer{}, err
		} else if sends {
			o.sends[i], o.layers[mid] = m.MediaName.Media, announcedLayers(m)
			senders++
		}
		for _, a := range m.Attributes {
			switch id, rest, _ := strings.Cut(a.Value, " "); {
			case a.Key == sdp.AttrKeySSRC:
				sources[id] = true
				if err := claim(claimed, id, i); err != nil {
					return offer{}, err
				}
			case a.Key == sdp.AttrKeyExtMap && strings.TrimSpace(rest) == rotationURI:
				o.rotation = extensionID(id)
			}
		}
	}
	if senders == 0 && !o.messages && o.idle == nil {
		o.idle = refuse(ErrNothingSent, "the offer sends nothing: it needs a sendonly or sendrecv track, or a data channel")
	}
	if len(s.MediaDescriptions) == 0 {
		return offer{}, o.idle
	}
	if senders > maxSources || len(sources) > maxOfferedSource {
		return offer{}, refuse(ErrTooLarge, "the offer sends more than %d tracks", maxSources)
	}
	return o, o.checkTransport(&s)
}

// checkAnswer finds media that pion turned down although checkOffer took its codec for one of ours: it looks at the parameters too.
func (o *offer) checkAnswer(text string) error {
	var answer sdp.SessionDescription
	if err := answer.UnmarshalString(text); err != nil {
		return fmt.Errorf("parse our own answer: %w", err)
	}
	for i, m := range answer.MediaDescriptions {
		if i < len(o.sends) && o.sends[i] != "" && m.MediaName.Port.Value == 0 {
			return refuse(ErrUnsupportedCodec, "media description %d (%s) has no codec with parameters that this edge takes; it takes %s",
				i, o.sends[i], accepted(o.sends[i]))
		}
	}
	return nil
}

// checkMedia looks at the audio and video of an offer and tells whether it is sent. The error wraps ErrNothingSent where the client would only
// receive.
func checkMedia(index int, m *sdp.MediaDescription, s *sdp.SessionDescription) (sends bool, err error) {
	kind := m.MediaName.Media
	if accepted(kind) == "" {
		return false, refuse(ErrUnsupportedCodec, "media description %d is %q; audio, video and application are taken", index, clip(kind))
	}
	if len(m.MediaName.Formats) > maxFormats {
		return false, refuse(ErrTooLarge, "media description %d has more than %d formats", index, maxFormats)
	}
	switch direction(m, s) {
	case sdp.DirectionRecvOnly:
		return false, refuse(ErrNothingSent, "media description %d (%s) is recvonly, but this edge sends no media: offer sendonly", index, kind)
	case sdp.DirectionInactive:
		return false, nil
	default: // it sends
	}
	if rejected(m) {
		return false, nil
	}
	for _, format := range m.MediaName.Formats {
		if isStatic(kind, format) {
			return true, nil
		}
	}
	for _, a := range m.Attributes {
		_, encoding, _ := strings.Cut(a.Value, " ")
		if name, _, _ := strings.Cut(encoding, "/"); a.Key == "rtpmap" && isAccepted(kind, name) {
			return true, nil
		}
	}
	return false, refuse(ErrUnsupportedCodec, "media description %d (%s) has no codec that this edge takes; it takes %s", index, kind, accepted(kind))
}

// claim notes which media description has a source, and refuses one that another has: pion has a reader for each, and they do not all end.
func claim(claimed map[uint64]int, id string, index int) error {
	number, err := strconv.ParseUint(id, 10, 32)
	if err != nil {
		return nil //nolint:nilerr // pion passes over it
	}
	if first, known := claimed[number]; known && first != index {
		return refuse(ErrMalformed, "media descriptions %d and %d claim one source (a=ssrc); each source belongs to one of them (RFC 9143)", first, index)
	}
	claimed[number] = index
	return nil
}

// severalTracks tells whether a media description has more than one track, as pion counts them: sources that only repair others are none, and the layers of
// a simulcast that names its track are one. pion refuses that in an offer, too late to go on as before, and of an answer it reads a track that it never began.
func severalTracks(m *sdp.MediaDescription) bool {
	sources, repairs, layered, named := make(map[uint64]bool), make(map[uint64]bool), false, false
	for _, a := range m.Attributes {
		switch words := strings.Split(a.Value, " "); a.Key {
		case "rid":
			layered = true
		case sdp.AttrKeyMsid:
			named = named || len(words) == 2 && words[0] != "" && words[1] != ""
		case sdp.AttrKeySSRCGroup:
			repairing := words[0] == sdp.SemanticTokenFlowIdentification || words[0] == sdp.SemanticTokenForwardErrorCorrectionFramework
			if repairing && len(words) == 3 {
				if id, err := strconv.ParseUint(words[2], 10, 32); err == nil {
					repairs[id] = true
				}
			}
		case sdp.AttrKeySSRC:
			if id, err := strconv.ParseUint(words[0], 10, 32); err == nil {
				sources[id] = true
			}
		}
	}
	for id := range repairs {
		delete(sources, id)
	}
	return len(sources) > 1 && (!layered || !named)
}

// extensionID reads the id of a header extension (RFC 8285), without its direction; 0 when it is none.
func extensionID(word string) uint8 {
	number, _, _ := strings.Cut(word, "/")
	id, err := strconv.ParseUint(number, 10, 8)
	if err != nil {
		return 0
	}
	return uint8(id)
}

func direction(m *sdp.MediaDescription, s *sdp.SessionDescription) sdp.Direction {
	for _, attributes := range [][]sdp.Attribute{m.Attributes, s.Attributes} {
		for _, a := range attributes {
			if d, err := sdp.NewDirection(a.Key); err == nil {
				return d
			}
		}
	}
	return sdp.DirectionSendRecv // RFC 8866 section 6.7
}

// checkTransport looks for what the one transport of all media needs: at the session, or in the media description that leads the bundle.
func (o *offer) checkTransport(s *sdp.SessionDescription) error {
	leader, err := bundleLeader(s)
	if err != nil {
		return err
	}
	find := func(key string) string {
		if v, ok := s.Attribute(key); ok {
			return v
		}
		v, _ := leader.Attribute(key)
		return v
	}
	o.ufrag, o.password = find("ice-ufrag"), find("ice-pwd")
	o.actpass = find("setup") == "actpass"
	hash, digest, _ := strings.Cut(strings.ToLower(find("fingerprint")), " ")
	digest = strings.TrimSpace(digest)
	switch {
	case o.ufrag == "" || o.password == "":
		return refuse(ErrMalformed, "the offer has no ICE credentials (a=ice-ufrag, a=ice-pwd)")
	case digest == "" || strings.Contains(digest, " "):
		return refuse(ErrMalformed, "the offer has no DTLS fingerprint (a=fingerprint); media is taken over DTLS-SRTP only")
	case hash != "sha-256" && hash != "sha-384" && hash != "sha-512":
		return refuse(ErrMalformed, "the offer's DTLS fingerprint is made with a weak hash; sha-256 or better is taken")
	}
	return nil
}

// bundleLeader gives the media description whose transport all others share (RFC 9143). The edge has one transport for a session.
func bundleLeader(s *sdp.SessionDescription) (*sdp.MediaDescription, error) {
	var group []string
	for _, a := range s.Attributes {
		if words := strings.Fields(a.Value); a.Key == "group" && len(words) > 1 && words[0] == "BUNDLE" && group == nil {
			group = words[1:]
		}
	}
	if group == nil {
		if len(s.MediaDescriptions) > 1 {
			return nil, refuse(ErrMalformed, "the offer has several media descriptions but no a=group:BUNDLE; they have to share one transport")
		}
		return s.MediaDescriptions[0], nil
	}
	var leader *sdp.MediaDescription
	for i, m := range s.MediaDescriptions {
		mid, _ := m.Attribute("mid")
		if mid == group[0] {
			leader = m
		}
		if !slices.Contains(group, mid) && !rejected(m) {
			return nil, refuse(ErrMalformed, "media description %d is not in a=group:BUNDLE; all have to share one transport", i)
		}
	}
	if leader == nil {
		return nil, refuse(ErrMalformed, "a=group:BUNDLE begins with a media description that is not there")
	}
	return leader, nil
}

// admitLines drops the candidates that the edge never talks to and refuses what is too long or keyed in the clear.
func admitLines(text string, loopback bool) (offer, error) {
	var kept strings.Builder
	kept.Grow(len(text))
	candidates := 0
	for line := range strings.Lines(text) {
		content := strings.TrimRight(line, "\r\n")
		if len(content) > maxLine {
			return offer{}, refuse(ErrTooLarge, "a line of the offer has %d bytes; at most %d are taken", len(content), maxLine)
		}
		if strings.HasPrefix(content, "a=crypto:") {
			return offer{}, refuse(ErrMalformed, "the offer has keys in the clear (a=crypto); media is taken over DTLS-SRTP only")
		}
		if candidate, ok := strings.CutPrefix(content, "a=candidate:"); ok {
			if candidates++; candidates > maxCandidates {
				return offer{}, refuse(ErrTooLarge, "the offer has more than %d candidates", maxCandidates)
			}
			if !admitCandidate(candidate, loopback) {
				continue
			}
		}
		kept.WriteString(line)
	}
	return offer{sdp: kept.String(), candidates: candidates}, nil
}

// rejected tells whether a media description is switched off (RFC 9143 section 6 for the exception).
func rejected(m *sdp.MediaDescription) bool {
	_, bundleOnly := m.Attribute("bundle-only")
	return m.MediaName.Port.Value == 0 && !bundleOnly
}

// clip shortens a client's word for a message.
func clip(s string) string {
	const enough = 32
	return s[:min(len(s), enough)]
}
