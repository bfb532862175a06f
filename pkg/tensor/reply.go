package tensor

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"github.com/sluice-dev/sluice/pkg/media"
)

// Declared is a tensor that a model declares to answer with. A negative extent is free.
type Declared struct {
	media.TensorSpec
	// Axis is the axis along which the frames of a batch lie; negative when the tensor has none. One that is not there is found in no reply.
	Axis int
}

// maxTexts bounds the elements of a BYTES tensor.
const maxTexts = 1 << 16

// Check tells whether a reply is what a model declared for a batch of frames: every declared tensor once and no other, each of the declared
// type and extents, as long as the batch along the axis of the frames, its bytes as many as its extents say, and its floats finite. It returns
// the tensors in the declared order; they alias the reply. Nothing of the reply is believed, and an error may quote it.
func Check(reply []media.RawTensor, declared []Declared, frames int) ([]media.RawTensor, error) {
	if len(reply) != len(declared) {
		return nil, fmt.Errorf("%d tensors, declared are %d", len(reply), len(declared))
	}
	ordered := make([]media.RawTensor, len(declared))
	for i := range declared {
		spec := &declared[i]
		at := slices.IndexFunc(reply, func(t media.RawTensor) bool { return t.Name == spec.Name })
		if at < 0 {
			return nil, fmt.Errorf("tensor %q is missing", spec.Name)
		}
		if err := check(reply[at], spec, frames); err != nil {
			return nil, fmt.Errorf("tensor %q: %w", spec.Name, err)
		}
		ordered[i] = reply[at]
	}
	return ordered, nil
}

func check(t media.RawTensor, spec *Declared, frames int) error {
	if t.Datatype != spec.Datatype {
		return fmt.Errorf("datatype %q, declared is %s", t.Datatype, spec.Datatype)
	}
	if len(t.Shape) != len(spec.Shape) || len(t.Shape) <= spec.Axis {
		return fmt.Errorf("shape %v, declared is %v", t.Shape, spec.Shape)
	}
	for axis, extent := range t.Shape {
		want := spec.Shape[axis]
		if axis == spec.Axis {
			want = frames
		}
		if extent < 0 || want >= 0 && extent != want {
			return fmt.Errorf("shape %v for a batch of %d, declared is %v", t.Shape, frames, spec.Shape)
		}
	}
	if t.Datatype == media.Bytes {
		return checkTexts(t)
	}
	want, ok := Bytes(t.Datatype, t.Shape)
	if !ok || want != len(t.Data) {
		return fmt.Errorf("%d bytes do not make %s %v", len(t.Data), t.Datatype, t.Shape)
	}
	if at, ok := finite(t); !ok {
		return fmt.Errorf("element %d is not finite", at)
	}
	return nil
}

// checkTexts tells whether a BYTES tensor holds as many elements as its shape says, and nothing after them.
func checkTexts(t media.RawTensor) error {
	count := 1
	for _, extent := range t.Shape {
		if extent > maxTexts {
			return fmt.Errorf("shape %v: more than %d texts", t.Shape, maxTexts)
		}
		if count *= extent; count > maxTexts {
			return fmt.Errorf("shape %v: more than %d texts", t.Shape, maxTexts)
		}
	}
	rest, ok := skip(t.Data, count)
	if !ok || len(rest) > 0 {
		return fmt.Errorf("%d bytes do not make %d texts", len(t.Data), count)
	}
	return nil
}

// skip takes elements off the data of a BYTES tensor.
func skip(data []byte, elements int) (rest []byte, ok bool) {
	for range elements {
		if _, data, ok = media.CutElement(data); !ok {
			return nil, false
		}
	}
	return data, true
}

// Bytes gives the size of a tensor. It is false for a datatype without fixed size, a negative extent and a size that is out of this world.
func Bytes(datatype media.Datatype, shape []int) (int, bool) {
	size := datatype.Size()
	if size == 0 {
		return 0, false
	}
	for _, extent := range shape {
		if extent < 0 || extent > math.MaxInt32 || size > math.MaxInt32 {
			return 0, false
		}
		size *= extent
	}
	return size, true
}

// Frame gives the part of a batch's tensor that belongs to frame i, batch axis removed, aliasing t. The tensor must have passed Check, with the frames along its first
// axis.
func Frame(t media.RawTensor, i int) media.RawTensor {
	frame := media.RawTensor{Name: t.Name, Datatype: t.Datatype, Shape: t.Shape[1:]}
	if t.Datatype == media.Bytes {
		each := 1
		for _, extent := range frame.Shape {
			each *= extent
		}
		from, _ := skip(t.Data, i*each) // Check has seen that all elements are there
		rest, _ := skip(from, each)
		end := len(from) - len(rest)
		frame.Data = from[:end:end]
		return frame
	}
	size := len(t.Data) / t.Shape[0]
	frame.Data = t.Data[i*size : (i+1)*size : (i+1)*size]
	return frame
}

// finite finds the first NaN or infinity: the values whose exponent bits are all ones.
func finite(t media.RawTensor) (int, bool) {
	switch t.Datatype {
	case media.FP16:
		const exponent = 0x7c00
		for i := 0; i+2 <= len(t.Data); i += 2 {
			if binary.LittleEndian.Uint16(t.Data[i:])&exponent == exponent {
				return i / 2, false
			}
		}
	case media.FP32:
		const exponent = 0x7f800000
		for i := 0; i+4 <= len(t.Data); i += 4 {
			if binary.LittleEndian.Uint32(t.Data[i:])&exponent == exponent {
				return i / 4, false
			}
		}
	case media.FP64:
		const exponent = 0x7ff0000000000000
		for i := 0; i+8 <= len(t.Data); i += 8 {
			if binary.LittleEndian.Uint64(t.Data[i:])&exponent == exponent {
				return i / 8, false
			}
		}
	default: // integers are finite
	}
	return 0, true
}
