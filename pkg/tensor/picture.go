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
		form.write = func(frame, payload []byte) { copy(frame, payload) }
	case p.Datatype == media.Uint8:
		form.write = planes8
	default:
		values, err := p.values()
		if err != nil {
			return packing{}, err
		}
		form.write = values.planes32
		if p.Layout == NHWC {
			form.write = values.pixels32
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

// planes32 normalises interleaved bytes into three planes of floats.
func (n *normal) planes32(frame, payload []byte) {
	plane := len(payload) / channels * 4
	first, second, third := frame[:plane], frame[plane:2*plane], frame[2*plane:3*plane]
	for at := 0; len(payload) >= channels; at += 4 {
		binary.LittleEndian.PutUint32(first[at:], n[0][payload[0]])
		binary.LittleEndian.PutUint32(second[at:], n[1][payload[1]])
		binary.LittleEndian.PutUint32(third[at:], n[2][payload[2]])
		payload = payload[channels:]
	}
}

// pixels32 normalises interleaved bytes into interleaved floats.
func (n *normal) pixels32(frame, payload []byte) {
	for len(payload) >= channels {
		binary.LittleEndian.PutUint32(frame, n[0][payload[0]])
		binary.LittleEndian.PutUint32(frame[4:], n[1][payload[1]])
		binary.LittleEndian.PutUint32(frame[8:], n[2][payload[2]])
		payload, frame = payload[channels:], frame[channels*4:]
	}
}

// planes8 parts interleaved bytes into three planes.
func planes8(frame, payload []byte) {
	plane := len(payload) / channels
	first, second, third := frame[:plane], frame[plane:2*plane], frame[2*plane:3*plane]
	for i := range first {
		first[i], second[i], third[i] = payload[channels*i], payload[channels*i+1], payload[channels*i+2]
	}
}
