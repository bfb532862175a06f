package onnx

import (
	"encoding/binary"
	"fmt"
	"math"
	"runtime"
	"unsafe"

	ort "github.com/yalue/onnxruntime_go"

	"github.com/sluice-dev/sluice/pkg/media"
)

// datatype gives the protocol's word for an element type, "" for those that the Go binding cannot hand out (BYTES, and FP16, of which it copies
// half).
func datatype(t ort.TensorElementDataType) media.Datatype {
	switch t {
	case ort.TensorElementDataTypeFloat:
		return media.FP32
	case ort.TensorElementDataTypeDouble:
		return media.FP64
	case ort.TensorElementDataTypeUint8:
		return media.Uint8
	case ort.TensorElementDataTypeUint16:
		return media.Uint16
	case ort.TensorElementDataTypeUint32:
		return media.Uint32
	case ort.TensorElementDataTypeUint64:
		return media.Uint64
	case ort.TensorElementDataTypeInt8:
		return media.Int8
	case ort.TensorElementDataTypeInt16:
		return media.Int16
	case ort.TensorElementDataTypeInt32:
		return media.Int32
	case ort.TensorElementDataTypeInt64:
		return media.Int64
	case ort.TensorElementDataTypeBool:
		return media.Bool
	}
	return ""
}

// specs describes a model's inputs or outputs. What is no tensor has no datatype, and is refused where it is wanted.
func specs(infos []ort.InputOutputInfo) []media.TensorSpec {
	list := make([]media.TensorSpec, len(infos))
	for i, info := range infos {
		list[i].Name = info.Name
		if info.OrtValueType != ort.ONNXTypeTensor {
			continue
		}
		list[i].Datatype = datatype(info.DataType)
		for _, extent := range info.Dimensions {
			list[i].Shape = append(list[i].Shape, int(extent))
		}
	}
	return list
}

func names(specs []media.TensorSpec) []string {
	list := make([]string, len(specs))
	for i, s := range specs {
		list[i] = s.Name
	}
	return list
}

// element gives the runtime's word for a datatype of fixed size, undefined for others.
func element(d media.Datatype) ort.TensorElementDataType {
	switch d {
	case media.FP16:
		return ort.TensorElementDataTypeFloat16
	case media.FP32:
		return ort.TensorElementDataTypeFloat
	case media.FP64:
		return ort.TensorElementDataTypeDouble
	case media.Uint8:
		return ort.TensorElementDataTypeUint8
	case media.Uint16:
		return ort.TensorElementDataTypeUint16
	case media.Uint32:
		return ort.TensorElementDataTypeUint32
	case media.Uint64:
		return ort.TensorElementDataTypeUint64
	case media.Int8:
		return ort.TensorElementDataTypeInt8
	case media.Int16:
		return ort.TensorElementDataTypeInt16
	case media.Int32:
		return ort.TensorElementDataTypeInt32
	case media.Int64:
		return ort.TensorElementDataTypeInt64
	case media.Bool:
		return ort.TensorElementDataTypeBool
	default:
		return ort.TensorElementDataTypeUndefined
	}
}

// wrap makes a value of the runtime that aliases a tensor, and pins its memory. A tensor without axes is copied.
func wrap(t media.RawTensor, pin *runtime.Pinner) (ort.Value, error) {
	kind := element(t.Datatype)
	if kind == ort.TensorElementDataTypeUndefined {
		return nil, fmt.Errorf("datatype %s cannot be given", t.Datatype)
	}
	if len(t.Data) == 0 {
		return nil, fmt.Errorf("an empty tensor of shape %v", t.Shape)
	}
	if len(t.Shape) == 0 {
		return scalar(t)
	}
	shape := make(ort.Shape, len(t.Shape))
	for i, extent := range t.Shape {
		shape[i] = int64(extent)
	}
	pin.Pin(&t.Data[0])
	value, err := ort.NewCustomDataTensor(shape, t.Data, kind)
	if err != nil {
		return nil, err // and no value: an interface of a nil pointer is not nil
	}
	return value, nil
}

