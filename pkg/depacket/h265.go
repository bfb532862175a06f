package depacket

// The types of NAL units that matter here (H.265 table 7-1, RFC 7798 section 4.4). Those of coded slices are the numbers below 32.
const (
	hevcTSAN      = 2 // TSA_N, TSA_R, STSA_N and STSA_R are 2 to 5
	hevcTSAR      = 3
	hevcSTSAR     = 5
	hevcRASLN     = 8
	hevcRASLR     = 9
	hevcLastSub   = 14 // the last type of which an even number tells a sub-layer non-reference picture
	hevcBLA       = 16 // BLA_W_LP, the first that decoding can start with
	hevcIDR       = 19
	hevcIDRLast   = 20
	hevcCRA       = 21
	hevcLastSlice = 31
	hevcVPS       = 32
	hevcSPS       = 33
	hevcPPS       = 34
	hevcAUD       = 35
	hevcSEI       = 39 // before the picture
	hevcSuffixSEI = 40 // after it
	hevcLast      = 47
	hevcAggregate = 48
	hevcFragment  = 49
)

// hevcReorder is the most pictures that H.265 lets precede another in decoding order and follow it on the display. Recovery points count in
// the order of the display.
const hevcReorder = 16

// h265 is the payload format of RFC 7798 without decoding order numbers (sprop-max-don-diff 0). It writes Annex B.
type h265 struct {
	missing  bool // packets may have been lost before this unit
	slices   bool // a slice of the base layer was added
	kind     byte // of the picture's first slice
	layer    byte // TemporalId
	recovers bool
	recovery int
	fragment byte // type of the NAL unit whose fragments are being added, zero when none

	vps, sps, pps parameterSets
	top           byte // the highest temporal layer that the parameter sets allow
}

func (h *h265) begin(missing bool) {
	*h = h265{
		missing: missing, top: h.top,
		vps: parameterSets{kept: h.vps.kept}, sps: parameterSets{kept: h.sps.kept}, pps: parameterSets{kept: h.pps.kept},
	}
}

func hevcKind(header byte) byte { return header >> 1 & 0x3f }

// starts tells by the first NAL unit: a picture begins with a delimiter, parameter sets or its first slice.
func (h *h265) starts(payload []byte) bool {
	if len(payload) < 3 {
		return false
	}
	kind, body := hevcKind(payload[0]), payload[2:]
	switch {
	case kind == hevcAggregate && len(body) > 4:
		kind, body = hevcKind(body[2]), body[4:]
	case kind == hevcFragment && body[0]&0x80 != 0:
		kind, body = body[0]&0x3f, body[1:]
	}
	switch {
	case kind == hevcVPS, kind == hevcSPS, kind == hevcAUD:
		return true
	case kind <= hevcLastSlice:
		return firstSlice(body)
	}
	return false
}

func (h *h265) add(dst, payload []byte) ([]byte, error) {
	if len(payload) < 2 {
		return dst, errMalformed
	}
	kind := hevcKind(payload[0])
	switch {
	case payload[0]&0x80 != 0: // forbidden_zero_bit
		return dst, errMalformed
	case kind == hevcFragment:
		return h.addFragment(dst, payload)
	case h.fragment != 0: // its last fragment never came
		return dst, errMalformed
	case kind == hevcAggregate:
		return h.addAggregate(dst, payload[2:])
	}
	return h.addNAL(dst, payload)
}

// addAggregate adds the NAL units of an aggregation packet (RFC 7798 section 4.4.2).
func (h *h265) addAggregate(dst, rest []byte) ([]byte, error) {
	for len(rest) > 0 {
		var nal []byte
		var err error
		if nal, rest, err = aggregated(rest); err != nil {
			return dst, err
		}
		if dst, err = h.addNAL(dst, nal); err != nil {
			return dst, err
		}
	}
	return dst, nil
}

// addFragment adds a fragmentation unit (RFC 7798 section 4.4.3).
func (h *h265) addFragment(dst, payload []byte) ([]byte, error) {
	if len(payload) < 4 {
		return dst, errMalformed
	}
	header, body := payload[2], payload[3:]
	kind := header & 0x3f
	first, last := header&0x80 != 0, header&0x40 != 0
	// The type of a fragmented NAL unit may be zero, so that what is remembered is one more.
	switch {
	case first && h.fragment != 0, kind > hevcLast:
		return dst, errMalformed
	case first && hevcSupplemental(kind):
		h.fragment = kind + 1
	case first:
		var err error
		if dst, err = h.startNAL(dst, [2]byte{payload[0]&0x81 | kind<<1, payload[1]}, body); err != nil {
			return dst, err
		}
		h.fragment = kind + 1
		if sets := h.sets(kind); sets != nil {
			sets.replace()
		}
	case h.fragment == 0:
		return dst, errNoStart
	case h.fragment != kind+1:
		return dst, errMalformed
	}
	if last {
		h.fragment = 0
	}
	if hevcSupplemental(kind) {
		return dst, nil
	}
	return append(dst, body...), nil
}

