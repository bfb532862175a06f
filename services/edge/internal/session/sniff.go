package session

import "github.com/sluice-dev/sluice/pkg/media"

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
