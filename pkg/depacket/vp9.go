package depacket

const vp9MostFrames = 8 // in a superframe (VP9 annex B.3)

// vp9 is the payload format of RFC 9628, in flexible and non-flexible mode. A picture of one frame is written as it is. The frames of
// several spatial layers share a timestamp; they become one superframe (VP9 annex B), since nothing else tells a decoder where one ends.
type vp9 struct {
	missing bool // packets may have been lost before this unit
	begun   bool
	open    bool // the last packet did not end its frame
	start   int  // where the open frame begins in the unit
	sizes   [vp9MostFrames]int
	frames  int
	key     bool // the first frame is a key frame
	unused  bool // no frame so far leaves anything behind for later ones
	now     vp9Picture

	// Of the units before.
	before vp9Picture
	base   uint8 // the lowest spatial layer
	svc    bool  // pictures have had more than one frame
}

// vp9Picture is what all packets of a picture say alike.
type vp9Picture struct {
	numbering
	switches bool // U
}

// vp9Descriptor is what is read of the payload descriptor (RFC 9628 section 4.2).
type vp9Descriptor struct {
	vp9Picture
	first, last bool  // packet of a frame: B and E
	spatial     uint8 // SID
	upon        bool  // D: predicted from the spatial layer below
}

// parseVP9 splits a payload into descriptor and frame data.
func parseVP9(payload []byte) (d vp9Descriptor, data []byte, err error) {
	if len(payload) == 0 {
		return d, nil, errMalformed
	}
	flags, rest := payload[0], payload[1:]
	flexible := flags&0x10 != 0
	d.first, d.last = flags&0x08 != 0, flags&0x04 != 0
	if flags&0x80 != 0 { // I
		if d.id, rest, err = parsePictureID(rest); err != nil {
			return d, nil, err
		}
	}
	if flags&0x20 != 0 { // L
		size := 2
		if flexible {
			size = 1
		}
		if len(rest) < size {
			return d, nil, errMalformed
		}
		d.temporal, d.switches, d.spatial, d.upon = rest[0]>>5, rest[0]&0x10 != 0, rest[0]>>1&7, rest[0]&1 != 0
		if !flexible {
			d.tl0, d.hasTL0 = rest[1], true
		}
		rest = rest[size:]
	}
	if flexible && flags&0x40 != 0 { // P
		if rest, err = skipVP9References(rest); err != nil {
			return d, nil, err
		}
	}
	if flags&0x02 != 0 { // V
		if rest, err = skipVP9Structure(rest); err != nil {
			return d, nil, err
		}
	}
	return d, rest, nil
}

// skipVP9References skips the one to three P_DIFF of flexible mode.
func skipVP9References(b []byte) ([]byte, error) {
	for i := range 3 {
		if i >= len(b) {
			break
		}
		if b[i]&1 == 0 { // N: no more follow
			return b[i+1:], nil
		}
	}
	return nil, errMalformed
}

// skipVP9Structure skips the scalability structure (section 4.2.1). Its sizes are not needed: each frame has its own.
func skipVP9Structure(b []byte) ([]byte, error) {
	if len(b) == 0 {
		return nil, errMalformed
	}
	head, at := b[0], 1
	if head&0x10 != 0 { // Y
		at += 4 * (int(head>>5) + 1)
	}
	if head&0x08 != 0 { // G
		if at >= len(b) {
			return nil, errMalformed
		}
		pictures := int(b[at])
		at++
		for range pictures {
			if at >= len(b) {
				return nil, errMalformed
			}
			at += 1 + int(b[at]>>2&3)
		}
	}
	if at > len(b) {
		return nil, errMalformed
	}
	return b[at:], nil
}

func (v *vp9) begin(missing bool) {
	before := v.before
	if v.begun || v.now != (vp9Picture{}) {
		before = v.now
	}
	*v = vp9{missing: missing, unused: true, before: before, base: v.base, svc: v.svc}
}

// starts tells by the lowest layer: frames of higher ones belong to a picture that has begun.
func (v *vp9) starts(payload []byte) bool {
	d, _, err := parseVP9(payload)
	return err == nil && d.first && d.spatial <= v.base
}

