package depacket

// The types of NAL units that matter here (H.264 table 7-1, RFC 6184 table 1).
const (
	nalSlice      = 1
	nalPartitionA = 2
	nalIDR        = 5
	nalSEI        = 6
	nalSPS        = 7
	nalPPS        = 8
	nalAUD        = 9
	nalLastSingle = 23
	nalSTAPA      = 24
	nalFUA        = 28
)

// parametersMost bounds the parameter sets that are remembered, each kind.
const parametersMost = 4 << 10

// h264 is the payload format of RFC 6184, packetization modes 0 and 1. It writes Annex B.
type h264 struct {
	missing    bool // packets may have been lost before this unit
	slices     bool // a slice was added
	idr        bool
	disposable bool
	recovers   bool
	recovery   int
	hasSPS     bool // this unit brings its own
	hasPPS     bool
	fragment   byte // type of the NAL unit whose fragments are being added, zero when none

	// sps and pps are the latest parameter sets in Annex B, to be put before key frames that come without.
	sps, pps []byte
}

func (h *h264) begin(missing bool) {
	*h = h264{missing: missing, sps: h.sps, pps: h.pps}
}

// starts tells by the first NAL unit: a picture begins with a delimiter, parameter sets or its first slice.
func (h *h264) starts(payload []byte) bool {
	kind, body := payload[0]&0x1f, payload[1:]
	switch {
	case kind == nalSTAPA && len(body) > 3:
		kind, body = body[2]&0x1f, body[3:]
	case kind == nalFUA && len(body) > 1 && body[0]&0x80 != 0:
		kind, body = body[0]&0x1f, body[1:]
	}
	switch kind {
	case nalAUD, nalSPS:
		return true
	case nalSlice, nalPartitionA, nalIDR:
		return firstSlice(body)
	}
	return false
}

// firstSlice tells whether a slice begins at the picture's first macroblock: first_mb_in_slice, the first Exp-Golomb number of its header,
// is zero exactly when its first bit is one.
func firstSlice(body []byte) bool { return len(body) > 0 && body[0]&0x80 != 0 }

func (h *h264) add(dst, payload []byte) ([]byte, error) {
	header := payload[0]
	kind := header & 0x1f
	switch {
	case header&0x80 != 0: // forbidden_zero_bit
		return dst, errMalformed
	case kind == nalFUA:
		return h.addFragment(dst, payload)
	case h.fragment != 0: // its last fragment never came
		return dst, errMalformed
	case kind == nalSTAPA:
		return h.addAggregate(dst, payload[1:])
	}
	return h.addNAL(dst, payload)
}

// addAggregate adds the NAL units of a STAP-A (RFC 6184 section 5.7.1).
func (h *h264) addAggregate(dst, rest []byte) ([]byte, error) {
	for len(rest) > 0 {
		if len(rest) < 2 {
			return dst, errMalformed
		}
		size := int(rest[0])<<8 | int(rest[1])
		rest = rest[2:]
		if size > len(rest) {
			return dst, errMalformed
		}
		if size == 0 {
			continue
		}
		var err error
		if dst, err = h.addNAL(dst, rest[:size]); err != nil {
			return dst, err
		}
		rest = rest[size:]
	}
	return dst, nil
}

// addFragment adds a fragment of a FU-A (RFC 6184 section 5.8).
func (h *h264) addFragment(dst, payload []byte) ([]byte, error) {
	if len(payload) < 3 {
		return dst, errMalformed
	}
	indicator, header, body := payload[0], payload[1], payload[2:]
	kind := header & 0x1f
	first, last := header&0x80 != 0, header&0x40 != 0
	switch {
	case first && h.fragment != 0, kind == 0, kind > nalLastSingle:
		return dst, errMalformed
	case first:
		var err error
		if dst, err = h.startNAL(dst, indicator&0xe0|kind, body); err != nil {
			return dst, err
		}
		h.fragment = kind
		h.forget(kind)
	case h.fragment == 0:
		return dst, errNoStart
	case h.fragment != kind:
		return dst, errMalformed
	}
	if last {
		h.fragment = 0
	}
	return append(dst, body...), nil
}

