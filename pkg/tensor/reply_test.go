package tensor

import (
	"bytes"
	"encoding/binary"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/sluice-dev/sluice/pkg/media"
)

func declared() []Declared {
	return []Declared{
		{TensorSpec: media.TensorSpec{Name: "boxes", Datatype: media.FP32, Shape: []int{-1, -1, 4}}},
		{TensorSpec: media.TensorSpec{Name: "count", Datatype: media.Int64, Shape: []int{-1}}},
	}
}

// answer is a right answer for a batch of 2, in another order than declared.
func answer() []media.RawTensor {
	boxes := make([]byte, 0, 2*3*4*4)
	for i := range 2 * 3 * 4 {
		boxes = binary.LittleEndian.AppendUint32(boxes, math.Float32bits(float32(i)))
	}
	return []media.RawTensor{
		{Name: "count", Datatype: media.Int64, Shape: []int{2}, Data: []byte{1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0}},
		{Name: "boxes", Datatype: media.FP32, Shape: []int{2, 3, 4}, Data: boxes},
	}
}

func TestCheckOrdersAndFrameSplits(t *testing.T) {
	t.Parallel()
	reply := answer()
	ordered, err := Check(reply, declared(), 2)
	if err != nil {
		t.Fatal(err)
	}
	if ordered[0].Name != "boxes" || ordered[1].Name != "count" {
		t.Fatalf("order = %s, %s", ordered[0].Name, ordered[1].Name)
	}
	for i := range 2 {
		boxes, count := Frame(ordered[0], i), Frame(ordered[1], i)
		if !slices.Equal(boxes.Shape, []int{3, 4}) || !bytes.Equal(boxes.Data, reply[1].Data[i*48:(i+1)*48]) {
			t.Errorf("boxes of frame %d = %+v", i, boxes)
		}
		if len(count.Shape) != 0 || count.Data[0] != byte(i+1) || len(count.Data) != 8 {
			t.Errorf("count of frame %d = %+v", i, count)
		}
	}
}

func TestCheckRefuses(t *testing.T) {
	t.Parallel()
	float := func(bits uint32) func([]media.RawTensor) []media.RawTensor {
		return func(r []media.RawTensor) []media.RawTensor {
			binary.LittleEndian.PutUint32(r[1].Data[92:], bits)
			return r
		}
	}
	boxes := func(change func(*media.RawTensor)) func([]media.RawTensor) []media.RawTensor {
		return func(r []media.RawTensor) []media.RawTensor {
			change(&r[1])
			return r
		}
	}
	shape := func(extents ...int) func([]media.RawTensor) []media.RawTensor {
		return boxes(func(t *media.RawTensor) { t.Shape = extents })
	}
	for _, c := range []struct {
		name   string
		change func([]media.RawTensor) []media.RawTensor
		want   string
	}{
		{"nothing", func([]media.RawTensor) []media.RawTensor { return nil }, "0 tensors"},
		{"one missing", func(r []media.RawTensor) []media.RawTensor { return r[:1] }, "1 tensors"},
		{"one too many", func(r []media.RawTensor) []media.RawTensor { return append(r, r[0]) }, "3 tensors"},
		{"one twice", func(r []media.RawTensor) []media.RawTensor { return []media.RawTensor{r[0], r[0]} }, `"boxes" is missing`},
		{"another name", boxes(func(t *media.RawTensor) { t.Name = "Boxes" }), `"boxes" is missing`},
		{"no name", boxes(func(t *media.RawTensor) { t.Name = "" }), `"boxes" is missing`},
		{"another datatype of that size", boxes(func(t *media.RawTensor) { t.Datatype = media.Int32 }), `"INT32"`},
		{"no datatype", boxes(func(t *media.RawTensor) { t.Datatype = "" }), "datatype"},
		{"a frame less", shape(1, 3, 4), "batch of 2"},
		{"a frame more", shape(3, 2, 4), "batch of 2"},
		{"no frames", shape(0, 3, 4), "batch of 2"},
		{"negative frames", shape(-2, 3, 4), "batch of 2"},
		{"no shape", shape(), "shape []"},
		{"an axis less", shape(2, 12), "shape [2 12]"},
		{"an axis more", shape(2, 3, 4, 1), "shape [2 3 4 1]"},
		{"a fixed extent changed", shape(2, 4, 3), "shape [2 4 3]"},
		{"a free extent that the bytes do not fill", shape(2, 4, 4), "96 bytes"},
		{"a free extent that the bytes overflow", shape(2, 2, 4), "96 bytes"},
		{"a negative free extent", shape(2, -3, 4), "shape [2 -3 4]"},
		{"extents whose product overflows", shape(2, math.MaxInt, 4), "96 bytes"},
		{"an extent of 2^32", shape(2, 1<<32, 4), "96 bytes"},
		{"a byte less", boxes(func(t *media.RawTensor) { t.Data = t.Data[:95] }), "95 bytes"},
		{"a byte more", boxes(func(t *media.RawTensor) { t.Data = append(t.Data, 0) }), "97 bytes"},
		{"no bytes", boxes(func(t *media.RawTensor) { t.Data = nil }), "0 bytes"},
		{"quiet NaN", float(0x7fc00000), "element 23 is not finite"},
		{"signalling NaN", float(0x7f800001), "not finite"},
		{"negative NaN", float(0xffc00000), "not finite"},
		{"infinity", float(0x7f800000), "not finite"},
		{"negative infinity", float(0xff800000), "not finite"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if _, err := Check(c.change(answer()), declared(), 2); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("Check = %v, want an error with %q", err, c.want)
			}
		})
	}
}

