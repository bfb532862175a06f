// Package tensor turns payloads into the batch tensor that a model takes, and a model's answer into the tensors of each frame. It is pure
// arithmetic over byte slices: nothing here allocates by the payload, keeps state between calls or reads a clock.
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

// Shape gives the shape of a batch's tensor.
func (p Picture) Shape(frames int) []int {
	if p.Layout == NHWC {
		return []int{frames, p.Height, p.Width, channels}
	}
	return []int{frames, channels, p.Height, p.Width}
}

// Spec gives the tensor that a model must take, its batch axis free.
func (p Picture) Spec(name string) media.TensorSpec {
	return media.TensorSpec{Name: name, Datatype: p.Datatype, Shape: p.Shape(-1)}
}

// Packer writes payloads into batch tensors. It is immutable and so safe for concurrent use.
type Packer struct {
	picture Picture
	// table holds, for each channel and byte, the bits of its normalised value: the whole arithmetic, done once.
	table [channels][256]uint32
}

// NewPacker checks a picture description and prepares its arithmetic.
func NewPacker(p Picture) (*Packer, error) {
	switch {
	case p.Width <= 0 || p.Height <= 0 || p.Width > 1<<15 || p.Height > 1<<15:
		return nil, fmt.Errorf("size %d×%d: both sides must be from 1 to 32768 pixels", p.Width, p.Height)
	case p.Layout != NCHW && p.Layout != NHWC:
		return nil, fmt.Errorf("layout %q: must be NCHW or NHWC", p.Layout)
	case p.Datatype != media.FP32 && p.Datatype != media.Uint8:
		return nil, fmt.Errorf("dtype %q: must be FP32 or UINT8", p.Datatype)
	case p.Datatype == media.Uint8 && (p.Mean != [3]float64{} || p.Scale != [3]float64{1, 1, 1}):
		return nil, errors.New("dtype UINT8 takes bytes as they are: mean must be [0, 0, 0] and scale [1, 1, 1]")
	}
	k := &Packer{picture: p}
	for c := range channels {
		for v := range 256 {
			normal := float32((float64(v) - p.Mean[c]) * p.Scale[c])
			if math.IsNaN(float64(normal)) || math.IsInf(float64(normal), 0) {
				return nil, fmt.Errorf("channel %d: (%d - %g) * %g is not finite", c, v, p.Mean[c], p.Scale[c])
			}
			k.table[c][v] = math.Float32bits(normal)
		}
	}
	return k, nil
}

// Picture gives the description that the packer was made of.
func (k *Packer) Picture() Picture { return k.picture }

// PayloadBytes gives the size of one payload: height × width × 3.
func (k *Packer) PayloadBytes() int { return k.picture.Width * k.picture.Height * channels }

// FrameBytes gives the size of one frame in a batch tensor.
func (k *Packer) FrameBytes() int { return k.PayloadBytes() * k.picture.Datatype.Size() }

// Pack writes one payload, rows from the top and channels interleaved, as one frame of a batch. The batch's frame i lies at
// i × FrameBytes. It fails when either slice has not exactly its size; nothing is written then.
func (k *Packer) Pack(frame, payload []byte) error {
	if len(payload) != k.PayloadBytes() {
		return fmt.Errorf("payload of %d bytes: a %d×%d picture has %d", len(payload), k.picture.Width, k.picture.Height, k.PayloadBytes())
	}
	if len(frame) != k.FrameBytes() {
		return fmt.Errorf("frame of %d bytes: a %d×%d %s picture needs %d",
			len(frame), k.picture.Width, k.picture.Height, k.picture.Datatype, k.FrameBytes())
	}
	switch {
	case k.picture.Datatype == media.Uint8 && k.picture.Layout == NHWC:
		copy(frame, payload)
	case k.picture.Datatype == media.Uint8:
		planes8(frame, payload)
	case k.picture.Layout == NHWC:
		k.pixels32(frame, payload)
	default:
		k.planes32(frame, payload)
	}
	return nil
}

// planes32 normalises interleaved bytes into three planes of floats.
func (k *Packer) planes32(frame, payload []byte) {
	plane := len(payload) / channels * 4
	first, second, third := frame[:plane], frame[plane:2*plane], frame[2*plane:3*plane]
	for at := 0; len(payload) >= channels; at += 4 {
		binary.LittleEndian.PutUint32(first[at:], k.table[0][payload[0]])
		binary.LittleEndian.PutUint32(second[at:], k.table[1][payload[1]])
		binary.LittleEndian.PutUint32(third[at:], k.table[2][payload[2]])
		payload = payload[channels:]
	}
}

// pixels32 normalises interleaved bytes into interleaved floats.
func (k *Packer) pixels32(frame, payload []byte) {
	for len(payload) >= channels {
		binary.LittleEndian.PutUint32(frame, k.table[0][payload[0]])
		binary.LittleEndian.PutUint32(frame[4:], k.table[1][payload[1]])
		binary.LittleEndian.PutUint32(frame[8:], k.table[2][payload[2]])
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
