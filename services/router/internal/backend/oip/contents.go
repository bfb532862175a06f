package oip

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/proto/gen/inference"
)

// encode writes typed contents as a tensor's bytes. Contents of another type than the tensor's are an error, and so are integers beyond it: that
// they are as many as the shape says shows in the number of bytes.
func encode(datatype media.Datatype, c *inference.InferTensorContents) ([]byte, error) {
	var data []byte
	var err error
	switch datatype {
	case media.Bool:
		data = each(c.GetBoolContents(), func(b []byte, v bool) []byte {
			if v {
				return append(b, 1)
			}
			return append(b, 0)
		})
	case media.Int8, media.Int16, media.Int32:
		data, err = integers(datatype, c.GetIntContents())
	case media.Uint8, media.Uint16, media.Uint32:
		data, err = integers(datatype, c.GetUintContents())
	case media.Int64:
		data = each(c.GetInt64Contents(), func(b []byte, v int64) []byte { return binary.LittleEndian.AppendUint64(b, uint64(v)) })
	case media.Uint64:
		data = each(c.GetUint64Contents(), binary.LittleEndian.AppendUint64)
	case media.FP32:
		data = each(c.GetFp32Contents(), func(b []byte, v float32) []byte { return binary.LittleEndian.AppendUint32(b, math.Float32bits(v)) })
	case media.FP64:
		data = each(c.GetFp64Contents(), func(b []byte, v float64) []byte { return binary.LittleEndian.AppendUint64(b, math.Float64bits(v)) })
	case media.Bytes:
		return texts(c)
	default:
		err = fmt.Errorf("datatype %s cannot travel as typed contents", datatype)
	}
	if err != nil {
		return nil, err
	}
	if total(c)*datatype.Size() != len(data) {
		return nil, fmt.Errorf("typed contents of another type than %s", datatype)
	}
	return data, nil
}

// texts writes the elements of a BYTES tensor, each after its length.
func texts(c *inference.InferTensorContents) ([]byte, error) {
	if total(c) != len(c.GetBytesContents()) {
		return nil, fmt.Errorf("typed contents of another type than %s", media.Bytes)
	}
	var data []byte
	for _, element := range c.GetBytesContents() {
		data = binary.LittleEndian.AppendUint32(data, uint32(len(element)))
		data = append(data, element...)
	}
	return data, nil
}

// total counts the elements of all types.
func total(c *inference.InferTensorContents) int {
	return len(c.GetBoolContents()) + len(c.GetIntContents()) + len(c.GetInt64Contents()) + len(c.GetUintContents()) +
		len(c.GetUint64Contents()) + len(c.GetFp32Contents()) + len(c.GetFp64Contents()) + len(c.GetBytesContents())
}

// each appends values one after the other to a fresh slice.
func each[T any](values []T, add func([]byte, T) []byte) []byte {
	var probe T
	data := make([]byte, 0, len(values)*binary.Size(probe))
	for _, v := range values {
		data = add(data, v)
	}
	return data
}

// integers narrows 32-bit integers to the datatype's size.
func integers[T int32 | uint32](datatype media.Datatype, values []T) ([]byte, error) {
	size := datatype.Size()
	data := make([]byte, 0, len(values)*size)
	for _, v := range values {
		wide := int64(v)
		fits := true
		switch datatype {
		case media.Int8:
			fits = wide == int64(int8(wide))
		case media.Int16:
			fits = wide == int64(int16(wide))
		case media.Uint8:
			fits = wide == int64(uint8(wide))
		case media.Uint16:
			fits = wide == int64(uint16(wide))
		default: // 32 bits, as it travels
		}
		if !fits {
			return nil, fmt.Errorf("%d is no %s", wide, datatype)
		}
		switch size {
		case 1:
			data = append(data, byte(wide))
		case 2:
			data = binary.LittleEndian.AppendUint16(data, uint16(wide))
		default:
			data = binary.LittleEndian.AppendUint32(data, uint32(wide))
		}
	}
	return data, nil
}
