package depacket

// What H.264 and H.265 have in common: NAL units in Annex B, parameter sets, aggregates, SEI messages.

// parametersMost bounds the parameter sets that are remembered, each kind.
const parametersMost = 4 << 10

// parameterSets are those of one kind.
type parameterSets struct {
	// kept holds the latest ones in Annex B, to be put before key frames that come without.
	kept []byte
	here bool // the open unit brings its own
}

// remember keeps a parameter set: with the others of its unit when there are any, in place of those of earlier units otherwise.
func (p *parameterSets) remember(nal []byte) {
	if !p.here {
		p.kept = p.kept[:0]
	}
	p.here = true
	if len(p.kept)+len(nal)+4 <= parametersMost {
		p.kept = append(append(p.kept, 0, 0, 0, 1), nal...)
	}
}

// replace notes a parameter set that comes in fragments, whose bytes are not collected: what it replaces is let go.
func (p *parameterSets) replace() { p.kept, p.here = p.kept[:0], true }

// known tells whether a decoder that starts with the open unit has such a set.
func (p *parameterSets) known() bool { return p.here || len(p.kept) > 0 }

// complete adds what is remembered to a unit that brings none itself.
func (p *parameterSets) complete(dst []byte) []byte {
	if p.here {
		return dst
	}
	return append(dst, p.kept...)
}

// aggregated takes the first NAL unit off an aggregate (RFC 6184 section 5.7.1, RFC 7798 section 4.4.2): its size, then its bytes.
func aggregated(rest []byte) (nal, after []byte, err error) {
	if len(rest) < 2 {
		return nil, nil, errMalformed
	}
	size := int(rest[0])<<8 | int(rest[1])
	if rest = rest[2:]; size > len(rest) {
		return nil, nil, errMalformed
	}
	return rest[:size], rest[size:], nil
}

// firstSlice tells whether a slice is its picture's first. H.264: first_mb_in_slice, the first Exp-Golomb number of the header, is zero exactly
// when its first bit is one. H.265: that bit is first_slice_segment_in_pic_flag.
func firstSlice(body []byte) bool { return len(body) > 0 && body[0]&0x80 != 0 }

// recoveryPointType is the payloadType of recovery points among SEI messages, in both standards.
const recoveryPointType = 6

// seiMessage gives the first SEI message of a type (H.264 section 7.3.2.3.1, H.265 section 7.3.5).
func seiMessage(sei []byte, want int) (payload []byte, ok bool) {
	for len(sei) >= 3 { // type, size and at least one byte: payload or trailing bits
		var kind, size int
		if kind, sei, ok = seiNumber(sei); !ok {
			return nil, false
		}
		if size, sei, ok = seiNumber(sei); !ok || size > len(sei) {
			return nil, false
		}
		if kind == want {
			return sei[:size], true
		}
		sei = sei[size:]
	}
	return nil, false
}

// seiNumber reads a number that is written as the sum of bytes up to the first that is not 255.
func seiNumber(b []byte) (n int, rest []byte, ok bool) {
	for i, v := range b {
		n += int(v)
		if v != 0xff {
			return n, b[i+1:], true
		}
	}
	return 0, nil, false
}

// golomb reads an unsigned Exp-Golomb number of at most 16 bits (H.264 section 9.1).
func (r *bitReader) golomb() (n int, ok bool) {
	zeros := 0
	for ; r.read(1) == 0; zeros++ {
		if zeros == 16 || r.failed {
			return 0, false
		}
	}
	n = 1<<zeros | int(r.read(zeros))
	return n - 1, !r.failed
}
