package depacket

// tl0Span is the distance in picture ids within which the eight bits of TL0PICIDX cannot have come round unnoticed.
const tl0Span = 128

// numbering is what VP8 (RFC 7741) and VP9 (RFC 9628) say alike of a picture's place in the stream.
type numbering struct {
	id       pictureID
	temporal uint8 // TID
	tl0      uint8 // TL0PICIDX
	hasTL0   bool
}

// missingLayer gives the lowest temporal layer of which pictures may be missing between two: 1 when TL0PICIDX accounts for all of the lowest.
func (n numbering) missingLayer(before numbering) uint8 {
	apart := (n.id.value - before.id.value) & 0x7fff
	if !n.hasTL0 || !before.hasTL0 || n.id.bits != 15 || before.id.bits != 15 || apart >= tl0Span {
		return 0
	}
	want := before.tl0
	if n.temporal == 0 {
		want++
	}
	if n.tl0 != want {
		return 0
	}
	return 1
}

// pictureID is the running number that senders give to pictures: 7 or 15 bits, none when bits is zero.
type pictureID struct {
	value uint16
	bits  uint8
}

// precedes tells whether next is certainly the number after p. Seven bits wrap every few seconds and prove nothing.
func (p pictureID) precedes(next pictureID) bool {
	return p.bits == 15 && next.bits == 15 && next.value == (p.value+1)&0x7fff
}

func parsePictureID(b []byte) (id pictureID, rest []byte, err error) {
	switch {
	case len(b) >= 1 && b[0]&0x80 == 0:
		return pictureID{uint16(b[0]), 7}, b[1:], nil
	case len(b) >= 2:
		return pictureID{uint16(b[0]&0x7f)<<8 | uint16(b[1]), 15}, b[2:], nil
	}
	return id, nil, errMalformed
}
