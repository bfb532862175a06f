package session

import (
	"github.com/sluice-dev/sluice/services/edge/internal/peer"
)

// orientation follows how a track's pictures are turned. A sender says it with the last packet of a picture (3GPP TS 26.114 section 7.4.5), for
// that one and all that follow. The zero value means upright.
type orientation struct {
	now uint16 // degrees

	// What the newest packet that told said, for pictures from its own on.
	next      uint16
	ssrc      uint32
	timestamp uint32
	pending   bool
}

// packet takes note of what a packet says, which may have overtaken others.
func (o *orientation) packet(p peer.Packet) {
	if !p.Oriented || o.pending && p.RTP.SSRC == o.ssrc && int32(p.RTP.Timestamp-o.timestamp) < 0 {
		return
	}
	o.next, o.ssrc, o.timestamp, o.pending = p.Rotation, p.RTP.SSRC, p.RTP.Timestamp, true
}

// at gives the rotation of a picture. Pictures are asked for in the order of decoding.
func (o *orientation) at(ssrc, timestamp uint32) uint16 {
	if o.pending && ssrc == o.ssrc && int32(timestamp-o.timestamp) >= 0 {
		o.now, o.pending = o.next, false
	}
	return o.now
}
