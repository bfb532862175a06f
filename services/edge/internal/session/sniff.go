package session

import (
	"mime"
	"strings"

	"github.com/sluice-dev/sluice/pkg/media"
)

// channelType is what a data channel's protocol says about its messages.
type channelType struct {
	// control marks the channel that carries server messages instead of frames.
	control bool
	// codec is CodecUnknown when every message has to be recognised by itself.
	codec media.Codec
	// known is false for a type of frames that the edge cannot take.
	known bool
	// models narrows the session's models; empty means all.
	models []string
}

// controlProtocol is the protocol of the channel for the session's server messages.
const controlProtocol = "sluice.v1+json"

// parseProtocol reads a data channel's protocol: the control protocol, a MIME type or nothing, with models as parameters ("model=faces", or
// several, joined by commas).
func parseProtocol(protocol string) channelType {
	if protocol == controlProtocol {
		return channelType{control: true, known: true}
	}
	kind, parameters, _ := strings.Cut(protocol, ";")
	t := channelType{known: true}
	for parameter := range strings.SplitSeq(parameters, ";") {
		if name, value, ok := strings.Cut(strings.TrimSpace(parameter), "="); ok && strings.EqualFold(name, "model") {
			for model := range strings.SplitSeq(strings.Trim(value, `"`), ",") {
				if model != "" {
					t.models = append(t.models, model)
				}
			}
		}
	}
	if kind = strings.TrimSpace(kind); kind == "" {
		return t
	}
	mediaType, _, err := mime.ParseMediaType(kind)
	if err != nil {
		return t // no MIME type at all: a page's own word
	}
	switch mediaType {
	case "image/jpeg", "image/jpg":
		t.codec = media.JPEG
	case "image/png":
		t.codec = media.PNG
	case "image/webp":
		t.codec = media.WebP
	default:
		// Sound, tensors and the like are not taken yet; they are counted and must not be mistaken for pictures. Anything else may be a
		// page's own word, whose messages are looked at.
		t.known = mediaType == "application/octet-stream" || !strings.HasPrefix(mediaType, "audio/") && !strings.HasPrefix(mediaType, "application/")
	}
	return t
}

// sniff recognises a picture by its first bytes.
func sniff(message []byte) media.Codec {
	has := func(at int, signature string) bool {
		return len(message) >= at+len(signature) && string(message[at:at+len(signature)]) == signature
	}
	switch {
	case has(0, "\xff\xd8\xff"):
		return media.JPEG
	case has(0, "\x89PNG\r\n\x1a\n"):
		return media.PNG
	case has(0, "RIFF") && has(8, "WEBP"):
		return media.WebP
	default:
		return media.CodecUnknown
	}
}
