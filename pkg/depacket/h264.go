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

// h264 is the payload format of RFC 6184, packetization modes 0 and 1. It writes Annex B.
type h264 struct {
	missing    bool // packets may have been lost before this unit
	slices     bool // a slice was added
	idr        bool
	disposable bool
	backward   bool // a slice of type B was added
	recovers   bool
	recovery   int
	fragment   byte // type of the NAL unit whose fragments are being added, zero when none

	sps, pps parameterSets
}

func (h *h264) begin(missing bool) {
	*h = h264{missing: missing, sps: parameterSets{kept: h.sps.kept}, pps: parameterSets{kept: h.pps.kept}}
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
		var nal []byte
		var err error
		if nal, rest, err = aggregated(rest); err != nil {
			return dst, err
		}
		if len(nal) == 0 {
			continue
		}
		if dst, err = h.addNAL(dst, nal); err != nil {
			return dst, err
		}
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
		switch kind {
		case nalSPS:
			h.sps.replace()
		case nalPPS:
			h.pps.replace()
		}
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
		h.sps.remember(nal)
	case nalPPS:
		h.pps.remember(nal)
	case nalSEI:
		if message, ok := seiMessage(body, recoveryPointType); ok {
			h.recovery, h.recovers = (&bitReader{bytes: message}).golomb() // recovery_frame_cnt (section D.2.8)
		}
	}
	dst, err := h.startNAL(dst, header, body)
	if err != nil {
		return dst, err
	}
	return append(dst, body...), nil
}

// startNAL writes the beginning of a NAL unit of which body is the first part, and notes what it is.
func (h *h264) startNAL(dst []byte, header byte, body []byte) ([]byte, error) {
	switch kind := header & 0x1f; kind {
	case nalSlice, nalPartitionA, nalIDR:
		if !h.slices {
			var err error
			if dst, err = h.startPicture(dst, kind, body); err != nil {
				return dst, err
			}
		}
		h.slices = true
		h.idr = h.idr || kind == nalIDR
		h.backward = h.backward || isB(body)
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
	if h.missing && !h.sps.here && kind == nalIDR {
		return dst, errNoStart // what was lost may be new parameter sets; the old ones would make a wrong picture of it
	}
	return h.pps.complete(h.sps.complete(dst)), nil
}

// isB tells whether a slice may refer to two pictures (H.264 table 7-6), as only those do that are shown before one that they refer to.
func isB(slice []byte) bool {
	r := bitReader{bytes: slice}
	r.golomb() // first_mb_in_slice
	kind, ok := r.golomb()
	return ok && kind%5 == 1
}

func (h *h264) picture() bool { return h.slices }

// follows is never sure: nothing in a NAL unit numbers pictures in a way that survives loss.
func (h *h264) follows() bool { return false }

func (h *h264) describe(u *Unit) { u.Disposable, u.Backward = h.disposable, h.backward }

func (h *h264) finish(_ []byte, u *Unit) error {
	if h.fragment != 0 {
		return errMalformed
	}
	parameters := h.sps.known() && h.pps.known()
	u.Key = h.idr && parameters
	u.Recovers = h.recovers && parameters && !u.Key
	if u.Recovers {
		u.Recovery = h.recovery
	}
	h.describe(u)
	return nil
}