func (v *vp9) add(dst, payload []byte) ([]byte, error) {
	d, data, err := parseVP9(payload)
	if err != nil {
		return dst, err
	}
	if v.begun {
		d.switches = d.switches && v.now.switches // what is to hold for the picture must hold for all layers
		if v.now.switches = d.switches; d.vp9Picture != v.now {
			return dst, errMalformed // another picture with the timestamp of this one
		}
	}
	v.now = d.vp9Picture
	switch {
	case !v.open && !d.first, !v.begun && v.missing && (d.upon || d.spatial > v.base):
		return dst, errNoStart
	case v.open && d.first:
		return dst, errMalformed // the frame before never ended
	case d.first:
		if v.frames == vp9MostFrames {
			return dst, errMalformed
		}
		if err := v.inspect(data); err != nil {
			return dst, err
		}
		if v.frames == 0 {
			v.base = d.spatial
		}
		v.start = len(dst)
	}
	v.begun, v.open = true, !d.last
	dst = append(dst, data...)
	if d.last {
		v.sizes[v.frames] = len(dst) - v.start
		v.frames++
	}
	return dst, nil
}

// inspect reads the beginning of a frame (VP9 section 6.2).
func (v *vp9) inspect(frame []byte) error {
	h, ok := readVP9Header(frame)
	if !ok {
		return errMalformed
	}
	if v.frames == 0 {
		v.key = h.key
	}
	v.unused = v.unused && h.unused
	return nil
}

func (v *vp9) picture() bool { return v.begun }

// follows compares picture ids: what was lost then was padding, or part of a unit that is reported lost itself.
func (v *vp9) follows() bool { return v.before.id.precedes(v.now.id) }

func (v *vp9) describe(u *Unit) {
	u.Disposable = v.begun && v.unused && !v.svc && v.frames <= 1
	u.Layer, u.Switch = v.now.temporal, v.now.switches
	u.MissingLayer = v.now.missingLayer(v.before.numbering)
}

// finish adds a superframe's index.
func (v *vp9) finish(data []byte, u *Unit) error {
	if v.open {
		return errMalformed
	}
	u.Key = v.key
	if v.frames > 1 {
		v.svc = true
		index, err := v.index(data)
		if err != nil {
			return err
		}
		u.Data = append(u.Data, index...)
	}
	v.describe(u)
	return nil
}

// index gives the superframe index (VP9 annex B.3) of the unit's frames. A frame that is a superframe itself, as encoders with hidden frames
// write them, cannot be part of one.
func (v *vp9) index(data []byte) ([]byte, error) {
	largest, at := 0, 0
	for _, size := range v.sizes[:v.frames] {
		at += size
		if size == 0 || isVP9Superframe(data[at-size:at]) {
			return nil, errMalformed
		}
		largest = max(largest, size)
	}
	bytes := 1
	for largest>>(8*bytes) > 0 {
		bytes++
	}
	marker := 0xc0 | byte(bytes-1)<<3 | byte(v.frames-1)
	index := []byte{marker}
	for _, size := range v.sizes[:v.frames] {
		for i := range bytes {
			index = append(index, byte(size>>(8*i)))
		}
	}
	return append(index, marker), nil
}

// isVP9Superframe tells whether data ends with an index.
func isVP9Superframe(data []byte) bool {
	marker := data[len(data)-1]
	size := 2 + (int(marker&7)+1)*(int(marker>>3&3)+1)
	return marker&0xe0 == 0xc0 && len(data) >= size && data[len(data)-size] == marker
}

// vp9Header is what is read of a frame's uncompressed header.
type vp9Header struct {
	key bool
	// unused: no later frame depends on this one, neither on its pixels nor on its probabilities, vectors or segments.
	unused bool
}

// readVP9Header reads the beginning of a frame's uncompressed header; false when it is none.
func readVP9Header(b []byte) (h vp9Header, ok bool) {
	r := bitReader{bytes: b}
	if r.read(2) != 2 { // frame_marker
		return h, false
	}
	profile := r.read(1) | r.read(1)<<1
	if profile == 3 {
		r.read(1)
	}
	if r.read(1) == 1 { // show_existing_frame
		r.read(3)
		return h, !r.failed
	}
	h.key = r.read(1) == 0
	shown, resilient := r.read(1) == 1, r.read(1) == 1
	if h.key {
		return h, r.read(24) == 0x498342
	}
	intra := !shown && r.read(1) == 1
	if !resilient {
		r.read(2) // reset_frame_context
	}
	if intra {
		return h, !r.failed && r.read(24) == 0x498342
	}
	h.unused = r.read(8) == 0 && resilient // refresh_frame_flags
	return h, !r.failed
}

// bitReader reads a bit string from its most significant end; past the end it reads zeros and has failed.
type bitReader struct {
	bytes  []byte
	at     int
	failed bool
}

func (r *bitReader) read(n int) (v uint32) {
	for range n {
		v <<= 1
		if i := r.at >> 3; i < len(r.bytes) {
			v |= uint32(r.bytes[i]>>(7-r.at&7)) & 1
		} else {
			r.failed = true
		}
		r.at++
	}
	return v
}