// scalar makes a value without axes. The binding knows those of numbers only.
func scalar(t media.RawTensor) (ort.Value, error) {
	if len(t.Data) != t.Datatype.Size() {
		return nil, fmt.Errorf("%d bytes for one %s", len(t.Data), t.Datatype)
	}
	switch t.Datatype {
	case media.FP32:
		return newScalar(math.Float32frombits(binary.LittleEndian.Uint32(t.Data)))
	case media.FP64:
		return newScalar(math.Float64frombits(binary.LittleEndian.Uint64(t.Data)))
	case media.Uint8:
		return newScalar(t.Data[0])
	case media.Uint16:
		return newScalar(binary.LittleEndian.Uint16(t.Data))
	case media.Uint32:
		return newScalar(binary.LittleEndian.Uint32(t.Data))
	case media.Uint64:
		return newScalar(binary.LittleEndian.Uint64(t.Data))
	case media.Int8:
		return newScalar(int8(t.Data[0]))
	case media.Int16:
		return newScalar(int16(binary.LittleEndian.Uint16(t.Data)))
	case media.Int32:
		return newScalar(int32(binary.LittleEndian.Uint32(t.Data)))
	case media.Int64:
		return newScalar(int64(binary.LittleEndian.Uint64(t.Data)))
	case media.Bool:
		return newScalar(t.Data[0] != 0)
	default:
		return nil, fmt.Errorf("one %s without axes cannot be given", t.Datatype)
	}
}

func newScalar[T ort.TensorData](v T) (ort.Value, error) {
	value, err := ort.NewScalar(v)
	if err != nil {
		return nil, err
	}
	return value, nil
}

// unwrap gives the bytes of a value that the runtime allocated. They stay valid when the value is destroyed: the binding has copied them
// into Go's memory.
func unwrap(name string, v ort.Value) (media.RawTensor, error) {
	t := media.RawTensor{Name: name}
	switch v := v.(type) {
	case *ort.Tensor[float32]:
		t.Datatype, t.Data = media.FP32, bytesOf(v.GetData())
	case *ort.Tensor[float64]:
		t.Datatype, t.Data = media.FP64, bytesOf(v.GetData())
	case *ort.Tensor[uint8]:
		t.Datatype, t.Data = media.Uint8, v.GetData()
	case *ort.Tensor[uint16]:
		t.Datatype, t.Data = media.Uint16, bytesOf(v.GetData())
	case *ort.Tensor[uint32]:
		t.Datatype, t.Data = media.Uint32, bytesOf(v.GetData())
	case *ort.Tensor[uint64]:
		t.Datatype, t.Data = media.Uint64, bytesOf(v.GetData())
	case *ort.Tensor[int8]:
		t.Datatype, t.Data = media.Int8, bytesOf(v.GetData())
	case *ort.Tensor[int16]:
		t.Datatype, t.Data = media.Int16, bytesOf(v.GetData())
	case *ort.Tensor[int32]:
		t.Datatype, t.Data = media.Int32, bytesOf(v.GetData())
	case *ort.Tensor[int64]:
		t.Datatype, t.Data = media.Int64, bytesOf(v.GetData())
	case *ort.Tensor[bool]:
		t.Datatype, t.Data = media.Bool, bytesOf(v.GetData())
	default:
		return media.RawTensor{}, fmt.Errorf("output %s is of a kind that cannot be read", name)
	}
	for _, extent := range v.GetShape() {
		t.Shape = append(t.Shape, int(extent))
	}
	return t, nil
}

// bytesOf gives the memory of numbers as bytes: little-endian, as both platforms that Sluice runs on are.
func bytesOf[T any](values []T) []byte {
	if len(values) == 0 {
		return nil
	}
	return unsafe.Slice((*byte)(unsafe.Pointer(&values[0])), len(values)*int(unsafe.Sizeof(values[0]))) //nolint:gosec // the length is that of values
}
