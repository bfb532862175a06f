package oip

import (
	"testing"
	"time"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/pkg/tensor"
	"github.com/sluice-dev/sluice/proto/gen/inference"
)

func TestEncode(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		datatype media.Datatype
		contents *inference.InferTensorContents
		want     string // the bytes; "refused" when there are none
	}{
		{media.Bool, &inference.InferTensorContents{BoolContents: []bool{true, false}}, "\x01\x00"},
		{media.Int8, &inference.InferTensorContents{IntContents: []int32{-1, 127}}, "\xff\x7f"},
		{media.Int8, &inference.InferTensorContents{IntContents: []int32{128}}, "refused"},
		{media.Int16, &inference.InferTensorContents{IntContents: []int32{-2}}, "\xfe\xff"},
		{media.Int16, &inference.InferTensorContents{IntContents: []int32{-32769}}, "refused"},
		{media.Int32, &inference.InferTensorContents{IntContents: []int32{-2}}, "\xfe\xff\xff\xff"},
		{media.Uint8, &inference.InferTensorContents{UintContents: []uint32{255}}, "\xff"},
		{media.Uint8, &inference.InferTensorContents{UintContents: []uint32{256}}, "refused"},
		{media.Uint8, &inference.InferTensorContents{IntContents: []int32{1}}, "refused"},
		{media.Uint16, &inference.InferTensorContents{UintContents: []uint32{1 << 16}}, "refused"},
		{media.Uint32, &inference.InferTensorContents{UintContents: []uint32{1<<32 - 1}}, "\xff\xff\xff\xff"},
		{media.Int64, &inference.InferTensorContents{Int64Contents: []int64{-2}}, "\xfe\xff\xff\xff\xff\xff\xff\xff"},
		{media.Uint64, &inference.InferTensorContents{Uint64Contents: []uint64{2}}, "\x02\x00\x00\x00\x00\x00\x00\x00"},
		{media.FP32, &inference.InferTensorContents{Fp32Contents: []float32{1}}, "\x00\x00\x80\x3f"},
		{media.FP64, &inference.InferTensorContents{Fp64Contents: []float64{1}}, "\x00\x00\x00\x00\x00\x00\xf0\x3f"},
		{media.FP16, &inference.InferTensorContents{Fp32Contents: []float32{1}}, "refused"},
		{media.FP32, &inference.InferTensorContents{Fp32Contents: []float32{1}, BytesContents: [][]byte{nil}}, "refused"},
		{media.FP32, nil, ""},
		{media.Bytes, &inference.InferTensorContents{BytesContents: [][]byte{[]byte("ab"), nil}}, "\x02\x00\x00\x00ab\x00\x00\x00\x00"},
		{media.Bytes, &inference.InferTensorContents{BytesContents: [][]byte{nil}, IntContents: []int32{1}}, "refused"},
		{media.Bytes, &inference.InferTensorContents{IntContents: []int32{1}}, "refused"},
		{media.Bytes, nil, ""},
	} {
		got, err := encode(c.datatype, c.contents)
		if err != nil {
			got = []byte("refused")
		}
		if string(got) != c.want {
			t.Errorf("encode(%s, %v) = % x, %v; want % x", c.datatype, c.contents, got, err, c.want)
		}
	}
}

func TestCompute(t *testing.T) {
	t.Parallel()
	number := func(n int64) *inference.InferParameter {
		return &inference.InferParameter{ParameterChoice: &inference.InferParameter_Int64Param{Int64Param: n}}
	}
	text := &inference.InferParameter{ParameterChoice: &inference.InferParameter_StringParam{StringParam: "5000000"}}
	for name, c := range map[string]struct {
		parameters map[string]*inference.InferParameter
		want       time.Duration
	}{
		"none":     {nil, 0},
		"another":  {map[string]*inference.InferParameter{"compute_ns": number(5e6)}, 0},
		"said":     {map[string]*inference.InferParameter{computeParameter: number(5e6)}, 5 * time.Millisecond},
		"negative": {map[string]*inference.InferParameter{computeParameter: number(-1)}, 0},
		"text":     {map[string]*inference.InferParameter{computeParameter: text}, 0},
	} {
		a := &answer{message: inference.ModelInferResponse{Parameters: c.parameters}}
		if got := a.compute(); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

// FuzzReply reads any bytes as a reply. What passes both checks has exactly the promised frames.
func FuzzReply(f *testing.F) {
	request := &inference.ModelInferRequest{ModelName: "m", Id: "7"}
	declared := []tensor.Declared{{TensorSpec: media.TensorSpec{Name: "x", Datatype: media.FP32, Shape: []int{-1, -1}}}}
	texts := []tensor.Declared{{TensorSpec: media.TensorSpec{Name: "x", Datatype: media.Bytes, Shape: []int{-1, -1}}}}
	x := func() *inference.ModelInferResponse_InferOutputTensor {
		return &inference.ModelInferResponse_InferOutputTensor{Name: "x", Datatype: "FP32", Shape: []int64{2, 1}}
	}
	typed := x()
	typed.Contents = &inference.InferTensorContents{Fp32Contents: []float32{1, 2}}
	text := &inference.ModelInferResponse_InferOutputTensor{
		Name: "x", Datatype: "BYTES", Shape: []int64{2, 1}, Contents: &inference.InferTensorContents{BytesContents: [][]byte{[]byte("{}"), nil}},
	}
	for _, r := range []*inference.ModelInferResponse{
		{},
		{Outputs: []*inference.ModelInferResponse_InferOutputTensor{text}},
		{ModelName: "m", Id: "7", Outputs: []*inference.ModelInferResponse_InferOutputTensor{x()}, RawOutputContents: [][]byte{make([]byte, 8)}},
		{Outputs: []*inference.ModelInferResponse_InferOutputTensor{typed}},
		{Outputs: []*inference.ModelInferResponse_InferOutputTensor{x(), x()}},
	} {
		data, err := proto.Marshal(r)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var a answer
		if err := (codec{}).Unmarshal(mem.BufferSlice{mem.SliceBuffer(data)}, &a); err != nil {
			t.Fatal(err)
		}
		tensors, err := a.tensors(request)
		if err != nil {
			return
		}
		checked, err := tensor.Check(tensors, declared, 2)
		if err != nil {
			if checked, err = tensor.Check(tensors, texts, 2); err == nil {
				splitsTexts(t, checked[0])
			}
			return
		}
		for i := range 2 {
			if frame := tensor.Frame(checked[0], i); len(frame.Data) != 4*frame.Shape[0] {
				t.Errorf("frame %d: %d bytes of shape %v", i, len(frame.Data), frame.Shape)
			}
		}
	})
}

// splitsTexts parts a checked tensor of texts of two frames: nothing is lost or doubled.
func splitsTexts(t *testing.T, checked media.RawTensor) {
	t.Helper()
	first, second := tensor.Frame(checked, 0), tensor.Frame(checked, 1)
	if whole := string(first.Data) + string(second.Data); whole != string(checked.Data) {
		t.Errorf("%q and %q of %q", first.Data, second.Data, checked.Data)
	}
}
