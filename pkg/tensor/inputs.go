package tensor

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"math"
	"slices"

	"github.com/sluice-dev/sluice/pkg/media"
)

// Sound says how a window of sound, 16-bit little-endian samples of one channel, becomes the input of a model.
type Sound struct {
	// Samples is the number of samples in a payload, context included.
	Samples int
	// Datatype is FP32, from -1 to 1, or INT16.
	Datatype media.Datatype
}

func (s Sound) packing() (packing, error) {
	if s.Samples < 1 || s.Samples > media.MaxSoundSamples {
		return packing{}, fmt.Errorf("%d samples: must be from 1 to %d", s.Samples, media.MaxSoundSamples)
	}
	form := packing{datatype: s.Datatype, shapes: [][]int{{s.Samples}, {1, s.Samples}}, payload: 2 * s.Samples, sample: make([]byte, 2*s.Samples)}
	switch s.Datatype {
	case media.FP32:
		form.write = floats
	case media.Int16:
		form.write, form.verbatim = verbatim, true
	default:
		return packing{}, fmt.Errorf("dtype %q: must be FP32 or INT16", s.Datatype)
	}
	return form, nil
}

// floats turns 16-bit samples into floats from -1 to 1. Each of them is exact. Where a piece ends within a sample, the sample's first byte waits in the place of the float.
func floats(frame []byte, at int, piece []byte) {
	const sample, float, full = 2, 4, 1 << 15
	frame = frame[at/sample*float:]
	put := func(low, high byte) {
		binary.LittleEndian.PutUint32(frame, math.Float32bits(float32(int16(uint16(low)|uint16(high)<<8))/full))
		frame = frame[float:]
	}
	if at%sample > 0 && len(piece) > 0 {
		put(frame[0], piece[0])
		piece = piece[1:]
	}
	for len(piece) >= sample && len(frame) >= float {
		put(piece[0], piece[1])
		piece = piece[sample:]
	}
	if len(piece) > 0 {
		frame[0] = piece[0]
	}
}

// Raw says that a payload is the model's tensor already: row-major, little-endian, without padding.
type Raw struct {
	Datatype media.Datatype
	// Shape is that of one frame, without the batch axis.
	Shape []int
}

func (r Raw) packing() (packing, error) {
	size, ok := Bytes(r.Datatype, r.Shape)
	if !ok || size == 0 || size > media.MaxEncoded {
		return packing{}, fmt.Errorf("a tensor of %s %v: elements must have a fixed size, extents must be at least 1, and all of it at most %d bytes",
			r.Datatype, r.Shape, media.MaxEncoded)
	}
	return packing{
		datatype: r.Datatype, shapes: [][]int{slices.Clone(r.Shape)}, payload: size, sample: make([]byte, size),
		write: verbatim, verbatim: true,
	}, nil
}

// Text says that a payload is one element of a BYTES tensor: a text or a file as it is.
type Text struct {
	// Limit is the largest payload, in bytes.
	Limit int
	// Sample is a payload that every model of this input should be able to take; nil when there is none.
	Sample []byte
}

func (t Text) packing() (packing, error) {
	if t.Limit < 1 || t.Limit > math.MaxInt32-prefix {
		return packing{}, fmt.Errorf("payloads of up to %d bytes: must be from 1 to %d", t.Limit, math.MaxInt32-prefix)
	}
	return packing{
		datatype: media.Bytes, shapes: [][]int{{}, {1}}, payload: t.Limit, sample: t.Sample,
		write: func(frame []byte, at int, piece []byte) {
			binary.LittleEndian.PutUint32(frame, uint32(len(frame)-prefix))
			copy(frame[prefix+at:], piece)
		},
	}, nil
}

// JPEG says that a payload is one element of a BYTES tensor: a JPEG file of at most the given size.
type JPEG struct{ Width, Height int } // pixels

func (j JPEG) packing() (packing, error) {
	if j.Width < 1 || j.Height < 1 || j.Width > 1<<15 || j.Height > 1<<15 {
		return packing{}, fmt.Errorf("size %d×%d: both sides must be from 1 to 32768 pixels", j.Width, j.Height)
	}
	var file bytes.Buffer
	if err := jpeg.Encode(&file, black{j.Width, j.Height}, nil); err != nil {
		return packing{}, fmt.Errorf("a black picture of %d×%d as JPEG: %w", j.Width, j.Height, err)
	}
	return Text{Limit: media.MaxEncoded, Sample: file.Bytes()}.packing()
}

// black is a black picture of a size, without memory for its pixels.
type black struct{ width, height int }

func (black) ColorModel() color.Model   { return color.RGBAModel }
func (black) At(int, int) color.Color   { return color.RGBA{A: 0xff} }
func (b black) Bounds() image.Rectangle { return image.Rect(0, 0, b.width, b.height) }
