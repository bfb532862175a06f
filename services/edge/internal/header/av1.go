package header

// av1 reads the first sequence header of a temporal unit in the low-overhead format (AV1 section 5.5): its largest frame size, which is the
// size of all frames but those that say otherwise. dav1d refuses frames beyond its limit, whatever they say.
func av1(unit []byte) (width, height int) {
	const sequenceHeader = 1
	for len(unit) > 0 {
		head := unit[0]
		at := 1 + int(head>>2&1) // obu_extension_flag
		if head&0x82 != 0x02 || at > len(unit) {
			return 0, 0 // forbidden, or without a size
		}
		size, n := leb128(unit[at:])
		if n == 0 || size > len(unit)-at-n {
			return 0, 0
		}
		body := unit[at+n : at+n+size]
		if head>>3&15 == sequenceHeader {
			return av1Sequence(body)
		}
		unit = unit[at+n+size:]
	}
	return 0, 0
}

// leb128 reads a number of at most 28 bits (section 4.10.5) and says how many bytes it has; none when there is no such number.
func leb128(b []byte) (value, width int) {
	for i, v := range b[:min(len(b), 8)] {
		if i > 3 && v&0x7f != 0 {
			return 0, 0
		}
		value |= int(v&0x7f) << (7 * i)
		if v&0x80 == 0 {
			return value, i + 1
		}
	}
	return 0, 0
}

// av1Sequence reads a sequence header up to its frame size.
func av1Sequence(body []byte) (width, height int) {
	r := bits{bytes: body}
	r.read(3)           // seq_profile
	r.read(1)           // still_picture
	if r.read(1) == 1 { // reduced_still_picture_header
		r.read(5) // seq_level_idx
	} else {
		r.av1OperatingPoints()
	}
	widthBits, heightBits := int(r.read(4))+1, int(r.read(4))+1
	width, height = int(r.read(widthBits))+1, int(r.read(heightBits))+1
	if r.failed {
		return 0, 0
	}
	return width, height
}

// av1OperatingPoints skips timing and operating points.
func (r *bits) av1OperatingPoints() {
	model, delayBits := false, 0
	if r.read(1) == 1 { // timing_info_present_flag
		r.read(32)          // num_units_in_display_tick
		r.read(32)          // time_scale
		if r.read(1) == 1 { // equal_picture_interval
			r.uvlc() // num_ticks_per_picture_minus_1
		}
		if model = r.read(1) == 1; model { // decoder_model_info_present_flag
			delayBits = int(r.read(5)) + 1
			r.read(32) // num_units_in_decoding_tick
			r.read(10) // buffer_removal_time_length_minus_1, frame_presentation_time_length_minus_1
		}
	}
	display := r.read(1) == 1 // initial_display_delay_present_flag
	for n := r.read(5) + 1; n > 0; n-- {
		r.read(12)         // operating_point_idc
		if r.read(5) > 7 { // seq_level_idx
			r.read(1) // seq_tier
		}
		if model && r.read(1) == 1 {
			r.read(delayBits) // decoder_buffer_delay
			r.read(delayBits) // encoder_buffer_delay
			r.read(1)         // low_delay_mode_flag
		}
		if display && r.read(1) == 1 {
			r.read(4) // initial_display_delay_minus_1
		}
	}
}

// uvlc skips a number (section 4.10.3).
func (r *bits) uvlc() {
	zeros := 0
	for r.read(1) == 0 {
		if zeros++; r.failed {
			return
		}
	}
	if zeros < 32 {
		r.read(zeros)
	}
}
