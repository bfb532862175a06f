package header

import "bytes"

// NAL unit types (ITU-T H.265 table 7-1). Those of slices are below 32.
const (
	hevcLastSlice = 31
	hevcSPS       = 33
)

// h265 reads the first sequence parameter set of the base layer before the first slice of an access unit in Annex B.
func h265(unit []byte) Info {
	startCode := []byte{0, 0, 1}
	for {
		i := bytes.Index(unit, startCode)
		if i < 0 || i+len(startCode)+2 > len(unit) {
			return Info{Orientation: 1, Whole: true}
		}
		unit = unit[i+len(startCode):]
		layer := unit[0]&1<<5 | unit[1]>>3
		switch kind := unit[0] >> 1 & 0x3f; {
		case layer != 0:
		case kind <= hevcLastSlice:
			return Info{Orientation: 1, Whole: true}
		case kind == hevcSPS:
			nal := unit
			if end := bytes.Index(nal, startCode); end >= 0 {
				nal = nal[:end]
			}
			return hevcSequence(nal[min(2, len(nal)):])
		}
	}
}

// hevcSequence reads the picture size of a sequence parameter set (section 7.3.2.2.1), cropping applied.
func hevcSequence(payload []byte) Info {
	r := bits{bytes: unescape(payload)}
	r.read(4) // sps_video_parameter_set_id
	subLayers := int(r.read(3))
	r.read(1) // sps_temporal_id_nesting_flag
	r.profileTierLevel(subLayers)
	r.golomb() // sps_seq_parameter_set_id
	chroma, separate := r.golomb(), uint32(0)
	if chroma == 3 {
		separate = r.read(1)
	}
	const limit = 1 << 20 // beyond any level, and safe to multiply
	w, h := min(uint64(r.golomb()), limit), min(uint64(r.golomb()), limit)
	pixels := int64(w * h)
	if r.read(1) == 1 { // conformance_window_flag
		unitX, unitY := cropUnits(chroma, separate, 1)
		w = crop(w, unitX, r.golomb(), r.golomb())
		h = crop(h, unitY, r.golomb(), r.golomb())
	}
	if r.failed {
		return Info{Orientation: 1, Whole: true}
	}
	return Info{Width: int(w), Height: int(h), Pixels: pixels, Orientation: 1, Whole: true}
}

// profileTierLevel skips profile_tier_level (section 7.3.3) of a stream of so many temporal sub-layers beside the first.
func (r *bits) profileTierLevel(subLayers int) {
	const profile, level = 88, 8
	r.read(profile + level)
	if subLayers == 0 {
		return
	}
	var present [8]uint32
	for i := range present {
		present[i] = r.read(2) // sub_layer_profile_present_flag, sub_layer_level_present_flag; zero beyond the sub-layers
	}
	for _, p := range present[:subLayers] {
		if p&2 != 0 {
			r.read(profile)
		}
		if p&1 != 0 {
			r.read(level)
		}
	}
}