// addNAL adds a whole NAL unit.
func (h *h265) addNAL(dst, nal []byte) ([]byte, error) {
	if len(nal) < 2 || hevcKind(nal[0]) > hevcLast {
		return dst, errMalformed
	}
	header, body := [2]byte(nal), nal[2:]
	kind := hevcKind(header[0])
	if sets := h.sets(kind); sets != nil && hevcBase(header) {
		sets.remember(nal)
	}
	if kind == hevcSEI {
		h.readSEI(body)
	}
	if hevcSupplemental(kind) {
		return dst, nil
	}
	dst, err := h.startNAL(dst, header, body)
	if err != nil {
		return dst, err
	}
	return append(dst, body...), nil
}

// hevcBase tells whether a NAL unit belongs to the base layer (nuh_layer_id), the one that decoders show.
func hevcBase(header [2]byte) bool { return header[0]&1 == 0 && header[1]>>3 == 0 }

// sets gives what is remembered of a kind of parameter sets, nil for other NAL units.
func (h *h265) sets(kind byte) *parameterSets {
	switch kind {
	case hevcVPS:
		return &h.vps
	case hevcSPS:
		return &h.sps
	case hevcPPS:
		return &h.pps
	}
	return nil
}

// hevcSupplemental tells whether NAL units of a kind are left out: no picture needs supplemental information, and a decoder that is told to let
// nothing pass refuses the picture for a message that it cannot read.
func hevcSupplemental(kind byte) bool { return kind == hevcSEI || kind == hevcSuffixSEI }

// readSEI looks for a recovery point (H.265 section D.3.8). Its recovery_poc_cnt is signed and counts pictures as displayed: those that are
// decoded after the one it names may still be shown before.
func (h *h265) readSEI(body []byte) {
	message, ok := seiMessage(body, recoveryPointType)
	if !ok {
		return
	}
	code, ok := (&bitReader{bytes: message}).golomb()
	if !ok {
		return
	}
	h.recovers, h.recovery = true, 0
	if code&1 == 1 { // positive
		h.recovery = (code+1)/2 + hevcReorder
	}
}

// startNAL writes the beginning of a NAL unit of which body is the first part, and notes what it is.
func (h *h265) startNAL(dst []byte, header [2]byte, body []byte) ([]byte, error) {
	kind, base := hevcKind(header[0]), hevcBase(header)
	switch {
	case header[1]&7 == 0: // nuh_temporal_id_plus1
		return dst, errMalformed
	case kind == hevcSPS && base && len(body) > 0:
		h.top = body[0] >> 1 & 7 // sps_max_sub_layers_minus1
	case kind <= hevcLastSlice && base && !h.slices:
		h.slices, h.kind, h.layer = true, kind, header[1]&7-1
		var err error
		if dst, err = h.startPicture(dst, body); err != nil {
			return dst, err
		}
	}
	return append(dst, 0, 0, 0, 1, header[0], header[1]), nil
}

// random tells whether the picture is one that decoding can start with.
func (h *h265) random() bool { return h.kind >= hevcBLA && h.kind <= hevcCRA }

// startPicture checks that the first slice is the first one, and puts the parameter sets before a picture that needs them.
func (h *h265) startPicture(dst, body []byte) ([]byte, error) {
	if !firstSlice(body) {
		return dst, errNoStart
	}
	if !h.random() && !h.recovers {
		return dst, nil
	}
	if h.missing && !h.sps.here && h.random() {
		return dst, errNoStart // what was lost may be new parameter sets; the old ones would make a wrong picture of it
	}
	return h.pps.complete(h.sps.complete(h.vps.complete(dst))), nil
}

func (h *h265) picture() bool { return h.slices }

// follows is never sure: nothing in a NAL unit numbers pictures in a way that survives loss.
func (h *h265) follows() bool { return false }

// describe tells of temporal layers. That no picture of the same layer refers to this one says nothing about those of higher layers.
func (h *h265) describe(u *Unit) {
	if !h.slices {
		return
	}
	u.Layer = h.layer
	u.Disposable = h.kind <= hevcLastSub && h.kind&1 == 0 && h.layer == h.top
	u.Fresh = h.kind >= hevcTSAN && h.kind <= hevcSTSAR
	u.Switch = h.kind == hevcTSAN || h.kind == hevcTSAR
	u.Leading = h.kind == hevcRASLN || h.kind == hevcRASLR
}

func (h *h265) finish(_ []byte, u *Unit) error {
	if h.fragment != 0 {
		return errMalformed
	}
	parameters := h.vps.known() && h.sps.known() && h.pps.known()
	u.Key = h.random() && parameters
	u.Recovers = h.recovers && parameters && !u.Key
	if u.Recovers {
		u.Recovery = h.recovery
	}
	h.describe(u)
	return nil
}

// breakLink turns the slices of a clean random access picture into those of a broken link: the pictures before it are not what they were when
// it was encoded, so that a decoder must neither refer to them nor number on from them (H.265 section 8.1.3). The slices' syntax is the same.
func breakLink(annexB []byte) {
	for i := 0; i+4 < len(annexB); i++ {
		if annexB[i] != 0 || annexB[i+1] != 0 || annexB[i+2] != 1 {
			continue
		}
		if header := &annexB[i+3]; hevcKind(*header) == hevcCRA {
			*header = *header&0x81 | hevcBLA<<1
		}
	}
}