func TestCheckTakesExtremes(t *testing.T) {
	t.Parallel()
	float := func(bits uint32) media.RawTensor {
		return media.RawTensor{Name: "x", Datatype: media.FP32, Shape: []int{1}, Data: binary.LittleEndian.AppendUint32(nil, bits)}
	}
	for _, c := range []struct {
		name string
		t    media.RawTensor
		spec media.TensorSpec
	}{
		{"the greatest float", float(0x7f7fffff), media.TensorSpec{Name: "x", Datatype: media.FP32, Shape: []int{1}}},
		{"the smallest float", float(0x00000001), media.TensorSpec{Name: "x", Datatype: media.FP32, Shape: []int{-1}}},
		{"no objects in the frame", media.RawTensor{Name: "x", Datatype: media.FP32, Shape: []int{1, 0, 4}}, media.TensorSpec{Name: "x", Datatype: media.FP32, Shape: []int{-1, -1, 4}}},
		{"integers that would be NaN as floats", media.RawTensor{Name: "x", Datatype: media.Int32, Shape: []int{1}, Data: []byte{0, 0, 0xc0, 0x7f}}, media.TensorSpec{Name: "x", Datatype: media.Int32, Shape: []int{1}}},
	} {
		if _, err := Check([]media.RawTensor{c.t}, []Declared{{TensorSpec: c.spec}}, 1); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestFiniteKnowsEveryFloat(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		datatype media.Datatype
		data     []byte
		finite   bool
	}{
		{media.FP16, []byte{0xff, 0x7b}, true},
		{media.FP16, []byte{0x00, 0x7c}, false},
		{media.FP16, []byte{0x01, 0xfc}, false},
		{media.FP64, binary.LittleEndian.AppendUint64(nil, math.Float64bits(math.MaxFloat64)), true},
		{media.FP64, binary.LittleEndian.AppendUint64(nil, math.Float64bits(math.NaN())), false},
		{media.FP64, binary.LittleEndian.AppendUint64(nil, math.Float64bits(math.Inf(-1))), false},
	} {
		if _, got := finite(media.RawTensor{Datatype: c.datatype, Data: c.data}); got != c.finite {
			t.Errorf("finite(%s % x) = %v", c.datatype, c.data, got)
		}
	}
}

func BenchmarkCheck(b *testing.B) {
	shape := []int{8, 15, 56, 96}
	size, _ := Bytes(media.FP32, shape)
	reply := []media.RawTensor{{Name: "maps", Datatype: media.FP32, Shape: shape, Data: make([]byte, size)}}
	spec := []Declared{{TensorSpec: media.TensorSpec{Name: "maps", Datatype: media.FP32, Shape: []int{-1, 15, 56, 96}}}}
	b.SetBytes(int64(size))
	for b.Loop() {
		if _, err := Check(reply, spec, 8); err != nil {
			b.Fatal(err)
		}
	}
}
