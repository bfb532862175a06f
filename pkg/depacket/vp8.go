package depacket

// vp8 is the payload format of RFC 7741.
type vp8 struct {
	begun       bool
	disposable  bool
	fresh       bool      // a higher temporal layer starts afresh: all packets say so
	now, before numbering // of this unit and of the one before
}

// vp8Descriptor is what is read of the payload descriptor (RFC 7741 section 4.2).
type vp8Descriptor struct {
	start      bool // first packet of a frame: S is set and the partition is 0
	disposable bool // N
	synced     bool // Y
	numbering
}

// parseVP8 splits a payload into descriptor and frame data.
func parseVP8(payload []byte) (d vp8Descriptor, data []byte, err error) {
	if len(payload) == 0 {
		return d, nil, errMalformed
	}
	first := payload[0]
	d.start = first&0x10 != 0 && first&0x07 == 0
	d.disposable = first&0x20 != 0
	rest := payload[1:]
	if first&0x80 == 0 { // no extension
		return d, rest, nil
	}
	if len(rest) == 0 {
		return d, nil, errMalformed
	}
	extension := rest[0]
	rest = rest[1:]
	if extension&0x80 != 0 { // picture id
		if d.id, rest, err = parsePictureID(rest); err != nil {
			return d, nil, err
		}
	}
	if extension&0x40 != 0 { // L
		if len(rest) == 0 {
			return d, nil, errMalformed
		}
		d.tl0, d.hasTL0, rest = rest[0], true, rest[1:]
	}
	if extension&0x30 != 0 { // T, K
		if len(rest) == 0 {
			return d, nil, errMalformed
		}
		if extension&0x20 != 0 {
			d.temporal, d.synced = rest[0]>>6, rest[0]&0x20 != 0
		}
		rest = rest[1:]
	}
	return d, rest, nil
}

func (v *vp8) begin(bool) {
	*v = vp8{before: v.now}
}

func (v *vp8) starts(payload []byte) bool {
	d, _, err := parseVP8(payload)
	return err == nil && d.start
}

func (v *vp8) add(dst, payload []byte) ([]byte, error) {
	d, data, err := parseVP8(payload)
	switch {
	case err != nil:
		return dst, err
	case v.begun && d.start:
		return dst, errMalformed // another frame with the timestamp of this one
	}
	v.now, v.disposable, v.fresh = d.numbering, d.disposable, d.synced && d.temporal > 0
	if !v.begun && !d.start {
		return dst, errNoStart
	}
	v.begun = true
	return append(dst, data...), nil
}

func (v *vp8) picture() bool { return v.begun }

// follows compares picture ids: what was lost then was padding, or part of a unit that is reported lost itself.
func (v *vp8) follows() bool { return v.before.id.precedes(v.now.id) }

// describe tells of temporal layers: with Y set, a picture depends on none but those of the lowest, and later ones of its layer on none before.
func (v *vp8) describe(u *Unit) {
	u.Disposable, u.Layer, u.Fresh = v.disposable, v.now.temporal, v.fresh
	u.MissingLayer = v.now.missingLayer(v.before)
}

// finish reads the frame header (RFC 6386 section 9.1).
func (v *vp8) finish(data []byte, u *Unit) error {
	const keyHeader = 10
	if len(data) < 3 {
		return errMalformed
	}
	u.Key = data[0]&1 == 0
	if u.Key && (len(data) < keyHeader || data[3] != 0x9d || data[4] != 0x01 || data[5] != 0x2a) {
		return errMalformed
	}
	v.describe(u)
	return nil
}
