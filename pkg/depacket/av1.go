package depacket

// The types of OBUs that matter here (AV1 section 6.2.2).
const (
	obuSequence    = 1
	obuDelimiter   = 2
	obuFrameHeader = 3
	obuTileGroup   = 4
	obuMetadata    = 5
	obuFrame       = 6
	obuRedundant   = 7
)

// obuSizeBytes is the room for an OBU's size. Its LEB128 is written with so many bytes whatever the size is, which is not known when the
// first fragment comes.
const obuSizeBytes = 4

// av1 is the AV1 RTP payload format of the Alliance for Open Media (v1.0.0). It writes temporal units in the low-overhead format: a temporal
// delimiter, then the OBUs, each with its size. Nothing in a packet numbers pictures, so that every gap between units counts.
type av1 struct {
	opened   bool // a packet was taken
	open     bool // the last OBU lacks its end
	start    int  // where the open OBU begins in the unit
	sequence bool // there is a sequence header, and it came before any frame
	still    bool // its frames have no type: all are key frames
	pictures bool // there is something of a frame
	key      bool
}

func (a *av1) begin(bool) { *a = av1{} }

// av1Aggregation is the aggregation header (section 4.4).
type av1Aggregation struct {
	continues  bool // Z: the first element continues the OBU of the packet before
	unfinished bool // Y: the last element's OBU goes on in the next packet
	count      int  // W: the number of elements, of which the last has no size; 0 means that every one has its size
	sequence   bool // N: first packet of a coded video sequence
}

// parseAV1 splits a payload into aggregation header and elements.
func parseAV1(payload []byte) (h av1Aggregation, elements []byte, err error) {
	if len(payload) < 2 {
		return h, nil, errMalformed
	}
	b := payload[0]
	h = av1Aggregation{continues: b&0x80 != 0, unfinished: b&0x40 != 0, count: int(b >> 4 & 3), sequence: b&0x08 != 0}
	if h.continues && h.sequence {
		return h, nil, errMalformed
	}
	return h, payload[1:], nil
}

// next takes the next element off rest; n is the number of those before it.
func (h av1Aggregation) next(rest []byte, n int) (element, after []byte, err error) {
	if n+1 == h.count {
		return rest, nil, nil
	}
	size, width := leb128(rest)
	if width == 0 || size > len(rest)-width {
		return nil, nil, errMalformed
	}
	return rest[width : width+size], rest[width+size:], nil
}

// starts tells by the first OBU: a temporal unit begins with a delimiter, a sequence header, metadata or a frame of the lowest layer.
func (a *av1) starts(payload []byte) bool {
	h, rest, err := parseAV1(payload)
	if err != nil || h.continues {
		return false
	}
	element, _, err := h.next(rest, 0)
	if err != nil || len(element) == 0 {
		return false
	}
	switch element[0] >> 3 & 15 {
	case obuSequence, obuDelimiter:
		return true
	case obuFrameHeader, obuFrame, obuMetadata:
		return element[0]&4 == 0 || len(element) > 1 && element[1]>>3&3 == 0 // spatial_id
	}
	return false
}

func (a *av1) add(dst, payload []byte) ([]byte, error) {
	h, rest, err := parseAV1(payload)
	switch {
	case err != nil:
		return dst, err
	case h.continues && !a.opened:
		return dst, errNoStart
	case h.continues != a.open:
		return dst, errMalformed
	case !a.opened:
		dst = append(dst, obuDelimiter<<3|2, 0)
	}
	a.opened = true
	for n := 0; n == 0 || len(rest) > 0 || n < h.count; n++ {
		if len(rest) == 0 { // fewer than W tells
			return dst, errMalformed
		}
		var element []byte
		if element, rest, err = h.next(rest, n); err != nil {
			return dst, err
		}
		if !a.open {
			a.start = len(dst)
			dst = append(dst, make([]byte, obuSizeBytes)...)
		}
		dst = append(dst, element...)
		if a.open = h.unfinished && len(rest) == 0; a.open {
			break
		}
		if dst, err = a.endOBU(dst); err != nil {
			return dst, err
		}
	}
	return dst, nil
}

// endOBU gives the OBU at a.start, which lies behind the room for its size, its final form, or takes it away.
func (a *av1) endOBU(dst []byte) ([]byte, error) {
	obu := dst[a.start+obuSizeBytes:]
	if len(obu) == 0 {
		return dst[:a.start], nil
	}
	head := 1
	if obu[0]&0x04 != 0 { // obu_extension_flag
		head = 2
	}
	if obu[0]&0x80 != 0 || len(obu) < head { // obu_forbidden_bit
		return dst, errMalformed
	}
	body := obu[head:]
	if obu[0]&0x02 != 0 { // obu_has_size_field, which senders should leave out
		size, width := leb128(body)
		if width == 0 || size > len(body)-width {
			return dst, errMalformed
		}
		body = body[width : width+size]
	}
	if !a.note(obu[0]>>3&15, body) {
		return dst[:a.start], nil
	}
	dst[a.start] = obu[0] | 0x02
	if head == 2 {
		dst[a.start+1] = obu[1]
	}
	at, size := a.start+head, len(body)
	for i := range obuSizeBytes {
		dst[at+i] = byte(size&0x7f) | 0x80
		size >>= 7
	}
	dst[at+obuSizeBytes-1] &= 0x7f
	copy(dst[at+obuSizeBytes:], body)
	return dst[:at+obuSizeBytes+len(body)], nil
}

// note takes note of an OBU, and tells whether a decoder needs it: delimiters, tile lists and padding must not be passed on.
func (a *av1) note(kind byte, body []byte) bool {
	switch kind {
	case obuSequence:
		a.sequence = a.sequence || !a.pictures
		a.still = len(body) > 0 && body[0]&0x08 != 0 // reduced_still_picture_header
	case obuFrameHeader, obuFrame:
		if !a.pictures {
			a.key = a.sequence && (a.still || isAV1Key(body))
		}
		a.pictures = true
	case obuTileGroup, obuRedundant:
		a.pictures = true
	case obuMetadata:
	default:
		return false
	}
	return true
}

// isAV1Key tells whether a frame header is that of a key frame which is shown (AV1 section 5.9.2): show_existing_frame, two bits of
// frame_type, show_frame.
func isAV1Key(header []byte) bool { return len(header) > 0 && header[0]&0xf0 == 0x10 }

// picture is also true of a fragment, whatever it is of.
func (a *av1) picture() bool { return a.pictures || a.open }

// follows is never sure.
func (a *av1) follows() bool { return false }

// describe has nothing to say: what depends on a temporal unit is not told without a dependency descriptor.
func (a *av1) describe(*Unit) {}

func (a *av1) finish(_ []byte, u *Unit) error {
	if a.open {
		return errMalformed
	}
	u.Key = a.key
	return nil
}

// leb128 reads a number of at most 28 bits (AV1 section 4.10.5) from the start of b and says how many bytes it has; none when there is no
// such number.
func leb128(b []byte) (value, width int) {
	for i, v := range b[:min(len(b), 8)] {
		if i > 3 && v&0x7f != 0 {
			return 0, 0 // larger than any unit
		}
		value |= int(v&0x7f) << (7 * i)
		if v&0x80 == 0 {
			return value, i + 1
		}
	}
	return 0, 0
}
