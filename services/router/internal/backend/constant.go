package backend

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"

	"github.com/sluice-dev/sluice/pkg/media"
)

// Constant is an input that a model takes and that is the same for every frame: a sample rate, a threshold. Each element of the tensor has the value.
type Constant struct {
	Name  string
	Value float64
}

// maxConstant bounds the elements of a constant in a batch.
const maxConstant = 1 << 20

// constantTerms are a constant as a target declares it.
type constantTerms struct {
	spec media.TensorSpec
	axis int    // of the frames; negative when there is none
	data []byte // of the largest batch; a smaller one has the first part of it
	each int    // bytes for each frame, or of the whole tensor when there is no axis
}

// agree makes the tensor of a constant.
func (c Constant) agree(spec media.TensorSpec, maxBatch int) (constantTerms, error) {
	element, err := encode(spec.Datatype, c.Value)
	if err != nil {
		return constantTerms{}, fmt.Errorf("constant %s: %w", c.Name, err)
	}
	t := constantTerms{spec: spec, axis: -1}
	elements := 1
	for axis, extent := range spec.Shape {
		switch {
		case extent >= 0 && extent <= maxConstant:
			elements *= extent
		case extent < 0 && t.axis < 0:
			t.axis = axis
		default:
			return constantTerms{}, fmt.Errorf("constant %s: the size of %s is not known", c.Name, spec)
		}
		if elements > maxConstant {
			return constantTerms{}, fmt.Errorf("constant %s: %s has more than %d elements", c.Name, spec, maxConstant)
		}
	}
	t.each = elements * len(element)
	if t.axis >= 0 {
		elements *= maxBatch
	}
	t.data = bytes.Repeat(element, elements)
	return t, nil
}

// tensor gives the constant for a batch; its shape is written over another.
func (t *constantTerms) tensor(shape []int, frames int) media.RawTensor {
	shape = append(shape[:0], t.spec.Shape...)
	size := t.each
	if t.axis >= 0 {
		shape[t.axis] = frames
		size *= frames
	}
	return media.RawTensor{Name: t.spec.Name, Datatype: t.spec.Datatype, Shape: shape, Data: t.data[:size]}
}

// encode writes a number as an element of a tensor.
func encode(datatype media.Datatype, v float64) ([]byte, error) {
	switch datatype {
	case media.FP32:
		if math.Abs(v) > math.MaxFloat32 {
			return nil, fmt.Errorf("%g is beyond %s", v, datatype)
		}
		return binary.LittleEndian.AppendUint32(nil, math.Float32bits(float32(v))), nil
	case media.FP64:
		return binary.LittleEndian.AppendUint64(nil, math.Float64bits(v)), nil
	case media.Bool, media.Int8, media.Uint8, media.Int16, media.Uint16, media.Int32, media.Uint32, media.Int64, media.Uint64:
	default:
		return nil, fmt.Errorf("a number cannot be given as %q", datatype)
	}
	least, most := integers(datatype)
	if v != math.Trunc(v) || v < least || v > most {
		return nil, fmt.Errorf("%g is no %s", v, datatype)
	}
	return binary.LittleEndian.AppendUint64(nil, uint64(int64(v)))[:datatype.Size()], nil
}

// integers gives the range of an integer datatype, of those of 64 bits the part in which every whole number is a float64.
func integers(datatype media.Datatype) (least, most float64) {
	const exact = 1 << 53
	bits := float64(8 * datatype.Size())
	switch datatype {
	case media.Bool:
		return 0, 1
	case media.Uint8, media.Uint16, media.Uint32:
		return 0, math.Exp2(bits) - 1
	case media.Uint64:
		return 0, exact
	case media.Int64:
		return -exact, exact
	default:
		return -math.Exp2(bits - 1), math.Exp2(bits-1) - 1
	}
}
