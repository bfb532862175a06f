package header

import "bytes"

// NAL unit types (ITU-T H.264 table 7-1).
const (
	nalSlice = 1
	nalIDR   = 5
	nalSPS   = 7
)

// h264 reads the first sequence parameter set before the first slice of an access unit in Annex B.
func h264(unit []byte) Info {
	startCode := []byte{0, 0, 1}
	for {
		i := bytes.Index(unit, startCode)
		if i < 0 || i+len(startCode) >= len(unit) {
			return Info{Orientation: 1, Whole: true}
		}
		unit = unit[i+len(startCode):]
		switch kind := unit[0] & 0x1f; {
		case kind >= nalSlice && kind <= nalIDR:
			return Info{Orientation: 1, Whole: true}
		case kind == nalSPS:
			nal := unit
			if end := bytes.Index(nal, startCode); end >= 0 {
				nal = nal[:end]
			}
			return sps(nal[1:])
		}
	}
}

// sps reads the picture size of a sequence parameter set (section 7.3.2.1.1), cropping applied.
func sps(payload []byte) Info {
	r := bits{bytes: unescape(payload)}
	profile := r.read(8)
	r.read(16) // constraint flags, level
	r.golomb() // seq_parameter_set_id
	chroma, separate := uint32(1), uint32(0)
	switch profile {
	case 100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135:
		chroma = r.golomb()
		if chroma == 3 {
			separate = r.read(1)
		}
		r.golomb() // bit_depth_luma_minus8
		r.golomb() // bit_depth_chroma_minus8
		r.read(1)  // qpprime_y_zero_transform_bypass_flag
		if r.read(1) == 1 {
			r.scalingLists(chroma)
		}
	}
	r.golomb() // log2_max_frame_num_minus4
	r.picOrderCount()
	r.golomb() // max_num_ref_frames
	r.read(1)  // gaps_in_frame_num_value_allowed_flag
	w, h := uint64(r.golomb())+1, uint64(r.golomb())+1
	fields := uint64(2 - r.read(1)) // frame_mbs_only_flag
	if fields == 2 {
		r.read(1) // mb_adaptive_frame_field_flag
	}
	r.read(1)             // direct_8x8_inference_flag
	const limit = 1 << 20 // beyond any level, and safe to multiply
	w, h = min(16*w, limit), min(16*h*fields, limit)
	pixels := int64(w * h)
	if r.read(1) == 1 { // frame_cropping_flag
		unitX, unitY := cropUnits(chroma, separate, fields)
		w = crop(w, unitX, r.golomb(), r.golomb())
		h = crop(h, unitY, r.golomb(), r.golomb())
	}
	if r.failed {
		return Info{Orientation: 1, Whole: true}
	}
	return Info{Width: int(w), Height: int(h), Pixels: pixels, Orientation: 1, Whole: true}
}

// cropUnits gives the pixels that one step of cropping takes (equations 7-19 to 7-22).
func cropUnits(chroma, separate uint32, fields uint64) (x, y uint64) {
	x, y = 1, fields
	if separate == 0 && (chroma == 1 || chroma == 2) {
		x = 2
	}
	if separate == 0 && chroma == 1 {
		y *= 2
	}
	return x, y
}

// crop takes both borders off size, or nothing where they leave no picture.
func crop(size, unit uint64, before, after uint32) uint64 {
	if border := unit * (uint64(before) + uint64(after)); border < size {
		return size - border
	}
	return size
}

// unescape removes the emulation prevention bytes (section 7.4.1.1).
func unescape(nal []byte) []byte {
	const longest = 1024 // a parameter set with every scaling list is shorter
	nal = nal[:min(len(nal), longest)]
	out := make([]byte, 0, len(nal))
	zeros := 0
	for _, b := range nal {
		if zeros >= 2 && b == 3 {
			zeros = 0
			continue
		}
		if b == 0 {
			zeros++
		} else {
			zeros = 0
		}
		out = append(out, b)
	}
	return out
}

// bits reads a bit string from its most significant end; past the end it reads zeros and has failed.
type bits struct {
	bytes  []byte
	at     int
	failed bool
}

func (r *bits) read(n int) (v uint32) {
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

// golomb reads ue(v) (section 9.1).
func (r *bits) golomb() uint32 {
	zeros := 0
	for r.read(1) == 0 {
		if zeros++; zeros > 31 || r.failed {
			r.failed = true
			return 0
		}
	}
	return 1<<zeros - 1 + r.read(zeros)
}

// picOrderCount skips the fields that depend on pic_order_cnt_type.
func (r *bits) picOrderCount() {
	switch r.golomb() {
	case 0:
		r.golomb() // log2_max_pic_order_cnt_lsb_minus4
	case 1:
		r.read(1)  // delta_pic_order_always_zero_flag
		r.golomb() // offset_for_non_ref_pic
		r.golomb() // offset_for_top_to_bottom_field
		for n := r.golomb(); n > 0 && !r.failed; n-- {
			r.golomb() // offset_for_ref_frame
		}
	}
}

// scalingLists skips the lists (section 7.3.2.1.1.1).
func (r *bits) scalingLists(chroma uint32) {
	lists := 8
	if chroma == 3 {
		lists = 12
	}
	for i := range lists {
		if r.read(1) == 0 {
			continue
		}
		size := 16
		if i >= 6 {
			size = 64
		}
		last, next := int32(8), int32(8)
		for j := 0; j < size && next != 0 && !r.failed; j++ {
			code := r.golomb()
			delta := int32(code+1) / 2
			if code%2 == 0 {
				delta = -int32(code / 2)
			}
			if next = (last + delta + 256) % 256; next != 0 {
				last = next
			}
		}
	}
}
