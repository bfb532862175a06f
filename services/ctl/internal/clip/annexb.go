package clip

import (
	"errors"
	"fmt"
	"io"

	"github.com/pion/webrtc/v4/pkg/media/h264reader"
	"github.com/pion/webrtc/v4/pkg/media/h265reader"

	"github.com/sluice-dev/sluice/pkg/media"
)

// ReadH264 reads a raw H.264 stream to its end and gathers its NAL units to access units (H.264 section 7.4.1.2.3): a new one begins with a delimiter, a parameter set or SEI
// after a slice, or with a slice that holds the picture's first macroblock. Several slices of a picture stay together.
func ReadH264(r io.Reader) (*Clip, error) {
	reader, err := h264reader.NewReaderWithOptions(io.LimitReader(r, maxBytes), h264reader.WithIncludeSEI(true))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnreadable, err)
	}
	return gather(media.H264, func() (nalUnit, error) {
		nal, err := reader.NextNAL()
		if err != nil {
			return nalUnit{}, err
		}
		slice := nal.UnitType == h264reader.NalUnitTypeCodedSliceNonIdr || nal.UnitType == h264reader.NalUnitTypeCodedSliceIdr
		// first_mb_in_slice is an Exp-Golomb number at the head of the slice header; zero is the single bit 1.
		first := slice && len(nal.Data) > 1 && nal.Data[1]&0x80 != 0
		return nalUnit{data: nal.Data, slice: slice, begins: first || !slice}, nil
	})
}

// ReadH265 reads a raw H.265 stream to its end and gathers its NAL units to access units (H.265 section 7.4.2.4.4): a new one begins, after a
// slice, with a delimiter, a parameter set or SEI for what follows, or with a picture's first slice segment.
func ReadH265(r io.Reader) (*Clip, error) {
	reader, err := h265reader.NewReaderWithOptions(io.LimitReader(r, maxBytes), h265reader.WithIncludeSEI(true))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnreadable, err)
	}
	return gather(media.H265, func() (nalUnit, error) {
		nal, err := reader.NextNAL()
		if err != nil {
			return nalUnit{}, err
		}
		n := nalUnit{data: nal.Data, slice: nal.NalUnitType < h265reader.NalUnitTypeVps}
		switch nal.NalUnitType {
		case h265reader.NalUnitTypeVps, h265reader.NalUnitTypeSps, h265reader.NalUnitTypePps, h265reader.NalUnitTypeAud, h265reader.NalUnitTypePrefixSei:
			n.begins = true
		default:
			n.begins = n.slice && nal.LayerID == 0 && len(nal.Data) > 2 && nal.Data[2]&0x80 != 0 // first_slice_segment_in_pic_flag
		}
		return n, nil
	})
}

// nalUnit is a NAL unit with what is needed of it.
type nalUnit struct {
	data []byte
	// slice is true for parts of a picture; begins for what, after such a part, belongs to the next picture.
	slice, begins bool
}

// gather makes access units of NAL units in Annex B, until next says io.EOF.
func gather(codec media.Codec, next func() (nalUnit, error)) (*Clip, error) {
	c := &Clip{Codec: codec}
	var unit []byte
	hasSlice := false
	for {
		n, err := next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %v NAL unit: %w", ErrUnreadable, codec, err)
		}
		if hasSlice && n.begins {
			c.Units = append(c.Units, unit)
			unit, hasSlice = nil, false
		}
		unit = append(append(unit, 0, 0, 0, 1), n.data...)
		hasSlice = hasSlice || n.slice
	}
	if hasSlice {
		c.Units = append(c.Units, unit)
	}
	return c.checked()
}
