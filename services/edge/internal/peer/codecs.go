package peer

import (
	"fmt"
	"strings"

	"github.com/pion/webrtc/v4"

	"github.com/sluice-dev/sluice/pkg/media"
)

type codec struct {
	kind       webrtc.RTPCodecType
	parameters webrtc.RTPCodecParameters
}

// codecs gives the codecs of the answer, the cheapest to decode first, each video codec with its retransmissions. Opus is accepted so that
// clients that cannot leave their microphone out (OBS) are served; its packets are counted.
func codecs() []codec {
	feedback := []webrtc.RTCPFeedback{{Type: "nack"}, {Type: "nack", Parameter: "pli"}}
	all := []codec{{webrtc.RTPCodecTypeAudio, webrtc.RTPCodecParameters{
		RTPCodecCapability: webrtc.RTPCodecCapability{
			MimeType: webrtc.MimeTypeOpus, ClockRate: 48000, Channels: 2, SDPFmtpLine: "minptime=10;useinbandfec=1",
		},
		PayloadType: 111,
	}}}
	next := webrtc.PayloadType(96)
	video := func(mime, fmtp string) {
		all = append(all,
			codec{webrtc.RTPCodecTypeVideo, webrtc.RTPCodecParameters{
				RTPCodecCapability: webrtc.RTPCodecCapability{MimeType: mime, ClockRate: 90000, SDPFmtpLine: fmtp, RTCPFeedback: feedback},
				PayloadType:        next,
			}},
			codec{webrtc.RTPCodecTypeVideo, webrtc.RTPCodecParameters{
				RTPCodecCapability: webrtc.RTPCodecCapability{
					MimeType: webrtc.MimeTypeRTX, ClockRate: 90000, SDPFmtpLine: fmt.Sprintf("apt=%d", next),
				},
				PayloadType: next + 1,
			}})
		next += 2
	}
	video(webrtc.MimeTypeVP8, "")
	for _, profile := range []string{"42e01f", "42001f", "4d001f", "64001f"} {
		video(webrtc.MimeTypeH264, "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id="+profile)
	}
	video(webrtc.MimeTypeVP9, "profile-id=0")
	video(webrtc.MimeTypeAV1, "profile=0")
	return all
}

// Accepted names the codecs that an offer may use, for people: by kind of media description.
func accepted(kind string) string {
	switch kind {
	case "video":
		return "VP8, H264, VP9, AV1"
	case "audio":
		return "opus"
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

func mediaCodec(mime string) media.Codec {
	switch {
	case strings.EqualFold(mime, webrtc.MimeTypeVP8):
		return media.VP8
	case strings.EqualFold(mime, webrtc.MimeTypeH264):
		return media.H264
	case strings.EqualFold(mime, webrtc.MimeTypeVP9):
		return media.VP9
	case strings.EqualFold(mime, webrtc.MimeTypeAV1):
		return media.AV1
	default:
		return media.CodecUnknown
	}
}
