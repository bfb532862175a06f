package depacket

// vp8 is the payload format of RFC 7741.
type vp8 struct {
	begun      bool
	disposable bool
	id, before pictureID // of this unit and of the one before
}

// pictureID is the running number that senders give to VP8 frames: 7 or 15 bits, none when bits is zero.
type pictureID struct {
	value uint16
	bits  uint8
}

// precedes tells whether next is certainly the number after p. Seven bits wrap every few seconds and prove nothing.
func (p pictureID) precedes(next pictureID) bool {
	return p.bits == 15 && next.bits == 15 && next.value == (p.value+1)&0x7fff
}

// vp8Descriptor is what is read of the payload descriptor (RFC 7741 section 4.2).
type vp8Descriptor struct {
	start      bool // first packet of a frame: S is set and the partition is 0
	disposable bool // N
	id         pictureID
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
	skip := 0
	if extension&0x40 != 0 { // TL0PICIDX
		skip++
	}
	if extension&0x30 != 0 { // TID, KEYIDX
		skip++
	}
	if len(rest) < skip {
		return d, nil, errMalformed
	}
	return d, rest[skip:], nil
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

func (v *vp8) begin(bool) {
	*v = vp8{before: v.id}
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
	v.id, v.disposable = d.id, d.disposable
	if !v.begun && !d.start {
		return dst, errNoStart
	}
	v.begun = true
	return append(dst, data...), nil
}

func (v *vp8) picture() bool { return v.begun }

// follows compares picture ids: what was lost then was padding, or part of a unit that is reported lost itself.
func (v *vp8) follows() bool { return v.before.precedes(v.id) }

func (v *vp8) describe(u *Unit) { u.Disposable = v.disposable }

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
