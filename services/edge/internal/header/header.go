// Package header reads a picture's size from its compressed bytes, so that what is too large is refused before any C code sees it. It
// decodes nothing and believes little: a header that it cannot read gives the zero size, and the decoder judges.
package header

import (
	"github.com/sluice-dev/sluice/pkg/media"
)

// Info is what a header tells.
type Info struct {
	// Width and Height are in pixels as stored, before Orientation; 0 when not known.
	Width, Height int
	// Pixels is the area that a decoder allocates, which for H.264 and H.265 includes what is cropped away and for VP9 is that of the largest layer.
	Pixels int64
	// Orientation is EXIF's, 1 to 8: how to turn the stored picture upright. 1 means not at all.
	Orientation uint8
	// Whole is false for a JPEG whose end is missing: decoders would fill in the rest without a word. Other codecs' decoders tell.
	Whole bool
}

// Upright gives the size of the upright picture.
func (i Info) Upright() (width, height int) {
	if i.Orientation >= 5 {
		return i.Height, i.Width
	}
	return i.Width, i.Height
}

// Read reads the header of a key unit, or of any unit of VP9, whose other pictures may tell a size too. It allocates little and takes time linear in the unit's length at worst.
func Read(codec media.Codec, unit []byte) Info {
	info := Info{Orientation: 1, Whole: true}
	switch codec {
	case media.VP8:
		info.Width, info.Height = vp8(unit)
	case media.H264:
		return h264(unit)
	case media.H265:
		return h265(unit)
	case media.VP9:
		return vp9(unit)
	case media.AV1:
		info.Width, info.Height = av1(unit)
	case media.JPEG:
		info = jpeg(unit)
	case media.PNG:
		info.Width, info.Height = png(unit)
	case media.WebP:
		info.Width, info.Height = webp(unit)
	default: // sound has no size
	}
	info.Pixels = int64(info.Width) * int64(info.Height)
	return info
}
