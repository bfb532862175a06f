package media

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
)

// Datatype names the type of a tensor's elements in the Open Inference Protocol's words.
type Datatype string

// The datatypes whose elements have a fixed size.
const (
	Bool   Datatype = "BOOL"
	Uint8  Datatype = "UINT8"
	Uint16 Datatype = "UINT16"
	Uint32 Datatype = "UINT32"
	Uint64 Datatype = "UINT64"
	Int8   Datatype = "INT8"
	Int16  Datatype = "INT16"
	Int32  Datatype = "INT32"
	Int64  Datatype = "INT64"
	FP16   Datatype = "FP16"
	FP32   Datatype = "FP32"
	FP64   Datatype = "FP64"
)

// Bytes is the datatype of texts and files. Elements are of any length: in a tensor's data each is preceded by its length in bytes, a uint32.
const Bytes Datatype = "BYTES"

// Size gives the bytes of one element, 0 for a datatype that is not known or has no fixed size (BYTES).
func (d Datatype) Size() int {
	switch d {
	case Bool, Uint8, Int8:
		return 1
	case Uint16, Int16, FP16:
		return 2
	case Uint32, Int32, FP32:
		return 4
	case Uint64, Int64, FP64:
		return 8
	default:
		return 0
	}
}

// TensorSpec describes a tensor that a model takes or gives. A negative extent is free.
type TensorSpec struct {
	Name     string
	Datatype Datatype
	Shape    []int
}

// String gives the spec as people write it: heatmap FP32 [?,1,64,80].
func (s TensorSpec) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s [", s.Name, s.Datatype)
	for i, extent := range s.Shape {
		if i > 0 {
			b.WriteByte(',')
		}
		if extent < 0 {
			b.WriteByte('?')
			continue
		}
		b.WriteString(strconv.Itoa(extent))
	}
	b.WriteByte(']')
	return b.String()
}

// RawTensor is a tensor in the form in which it travels between router and model: row-major, little-endian, without padding. Whoever
// hands one on says how long Data stays valid.
type RawTensor struct {
	Name     string
	Datatype Datatype
	Shape    []int
	Data     []byte
}

// CutElement takes the first element off the data of a Bytes tensor. It is false when the data is empty or ends within the element.
func CutElement(data []byte) (element, rest []byte, ok bool) {
	const prefix = 4
	if len(data) < prefix {
		return nil, nil, false
	}
	size := uint64(binary.LittleEndian.Uint32(data))
	if size > uint64(len(data)-prefix) {
		return nil, nil, false
	}
	end := prefix + int(size)
	return data[prefix:end:end], data[end:], true
}
