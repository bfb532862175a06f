package tensor

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"github.com/sluice-dev/sluice/pkg/media"
)

// Check tells whether a reply is what a model declared for a batch of frames: every declared tensor once and no other, each of the declared
// type and extents, its first extent the number of frames, its bytes as many as its extents say, and its floats finite. It returns
// the tensors in the declared order; they alias the reply. Nothing of the reply is believed, and an error may quote it.
func Check(reply []media.RawTensor, declared []media.TensorSpec, frames int) ([]media.RawTensor, error) {
	if len(reply) != len(declared) {
		return nil, fmt.Errorf("%d tensors, declared are %d", len(reply), len(declared))
	}
	ordered := make([]media.RawTensor, len(declared))
	for i, spec := range declared {
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

func check(t media.RawTensor, spec media.TensorSpec, frames int) error {
	if t.Datatype != spec.Datatype {
		return fmt.Errorf("datatype %q, declared is %s", t.Datatype, spec.Datatype)
	}
	if len(t.Shape) != len(spec.Shape) || len(t.Shape) == 0 {
		return fmt.Errorf("shape %v, declared is %v", t.Shape, spec.Shape)
	}
	if t.Shape[0] != frames {
		return fmt.Errorf("shape %v for a batch of %d", t.Shape, frames)
	}
	for axis, extent := range t.Shape[1:] {
		if want := spec.Shape[axis+1]; extent < 0 || want >= 0 && extent != want {
			return fmt.Errorf("shape %v, declared is %v", t.Shape, spec.Shape)
		}
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

// Frame gives the part of a batch's tensor that belongs to frame i, batch axis removed, aliasing t. The tensor must have passed Check.
func Frame(t media.RawTensor, i int) media.RawTensor {
	size := len(t.Data) / t.Shape[0]
	return media.RawTensor{Name: t.Name, Datatype: t.Datatype, Shape: t.Shape[1:], Data: t.Data[i*size : (i+1)*size : (i+1)*size]}
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
