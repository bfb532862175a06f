package header

// What VP9's formats allow.
const (
	vp9Sync   = 0x498342
	vp9Frames = 8 // in a superframe
)

// vp9 reads the headers of all frames of a unit. Size is the last one's, whose picture it is; zero when that frame takes it over from a
// reference.
func vp9(unit []byte) Info {
	info := Info{Orientation: 1, Whole: true}
	for _, frame := range vp9Split(unit) {
		info.Width, info.Height = vp9Size(frame)
		info.Pixels = max(info.Pixels, int64(info.Width)*int64(info.Height))
	}
	return info
}

// vp9Split gives the frames of a superframe (VP9 annex B), or the unit when it is none. Sizes that do not fit end the list.
func vp9Split(unit []byte) [][]byte {
	if len(unit) == 0 {
		return nil
	}
	marker := unit[len(unit)-1]
	width, count := int(marker>>3&3)+1, int(marker&7)+1
	size := 2 + width*count
	if marker&0xe0 != 0xc0 || size > len(unit) || unit[len(unit)-size] != marker {
		return [][]byte{unit}
	}
	index, rest := unit[len(unit)-size+1:len(unit)-1], unit[:len(unit)-size]
	frames := make([][]byte, 0, vp9Frames)
	for ; len(index) > 0; index = index[width:] {
		n := 0
		for i, b := range index[:width] {
			n |= int(b) << (8 * i)
		}
		if n > len(rest) {
			break
		}
		frames, rest = append(frames, rest[:n]), rest[n:]
	}
	return frames
}

// vp9Size reads the size in a frame's uncompressed header (VP9 section 6.2); zero where it has none.
func vp9Size(frame []byte) (width, height int) {
	r := bits{bytes: frame}
	marker := r.read(2)
	profile := r.read(1) | r.read(1)<<1
	if profile == 3 {
		r.read(1) // reserved_zero
	}
	if marker != 2 || r.read(1) == 1 { // show_existing_frame
		return 0, 0
	}
	key := r.read(1) == 0
	shown, resilient := r.read(1) == 1, r.read(1) == 1
	switch {
	case key:
		if r.read(24) != vp9Sync {
			return 0, 0
		}
		r.vp9Colour(profile)
	case !r.vp9Inter(profile, shown, resilient):
		return 0, 0
	}
	width, height = int(r.read(16))+1, int(r.read(16))+1
	if r.failed {
		return 0, 0
	}
	return width, height
}

// vp9Colour skips color_config.
func (r *bits) vp9Colour(profile uint32) {
	const rgb = 7
	if profile >= 2 {
		r.read(1) // ten_or_twelve_bit
	}
	if r.read(3) != rgb { // color_space
		r.read(1) // color_range
		if profile&1 == 1 {
			r.read(3) // subsampling, reserved_zero
		}
	} else if profile&1 == 1 {
		r.read(1) // reserved_zero
	}
}

// vp9Inter skips what stands before the size of a frame that is no key frame; false when it has no size of its own.
func (r *bits) vp9Inter(profile uint32, shown, resilient bool) bool {
	intra := !shown && r.read(1) == 1
	if !resilient {
		r.read(2) // reset_frame_context
	}
	if intra {
		if r.read(24) != vp9Sync {
			return false
		}
		if profile > 0 {
			r.vp9Colour(profile)
		}
		r.read(8) // refresh_frame_flags
		return true
	}
	r.read(8) // refresh_frame_flags
	for range 3 {
		r.read(3 + 1) // ref_frame_idx, ref_frame_sign_bias
	}
	for range 3 {
		if r.read(1) == 1 { // found_ref
			return false
		}
	}
	return true
}
