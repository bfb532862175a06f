package tensor

import (
	"bytes"
	"encoding/binary"
	"image"
	"image/color"
	"image/jpeg"
	"math"
	"reflect"
	"strings"
	"testing"

	"github.com/sluice-dev/sluice/pkg/media"
)

func TestInputsAreRefused(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		in   Input
		want string
	}{
		{"no samples", Sound{Datatype: media.FP32}, "0 samples"},
		{"too many samples", Sound{Samples: media.MaxSoundSamples + 1, Datatype: media.FP32}, "must be from 1"},
		{"samples of another type", Sound{Samples: 1, Datatype: media.Uint8}, "FP32 or INT16"},
		{"a tensor of no size", Raw{Datatype: media.FP32, Shape: []int{2, 0}}, "at least 1"},
		{"a tensor of texts", Raw{Datatype: media.Bytes, Shape: []int{1}}, "fixed size"},
		{"a tensor that is too large", Raw{Datatype: media.FP64, Shape: []int{1 << 20, 1 << 20}}, "fixed size"},
		{"texts of no size", Text{}, "must be from 1"},
		{"files of no size", JPEG{Width: 1}, "1×0"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if _, err := NewPacker(c.in); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("NewPacker = %v, want an error with %q", err, c.want)
			}
		})
	}
}

func float32s(values ...float32) []byte {
	var data []byte
	for _, v := range values {
		data = binary.LittleEndian.AppendUint32(data, math.Float32bits(v))
	}
	return data
}

func TestPackInputs(t *testing.T) {
	t.Parallel()
	samples := []byte{0, 0, 1, 0, 0xff, 0x7f, 0, 0x80}
	for _, c := range []struct {
		name    string
		in      Input
		payload []byte
		shapes  [][]int
		want    []byte
		sample  bool
	}{
		{"sound as floats", Sound{Samples: 4, Datatype: media.FP32}, samples, [][]int{{4}, {1, 4}}, float32s(0, 1./32768, 32767./32768, -1), true},
		{"sound as integers", Sound{Samples: 4, Datatype: media.Int16}, samples, [][]int{{4}, {1, 4}}, samples, true},
		{"a tensor", Raw{Datatype: media.Int32, Shape: []int{1, 2}}, samples, [][]int{{1, 2}}, samples, true},
		{"a text", Text{Limit: 9}, []byte(`{"a": 1}`), [][]int{{}, {1}}, []byte("\x08\x00\x00\x00" + `{"a": 1}`), false},
		{"a text of the largest size", Text{Limit: 2, Sample: []byte("x")}, []byte("{}"), [][]int{{}, {1}}, []byte("\x02\x00\x00\x00{}"), true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			k, err := NewPacker(c.in)
			if err != nil {
				t.Fatal(err)
			}
			if got := k.Shapes(); !reflect.DeepEqual(got, c.shapes) {
				t.Errorf("Shapes = %v, want %v", got, c.shapes)
			}
			batch, err := k.Pack([]byte("before"), media.Payload{c.payload})
			if err != nil || !bytes.Equal(batch, append([]byte("before"), c.want...)) || k.FrameBytes(media.Payload{c.payload}) != len(c.want) {
				t.Errorf("Pack = % x, %v; want % x", batch, err, c.want)
			}
			if got := k.Sample(); (got != nil) != c.sample {
				t.Errorf("a sample of %d bytes", len(got))
			} else if c.sample {
				if _, err := k.Pack(nil, media.Payload{got}); err != nil {
					t.Errorf("the sample cannot be packed: %v", err)
				}
			}
			for _, size := range []int{0, len(c.payload) + 2} {
				if got, err := k.Pack(batch, media.Payload{make([]byte, size)}); err == nil || !bytes.Equal(got, batch) {
					t.Errorf("Pack of %d bytes = %v, want an error and the batch as it was", size, err)
				}
			}
		})
	}
}

// texts makes the data of a BYTES tensor.
func texts(elements ...string) []byte {
	var data []byte
	for _, e := range elements {
		data = binary.LittleEndian.AppendUint32(data, uint32(len(e)))
		data = append(data, e...)
	}
	return data
}