// addNAL adds a whole NAL unit.
func (h *h264) addNAL(dst, nal []byte) ([]byte, error) {
	header, body := nal[0], nal[1:]
	kind := header & 0x1f
	if kind == 0 || kind > nalLastSingle {
		return dst, errMalformed
	}
	switch kind {
	case nalSPS:
		h.sps = remember(h.sps, nal, h.hasSPS)
	case nalPPS:
		h.pps = remember(h.pps, nal, h.hasPPS)
	case nalSEI:
		if frames, ok := recoveryPoint(body); ok {
			h.recovers, h.recovery = true, frames
		}
	}
	dst, err := h.startNAL(dst, header, body)
	if err != nil {
		return dst, err
	}
	return append(dst, body...), nil
}

// remember keeps a parameter set: with the others of its unit when there are any, in place of those of earlier units otherwise.
func remember(kept, nal []byte, more bool) []byte {
	if !more {
		kept = kept[:0]
	}
	if len(kept)+len(nal)+4 > parametersMost {
		return kept
	}
	return append(append(kept, 0, 0, 0, 1), nal...)
}

// forget lets go of remembered parameter sets that fragments replace: their bytes are not collected.
func (h *h264) forget(kind byte) {
	switch kind {
	case nalSPS:
		h.sps = h.sps[:0]
	case nalPPS:
		h.pps = h.pps[:0]
	}
}

// startNAL writes the beginning of a NAL unit of which body is the first part, and notes what it is.
func (h *h264) startNAL(dst []byte, header byte, body []byte) ([]byte, error) {
	switch kind := header & 0x1f; kind {
	case nalSPS:
		h.hasSPS = true
	case nalPPS:
		h.hasPPS = true
	case nalSlice, nalPartitionA, nalIDR:
		if !h.slices {
			var err error
			if dst, err = h.startPicture(dst, kind, body); err != nil {
				return dst, err
			}
		}
		h.slices = true
		h.idr = h.idr || kind == nalIDR
		h.disposable = header&0x60 == 0 // nal_ref_idc: zero in all slices of a picture or in none
	}
	return append(dst, 0, 0, 0, 1, header), nil
}

// startPicture checks that the first slice is the first one, and puts the parameter sets before a picture that needs them.
func (h *h264) startPicture(dst []byte, kind byte, body []byte) ([]byte, error) {
	if !firstSlice(body) {
		return dst, errNoStart
	}
	if kind != nalIDR && !h.recovers {
		return dst, nil
	}
	if h.missing && !h.hasSPS && kind == nalIDR {
		return dst, errNoStart // what was lost may be new parameter sets; the old ones would make a wrong picture of it
	}
	if !h.hasSPS {
		dst = append(dst, h.sps...)
	}
	if !h.hasPPS {
		dst = append(dst, h.pps...)
	}
	return dst, nil
}

func (h *h264) picture() bool { return h.slices }

// follows is never sure: nothing in a NAL unit numbers pictures in a way that survives loss.
func (h *h264) follows() bool { return false }

func (h *h264) describe(u *Unit) { u.Disposable = h.disposable }

func (h *h264) finish(_ []byte, u *Unit) error {
	if h.fragment != 0 {
		return errMalformed
	}
	parameters := (h.hasSPS || len(h.sps) > 0) && (h.hasPPS || len(h.pps) > 0)
	u.Key = h.idr && parameters
	u.Recovers = h.recovers && parameters && !u.Key
	if u.Recovers {
		u.Recovery = h.recovery
	}
	h.describe(u)
	return nil
}

// recoveryPoint looks for a recovery point among SEI messages (H.264 sections 7.3.2.3.1 and D.2.8) and gives its recovery_frame_cnt.
func recoveryPoint(sei []byte) (frames int, ok bool) {
	const recoveryPointType = 6
	for len(sei) >= 3 { // type, size and at least one byte: payload or trailing bits
		var kind, size int
		if kind, sei, ok = seiNumber(sei); !ok {
			return 0, false
		}
		if size, sei, ok = seiNumber(sei); !ok || size > len(sei) {
			return 0, false
		}
		if kind == recoveryPointType {
			return expGolomb(sei[:size])
		}
		sei = sei[size:]
	}
	return 0, false
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

// expGolomb reads an unsigned Exp-Golomb number of at most 16 bits (H.264 section 9.1) from the start of b.
func expGolomb(b []byte) (n int, ok bool) {
	bit := func(i int) int { return int(b[i/8]>>(7-i%8)) & 1 }
	zeros := 0
	for zeros < 8*len(b) && bit(zeros) == 0 {
		zeros++
	}
	if zeros > 16 || 2*zeros+1 > 8*len(b) {
		return 0, false
	}
	for i := zeros; i <= 2*zeros; i++ {
		n = n<<1 | bit(i)
	}
	return n - 1, true
}
