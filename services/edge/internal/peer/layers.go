package peer

import (
	"slices"
	"strconv"
	"strings"

	"github.com/pion/sdp/v3"
	"github.com/pion/webrtc/v4"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/pkg/simulcast"
)

// announced is a layer of a simulcast as its sender describes it in an offer.
type announced struct {
	rid  string
	size simulcast.Size // the largest that it will be; zero when the offer does not say
}

// announcedLayers reads the layers of a media description: a=rid with the restrictions max-width and max-height (RFC 8851).
func announcedLayers(m *sdp.MediaDescription) []announced {
	var layers []announced
	for _, a := range m.Attributes {
		words := strings.SplitN(a.Value, " ", 3)
		if a.Key != "rid" || len(words) < 2 || words[1] != "send" {
			continue
		}
		layer := announced{rid: words[0]}
		if len(words) == 3 {
			layer.size = announcedSize(words[2])
		}
		layers = append(layers, layer)
	}
	return layers
}

// announcedSize reads restrictions; zero unless both sides of a picture are there.
func announcedSize(restrictions string) (size simulcast.Size) {
	const largest = 1 << 14 // pixels
	for restriction := range strings.SplitSeq(restrictions, ";") {
		key, value, _ := strings.Cut(strings.TrimSpace(restriction), "=")
		n, err := strconv.Atoi(value)
		if err != nil || n < 1 || n > largest {
			continue
		}
		switch key {
		case "max-width":
			size.Width = n
		case "max-height":
			size.Height = n
		}
	}
	if size.Width == 0 || size.Height == 0 {
		return simulcast.Size{}
	}
	return size
}

// turnDown takes the layers out of an answer that no model needs, by the sizes that the offer announces: what is not accepted is never
// encoded. pion itself takes what comes.
func (o *offer) turnDown(answer string, pictures []media.PictureInput) string {
	const media = "\r\nm="
	sections := strings.Split(answer, media)
	for i, section := range sections[1:] {
		_, rest, _ := strings.Cut(section, "\r\na=mid:")
		mid, _, _ := strings.Cut(rest, "\r\n")
		if unwanted := unwantedLayers(o.layers[mid], pictures); len(unwanted) > 0 {
			sections[i+1] = withoutLayers(section, unwanted)
		}
	}
	return strings.Join(sections, media)
}

// unwantedLayers gives the names of the layers that are not worth having.
func unwantedLayers(layers []announced, pictures []media.PictureInput) map[string]bool {
	sizes := make([]simulcast.Size, len(layers))
	for i, l := range layers {
		sizes[i] = l.size
	}
	unwanted := make(map[string]bool)
	for i, worth := range simulcast.Worth(sizes, pictures) {
		if !worth {
			unwanted[layers[i].rid] = true
		}
	}
	return unwanted
}

// withoutLayers takes layers out of a media description of an answer (RFC 8853).
func withoutLayers(section string, unwanted map[string]bool) string {
	const simulcasts = "a=simulcast:recv "
	var kept []string
	for line := range strings.SplitSeq(section, "\r\n") {
		rid, isRID := strings.CutPrefix(line, "a=rid:")
		name, _, _ := strings.Cut(rid, " ")
		if isRID && unwanted[name] {
			continue
		}
		if layers, ok := strings.CutPrefix(line, simulcasts); ok {
			var names []string
			for layer := range strings.SplitSeq(layers, ";") {
				if !unwanted[strings.TrimPrefix(layer, "~")] {
					names = append(names, layer)
				}
			}
			line = simulcasts + strings.Join(names, ";")
		}
		kept = append(kept, line)
	}
	return strings.Join(kept, "\r\n")
}

// announcedSize gives the size that the client announced for a layer; zero when it did not.
func (p *Peer) announcedSize(remote *webrtc.TrackRemote, receiver *webrtc.RTPReceiver) simulcast.Size {
	transceivers := p.pc.GetTransceivers()
	at := slices.IndexFunc(transceivers, func(t *webrtc.RTPTransceiver) bool { return t.Receiver() == receiver })
	if at < 0 {
		return simulcast.Size{}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, l := range p.layers[transceivers[at].Mid()] {
		if l.rid == remote.RID() {
			return l.size
		}
	}
	return simulcast.Size{}
}
