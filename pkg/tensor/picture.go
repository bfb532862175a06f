package tensor

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/sluice-dev/sluice/pkg/media"
)

// Layout is the order of a picture tensor's axes.
type Layout string

// The layouts: channels outermost, as PyTorch exports, or innermost, as TensorFlow exports.
const (
	NCHW Layout = "NCHW"
	NHWC Layout = "NHWC"
)

// Picture says how a picture payload becomes the input of a model.
type Picture struct {
	Width, Height int // pixels
	Layout        Layout
	// Datatype is FP32 or UINT8.
	Datatype media.Datatype
	// Mean and Scale normalise each channel, in the payload's order: (value - Mean) * Scale, with values from 0 to 255. For UINT8 they
	// must be 0 and 1.
	Mean, Scale [3]float64
}

const channels = 3

// packing checks the description and prepares its arithmetic.
func (p Picture) packing() (packing, error) {
	switch {
	case p.Width <= 0 || p.Height <= 0 || p.Width > 1<<15 || p.Height > 1<<15:
		return packing{}, fmt.Errorf("size %d×%d: both sides must be from 1 to 32768 pixels", p.Width, p.Height)
	case p.Layout != NCHW && p.Layout != NHWC:
		return packing{}, fmt.Errorf("layout %q: must be NCHW or NHWC", p.Layout)
	case p.Datatype != media.FP32 && p.Datatype != media.Uint8:
		return packing{}, fmt.Errorf("dtype %q: must be FP32 or UINT8", p.Datatype)
	case p.Datatype == media.Uint8 && (p.Mean != [3]float64{} || p.Scale != [3]float64{1, 1, 1}):
		return packing{}, errors.New("dtype UINT8 takes bytes as they are: mean must be [0, 0, 0] and scale [1, 1, 1]")
	}
	shape := []int{channels, p.Height, p.Width}
	if p.Layout == NHWC {
		shape = []int{p.Height, p.Width, channels}
	}
	size := p.Width * p.Height * channels
	form := packing{datatype: p.Datatype, shapes: [][]int{shape}, payload: size, sample: make([]byte, size)}
	switch {
	case p.Datatype == media.Uint8 && p.Layout == NHWC:
		form.write, form.verbatim = verbatim, true
	case p.Datatype == media.Uint8:
		form.write = writer(planes8, plane8)
	default:
		values, err := p.values()
		if err != nil {
			return packing{}, err
		}
		form.write = writer(values.planes32, values.plane32)
		if p.Layout == NHWC {
			form.write = writer(values.pixels32, values.pixel32)
		}
	}
	return form, nil
}

// normal holds, for each channel and byte, the bits of its normalised value: the whole arithmetic, done once.
type normal [channels][256]uint32

func (p Picture) values() (*normal, error) {
	table := &normal{}
	for c := range channels {
		for v := range 256 {
			value := float32((float64(v) - p.Mean[c]) * p.Scale[c])
			if math.IsNaN(float64(value)) || math.IsInf(float64(value), 0) {
				return nil, fmt.Errorf("channel %d: (%d - %g) * %g is not finite", c, v, p.Mean[c], p.Scale[c])
			}
			table[c][v] = math.Float32bits(value)
		}
	}
	return table, nil
}

// writer gives what writes a picture's bytes: whole takes whole pixels from a place on, counted in pixels, and one takes a byte of a pixel that lies in two pieces. at
// counts bytes of the payload.
func writer(whole func(frame []byte, pixel int, pixels []byte), one func(frame []byte, at int, value byte)) func(frame []byte, at int, piece []byte) {
	return func(frame []byte, at int, piece []byte) {
		for ; at%channels > 0 && len(piece) > 0; at++ {
			one(frame, at, piece[0])
			piece = piece[1:]
		}
		end := len(piece) / channels * channels
		whole(frame, at/channels, piece[:end])
		for i, value := range piece[end:] {
			one(frame, at+end+i, value)
		}
	}
}

// together is how many pixels planes32 takes at a time, with the bounds checked once for all of them: the arithmetic is a table's, so that the loop is as fast as its stores.
const together = 4