func TestTextsOfABatch(t *testing.T) {
	t.Parallel()
	spec := []Declared{{TensorSpec: media.TensorSpec{Name: "x", Datatype: media.Bytes, Shape: []int{-1, 2}}}}
	reply := media.RawTensor{Name: "x", Datatype: media.Bytes, Shape: []int{2, 2}, Data: texts("a", "", "ccc", "dd")}
	checked, err := Check([]media.RawTensor{reply}, spec, 2)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range [][]byte{texts("a", ""), texts("ccc", "dd")} {
		if got := Frame(checked[0], i); !bytes.Equal(got.Data, want) || !reflect.DeepEqual(got.Shape, []int{2}) {
			t.Errorf("frame %d = %+v, want %q", i, got, want)
		}
	}
	for name, data := range map[string][]byte{
		"none":                  nil,
		"one less":              texts("a", "b", "c"),
		"one more":              texts("a", "b", "c", "d", "e"),
		"cut in the last":       reply.Data[:len(reply.Data)-1],
		"cut in a length":       reply.Data[:len(reply.Data)-5],
		"a length beyond":       append(texts("a", "b", "c"), 0xff, 0xff, 0xff, 0xff),
		"a byte after the last": append(texts("a", "b", "c", "d"), 0),
	} {
		reply.Data = data
		if _, err := Check([]media.RawTensor{reply}, spec, 2); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	spec[0].Shape = []int{-1, -1}
	// Each frame's part is found by going through the texts before it.
	for _, shape := range [][]int{{2, 1 << 40}, {2, maxTexts}} {
		reply.Shape, reply.Data = shape, make([]byte, prefix*2*maxTexts)
		if _, err := Check([]media.RawTensor{reply}, spec, 2); err == nil || !strings.Contains(err.Error(), "more than") {
			t.Errorf("shape %v: %v, want it refused for the number of texts", shape, err)
		}
	}
	reply.Shape, reply.Data = []int{2, maxTexts / 2}, make([]byte, prefix*maxTexts)
	if _, err := Check([]media.RawTensor{reply}, spec, 2); err != nil {
		t.Errorf("as many texts as there may be: %v", err)
	}
}

// TestCheckFindsTheFramesOnAnyAxis is how recurrent state travels: [layers, frames, features].
func TestCheckFindsTheFramesOnAnyAxis(t *testing.T) {
	t.Parallel()
	state := media.TensorSpec{Name: "state", Datatype: media.FP32, Shape: []int{2, -1, 3}}
	for _, c := range []struct {
		axis  int
		shape []int
		ok    bool
	}{
		{1, []int{2, 4, 3}, true},
		{1, []int{4, 2, 3}, false},
		{1, []int{2, 3, 4}, false},
		{-1, []int{2, 4, 3}, true}, // a free extent that is not the frames'
	} {
		reply := media.RawTensor{Name: "state", Datatype: media.FP32, Shape: c.shape, Data: make([]byte, 4*2*4*3)}
		if _, err := Check([]media.RawTensor{reply}, []Declared{{TensorSpec: state, Axis: c.axis}}, 4); (err == nil) != c.ok {
			t.Errorf("axis %d, shape %v: %v", c.axis, c.shape, err)
		}
	}
}

// TestCheckTakesAStateWithoutAxes is how a counter travels, of models that take one stream at a time. What frames are read from must have an axis for them.
func TestCheckTakesAStateWithoutAxes(t *testing.T) {
	t.Parallel()
	spec := media.TensorSpec{Name: "steps", Datatype: media.Int64}
	reply := []media.RawTensor{{Name: "steps", Datatype: media.Int64, Data: make([]byte, 8)}}
	if _, err := Check(reply, []Declared{{TensorSpec: spec, Axis: -1}}, 1); err != nil {
		t.Errorf("a state: %v", err)
	}
	if _, err := Check(reply, []Declared{{TensorSpec: spec}}, 1); err == nil {
		t.Error("a tensor without axes was taken for a batch's")
	}
}

// TestSampleOfJPEG is a picture of the size that the model expects.
func TestSampleOfJPEG(t *testing.T) {
	t.Parallel()
	k, err := NewPacker(JPEG{Width: 33, Height: 17})
	if err != nil {
		t.Fatal(err)
	}
	picture, err := jpeg.Decode(bytes.NewReader(k.Sample()))
	if err != nil || picture.Bounds() != image.Rect(0, 0, 33, 17) {
		t.Fatalf("the sample is a picture of %v, %v", picture.Bounds(), err)
	}
	if r, g, b, _ := picture.At(20, 10).RGBA(); r|g|b != 0 || picture.ColorModel() != color.YCbCrModel {
		t.Errorf("its colour is %d, %d, %d of %T, want black in three channels", r, g, b, picture)
	}
}

func BenchmarkPackSound(b *testing.B) {
	k, err := NewPacker(Sound{Samples: 576, Datatype: media.FP32})
	if err != nil {
		b.Fatal(err)
	}
	payload := make([]byte, 2*576)
	var batch []byte
	b.ReportAllocs()
	for b.Loop() {
		if batch, err = k.Pack(batch[:0], media.Payload{payload}); err != nil {
			b.Fatal(err)
		}
	}
}
