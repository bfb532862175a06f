package peer

import (
	"fmt"
	"slices"
	"strings"

	"github.com/pion/webrtc/v4"

	"github.com/sluice-dev/sluice/pkg/media"
)

type codec struct {
	kind       webrtc.RTPCodecType
	parameters webrtc.RTPCodecParameters
}

// What the edge says of itself as a receiver in its answers.
const (
	// One channel is asked for by leaving stereo out (RFC 7587 section 6.1), for models listen to one.
	opusAsks = "minptime=10;useinbandfec=1"
	// Level 4.1 holds 1920 × 1088 pixels at 60 frames a second (H.265 annex A). What is larger than the edge's limit is refused by its
	// header, as with every codec.
	hevcAsks = "level-id=123;profile-id=1;tier-flag=0;tx-mode=SRST"
)

// codecs gives the codecs that are accepted, each video codec with its retransmissions. Which of them is sent is the client's choice: an answer
// keeps the order of the offer (RFC 3264 section 6.1), but for Opus, the only codec for sound that makes up for losses.
func codecs() []codec {
	all := []codec{
		// Whatever an offer says about Opus can be taken, so nothing is said here.
		sound(webrtc.MimeTypeOpus, 111, 48000, 2),
		// The payload types of RFC 3551 section 6. G.722 counts 8000 ticks a second, though it has 16000 samples.
		sound(webrtc.MimeTypeG722, 9, 8000, 1),
		sound(webrtc.MimeTypePCMU, 0, 8000, 1),
		sound(webrtc.MimeTypePCMA, 8, 8000, 1),
	}
	next := webrtc.PayloadType(96)
	add := func(mime, fmtp string) {
		all = append(all, video(mime, next, fmtp), repair(next))
		next += 2
	}
	add(webrtc.MimeTypeVP8, "")
	for _, profile := range []string{"42e01f", "42001f", "4d001f", "64001f"} {
		add(webrtc.MimeTypeH264, "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id="+profile)
	}
	add(webrtc.MimeTypeVP9, "profile-id=0")
	add(webrtc.MimeTypeAV1, "profile=0")
	add(webrtc.MimeTypeH265, hevcAsks)
	return all
}

// prefer puts a transceiver's codecs in the answer's order, with the parameters that the edge asks for instead of an echo of the offer's.
func prefer(t *webrtc.RTPTransceiver) error {
	agreed := slices.Clone(t.Receiver().GetParameters().Codecs) // pion may keep what it gives
	for i := range agreed {
		switch mediaCodec(agreed[i].MimeType) {
		case media.Opus:
			agreed[i].SDPFmtpLine = opusAsks
		case media.H265:
			if isMain(agreed[i].SDPFmtpLine) {
				agreed[i].SDPFmtpLine = hevcAsks
			}
		default: // an echo does
		}
	}
	if i := slices.IndexFunc(agreed, isOpus); i > 0 {
		opus := agreed[i]
		copy(agreed[1:], agreed[:i])
		agreed[0] = opus
	}
	return t.SetCodecPreferences(agreed)
}

// isMain tells whether H.265's parameters say the Main profile, which is the default (RFC 7798 section 7.1).
func isMain(parameters string) bool {
	for parameter := range strings.SplitSeq(parameters, ";") {
		if key, value, _ := strings.Cut(strings.TrimSpace(parameter), "="); strings.EqualFold(key, "profile-id") {
			return value == "1"
		}
	}
	return true
}

func isOpus(c webrtc.RTPCodecParameters) bool { return mediaCodec(c.MimeType) == media.Opus }

func sound(mime string, payloadType webrtc.PayloadType, rate uint32, channels uint16) codec {
	return codec{webrtc.RTPCodecTypeAudio, webrtc.RTPCodecParameters{
		RTPCodecCapability: webrtc.RTPCodecCapability{MimeType: mime, ClockRate: rate, Channels: channels},
		PayloadType:        payloadType,
	}}
}

func video(mime string, payloadType webrtc.PayloadType, fmtp string) codec {
	return codec{webrtc.RTPCodecTypeVideo, webrtc.RTPCodecParameters{
		RTPCodecCapability: webrtc.RTPCodecCapability{
			MimeType: mime, ClockRate: videoClock, SDPFmtpLine: fmtp,
			RTCPFeedback: []webrtc.RTCPFeedback{{Type: webrtc.TypeRTCPFBNACK}, {Type: webrtc.TypeRTCPFBNACK, Parameter: "pli"}},
		},
		PayloadType: payloadType,
	}}
}

// repair gives the retransmissions of a video codec (RFC 4588).
func repair(of webrtc.PayloadType) codec {
	return codec{webrtc.RTPCodecTypeVideo, webrtc.RTPCodecParameters{
		RTPCodecCapability: webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeRTX, ClockRate: videoClock, SDPFmtpLine: fmt.Sprintf("apt=%d", of)},
		PayloadType:        of + 1,
	}}
}

// Accepted names the codecs that an offer may use, for people: by kind of media description.
func accepted(kind string) string {
	switch kind {
	case "video":
		return "VP8, H264, VP9, AV1, H265"
	case "audio":
		return "opus, G722, PCMU, PCMA"
	default:
		return ""
	}
}

func isAccepted(kind, encoding string) bool {
	for name := range strings.SplitSeq(accepted(kind), ", ") {
		if strings.EqualFold(name, encoding) {
			return true
		}
	}
	return false
}

// isStatic tells whether a payload type stands for an accepted codec without an a=rtpmap that says so (RFC 3551 section 6).
func isStatic(kind, payloadType string) bool {
	return kind == "audio" && (payloadType == "0" || payloadType == "8" || payloadType == "9")
}

func mediaCodec(mime string) media.Codec {
	switch strings.ToLower(mime) {
	case "video/vp8":
		return media.VP8
	case "video/h264":
		return media.H264
	case "video/vp9":
		return media.VP9
	case "video/av1":
		return media.AV1
	case "video/h265":
		return media.H265
	case "audio/opus":
		return media.Opus
	case "audio/g722":
		return media.G722
	case "audio/pcmu":
		return media.PCMU
	case "audio/pcma":
		return media.PCMA
	default:
		return media.CodecUnknown
	}
}