// planes32 normalises interleaved bytes into three planes of floats.
func (n *normal) planes32(frame []byte, pixel int, pixels []byte) {
	const float = 4
	plane, begin, end := len(frame)/channels, pixel*float, (pixel+len(pixels)/channels)*float
	first, second, third := frame[begin:end], frame[plane+begin:plane+end], frame[2*plane+begin:2*plane+end]
	n0, n1, n2 := &n[0], &n[1], &n[2]
	for len(pixels) >= together*channels && len(first) >= together*float && len(second) >= together*float && len(third) >= together*float {
		p := pixels[: together*channels : together*channels]
		binary.LittleEndian.PutUint32(first, n0[p[0]])
		binary.LittleEndian.PutUint32(first[4:], n0[p[3]])
		binary.LittleEndian.PutUint32(first[8:], n0[p[6]])
		binary.LittleEndian.PutUint32(first[12:], n0[p[9]])
		binary.LittleEndian.PutUint32(second, n1[p[1]])
		binary.LittleEndian.PutUint32(second[4:], n1[p[4]])
		binary.LittleEndian.PutUint32(second[8:], n1[p[7]])
		binary.LittleEndian.PutUint32(second[12:], n1[p[10]])
		binary.LittleEndian.PutUint32(third, n2[p[2]])
		binary.LittleEndian.PutUint32(third[4:], n2[p[5]])
		binary.LittleEndian.PutUint32(third[8:], n2[p[8]])
		binary.LittleEndian.PutUint32(third[12:], n2[p[11]])
		pixels = pixels[together*channels:]
		first, second, third = first[together*float:], second[together*float:], third[together*float:]
	}
	for at := 0; len(pixels) >= channels; at += float {
		binary.LittleEndian.PutUint32(first[at:], n0[pixels[0]])
		binary.LittleEndian.PutUint32(second[at:], n1[pixels[1]])
		binary.LittleEndian.PutUint32(third[at:], n2[pixels[2]])
		pixels = pixels[channels:]
	}
}

// plane32 normalises one byte into its plane.
func (n *normal) plane32(frame []byte, at int, value byte) {
	binary.LittleEndian.PutUint32(frame[at%channels*(len(frame)/channels)+at/channels*4:], n[at%channels][value])
}

// pixels32 normalises interleaved bytes into interleaved floats.
func (n *normal) pixels32(frame []byte, pixel int, pixels []byte) {
	const float = 4
	n0, n1, n2 := &n[0], &n[1], &n[2]
	frame = frame[pixel*channels*float:]
	for len(pixels) >= channels && len(frame) >= channels*float {
		binary.LittleEndian.PutUint32(frame, n0[pixels[0]])
		binary.LittleEndian.PutUint32(frame[4:], n1[pixels[1]])
		binary.LittleEndian.PutUint32(frame[8:], n2[pixels[2]])
		pixels, frame = pixels[channels:], frame[channels*float:]
	}
}

// pixel32 normalises one byte in its pixel.
func (n *normal) pixel32(frame []byte, at int, value byte) {
	binary.LittleEndian.PutUint32(frame[at*4:], n[at%channels][value])
}

// planes8 parts interleaved bytes into three planes.
func planes8(frame []byte, pixel int, pixels []byte) {
	plane, end := len(frame)/channels, pixel+len(pixels)/channels
	first, second, third := frame[pixel:end], frame[plane+pixel:plane+end], frame[2*plane+pixel:2*plane+end]
	done := part(first, second, third, pixels)
	first, second, third, pixels = first[done:], second[done:], third[done:], pixels[done*channels:]
	for len(pixels) >= 8*channels && len(first) >= 8 && len(second) >= 8 && len(third) >= 8 {
		p := pixels[: 8*channels : 8*channels]
		binary.LittleEndian.PutUint64(first, together8(p[0], p[3], p[6], p[9], p[12], p[15], p[18], p[21]))
		binary.LittleEndian.PutUint64(second, together8(p[1], p[4], p[7], p[10], p[13], p[16], p[19], p[22]))
		binary.LittleEndian.PutUint64(third, together8(p[2], p[5], p[8], p[11], p[14], p[17], p[20], p[23]))
		pixels = pixels[8*channels:]
		first, second, third = first[8:], second[8:], third[8:]
	}
	for i := range first {
		first[i], second[i], third[i] = pixels[channels*i], pixels[channels*i+1], pixels[channels*i+2]
	}
}

// together8 makes one number of eight bytes, the first lowest: one store instead of eight.
func together8(a, b, c, d, e, f, g, h byte) uint64 {
	return uint64(a) | uint64(b)<<8 | uint64(c)<<16 | uint64(d)<<24 | uint64(e)<<32 | uint64(f)<<40 | uint64(g)<<48 | uint64(h)<<56
}

// plane8 puts one byte into its plane.
func plane8(frame []byte, at int, value byte) {
	frame[at%channels*(len(frame)/channels)+at/channels] = value
}
