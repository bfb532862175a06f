package detect

import (
	"encoding/binary"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/sluice-dev/sluice/pkg/media"
)

// fp32 makes a tensor of one frame.
func fp32(name string, shape []int, values ...float32) media.RawTensor {
	t := media.RawTensor{Name: name, Datatype: media.FP32, Shape: shape}
	for _, v := range values {
		t.Data = binary.LittleEndian.AppendUint32(t.Data, math.Float32bits(v))
	}
	return t
}

func mustNew(t *testing.T, config Config) *Decoder {
	t.Helper()
	d, err := New(config)
	if err != nil {
		t.Fatalf("New(%+v): %v", config, err)
	}
	return d
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	picture := media.PictureInput{Width: 64, Height: 32}
	for _, c := range []struct {
		name   string
		config Config
		want   string
	}{
		{"no decoder", Config{}, "must be centerface, yolo, ssd, classes, probabilities, speech, embedding, json or tensors"},
		{"unknown decoder", Config{Decoder: "yolo99"}, `"yolo99"`},
		{"threshold above one", Config{Decoder: "tensors", Threshold: 1.1}, "from 0 to 1"},
		{"threshold is no number", Config{Decoder: "tensors", Threshold: math.NaN()}, "from 0 to 1"},
		{"sides that the network cannot halve", Config{Decoder: "centerface", Input: media.PictureInput{Width: 320, Height: 240}}, "multiples of 32"},
		{"faces in files", Config{Decoder: "centerface", Input: media.PictureInput{Width: 64, Height: 32, Encoding: media.EncodedJPEG}}, "pixels"},
		{"faces in what is no picture", Config{Decoder: "centerface"}, "input 0×0"},
		{"two labels for faces", Config{Decoder: "centerface", Input: picture, Labels: []string{"face", "cat"}}, "one class"},
		{"an output twice", Config{Decoder: "tensors", Outputs: []string{"a", "a"}}, "twice"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if _, err := New(c.config); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("New = %v, want an error with %q", err, c.want)
			}
		})
	}
}

func TestAccept(t *testing.T) {
	t.Parallel()
	faces := Config{Decoder: "centerface", Input: media.PictureInput{Width: 64, Height: 32}}
	face := func(rows int) []media.TensorSpec {
		return []media.TensorSpec{
			{Name: "537", Datatype: media.FP32, Shape: []int{-1, 1, rows, -1}},
			{Name: "538", Datatype: media.FP32, Shape: []int{-1, 2, rows, -1}},
			{Name: "539", Datatype: media.FP32, Shape: []int{-1, 2, rows, 16}},
			{Name: "540", Datatype: media.FP32, Shape: []int{-1, 10, rows, 16}},
		}
	}
	one := func(d media.Datatype, shape ...int) []media.TensorSpec {
		return []media.TensorSpec{{Name: "out", Datatype: d, Shape: shape}}
	}
	for _, c := range []struct {
		name    string
		config  Config
		outputs []media.TensorSpec
		want    string // empty: accepted
	}{
		{"faces with free extents", faces, face(-1), ""},
		{"faces with the right extents", faces, face(8), ""},
		{"faces of another size", faces, face(9), "needs floats of output FP32 [?,1,8,16]"},
		{"faces with an output less", faces, face(8)[:3], "has 4"},
		{"faces in another order", Config{Decoder: "centerface", Input: faces.Input, Outputs: []string{"540", "538", "539", "537"}}, face(8), "output 540"},
		{"faces with named outputs", Config{Decoder: "centerface", Input: faces.Input, Outputs: []string{"537", "538", "539", "540"}}, face(8), ""},
		{"a name that is not there", Config{Decoder: "tensors", Outputs: []string{"logits"}}, one(media.FP32, -1, 3), `no output "logits"`},
		{"classes", Config{Decoder: "classes"}, one(media.FP32, -1, 1000), ""},
		{"classes with idle axes", Config{Decoder: "classes"}, one(media.FP16, -1, 1000, 1, 1), ""},
		{"classes of a map", Config{Decoder: "classes"}, one(media.FP32, -1, 10, 7, 7), "needs floats of [?,classes]"},
		{"classes of integers", Config{Decoder: "classes"}, one(media.Int64, -1, 10), "needs floats"},
		{"more labels than classes", Config{Decoder: "classes", Labels: []string{"a", "b"}}, one(media.FP32, -1, 1), "2 labels for 1 classes"},
		{"tensors", Config{Decoder: "tensors"}, one(media.Int64, -1, 100, -1), ""},
		{"tensors of text", Config{Decoder: "tensors"}, one("BYTES", -1, 1), "cannot be given as numbers"},
		{"tensors too large", Config{Decoder: "tensors"}, one(media.FP32, -1, 3, 224, 224), "at most 16384"},
		{"tensors absurdly large", Config{Decoder: "tensors"}, one(media.FP32, -1, math.MaxInt, math.MaxInt, math.MaxInt), "at most 16384"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			err := mustNew(t, c.config).Accept(c.outputs)
			switch {
			case c.want == "" && err != nil:
				t.Errorf("Accept: %v", err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("Accept = %v, want an error with %q", err, c.want)
			}
		})
	}
}

func TestDecodeRefusesWhatAcceptDoes(t *testing.T) {
	t.Parallel()
	faces := Config{Decoder: "centerface", Input: media.PictureInput{Width: 32, Height: 32}}
	for _, c := range []struct {
		name    string
		config  Config
		outputs []media.RawTensor
	}{
		{"no outputs for faces", faces, nil},
		{"four empty outputs for faces", faces, make([]media.RawTensor, 4)},
		{"too few bytes", Config{Decoder: "tensors"}, []media.RawTensor{fp32("a", []int{3}, 1, 2)}},
		{"half an element", Config{Decoder: "tensors"}, []media.RawTensor{{Name: "a", Datatype: media.FP32, Shape: []int{1}, Data: make([]byte, 5)}}},
		{"a negative extent", Config{Decoder: "tensors"}, []media.RawTensor{fp32("a", []int{-1, -1}, 1)}},
		{"unknown datatype", Config{Decoder: "tensors"}, []media.RawTensor{{Name: "a", Datatype: "BF16", Shape: []int{1}, Data: make([]byte, 2)}}},
		{"not finite", Config{Decoder: "tensors"}, []media.RawTensor{fp32("a", []int{1}, float32(math.NaN()))}},
		{"two outputs for classes", Config{Decoder: "classes"}, []media.RawTensor{fp32("a", []int{1}, 1), fp32("b", []int{1}, 1)}},
		{"no axis for classes", Config{Decoder: "classes"}, []media.RawTensor{fp32("a", nil, 1)}},
		{"fewer classes than labels", Config{Decoder: "classes", Labels: []string{"x", "y"}}, []media.RawTensor{fp32("a", []int{1}, 1)}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if result, err := mustNew(t, c.config).Decode(c.outputs, media.Placement{Width: 32, Height: 32}); err == nil {
				t.Errorf("Decode = %+v, want an error", result)
			}
		})
	}
}

func TestClasses(t *testing.T) {
	t.Parallel()
	labels := []string{"cat", "dog"}
	for _, c := range []struct {
		name   string
		config Config
		in     media.RawTensor
		want   []media.Classification
	}{
		{
			"softmax", Config{Decoder: "classes", Threshold: 0.2, Labels: labels},
			fp32("logits", []int{3, 1, 1}, 0, 0, float32(math.Log(2))),
			[]media.Classification{{Label: "2", Score: 0.5}, {Label: "cat", Score: 0.25}, {Label: "dog", Score: 0.25}},
		},
		{
			"logits beyond what exp can hold", Config{Decoder: "classes", Threshold: 0.5, Labels: labels},
			fp32("logits", []int{2}, -3e38, 3e38),
			[]media.Classification{{Label: "dog", Score: 1}},
		},
		{
			"probabilities as they are, clamped", Config{Decoder: "probabilities", Threshold: 0.1, Labels: labels},
			fp32("p", []int{3}, 0.05, 1.5, 0.125),
			[]media.Classification{{Label: "dog", Score: 1}, {Label: "2", Score: 0.125}},
		},
		{"none", Config{Decoder: "classes"}, fp32("logits", []int{0}), nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			d := mustNew(t, c.config)
			if d.Kind() != "classes" {
				t.Errorf("Kind = %q", d.Kind())
			}
			result, err := d.Decode([]media.RawTensor{c.in}, media.Placement{})
			if err != nil {
				t.Fatal(err)
			}
			if len(result.Classes) != len(c.want) {
				t.Fatalf("classes = %+v, want %+v", result.Classes, c.want)
			}
			for i, want := range c.want {
				if got := result.Classes[i]; got.Label != want.Label || math.Abs(got.Score-want.Score) > 1e-6 {
					t.Errorf("class %d = %+v, want %+v", i, got, want)
				}
			}
		})
	}
	many := mustNew(t, Config{Decoder: "probabilities"})
	result, err := many.Decode([]media.RawTensor{fp32("p", []int{100}, make([]float32, 100)...)}, media.Placement{})
	if err != nil || len(result.Classes) != maxResults {
		t.Errorf("100 classes gave %d results, %v", len(result.Classes), err)
	}
}

func TestTensors(t *testing.T) {
	t.Parallel()
	d := mustNew(t, Config{Decoder: "tensors", Outputs: []string{"b", "a"}})
	if d.Kind() != "tensors" {
		t.Errorf("Kind = %q", d.Kind())
	}
	result, err := d.Decode([]media.RawTensor{
		fp32("a", []int{2, 1}, 1.5, -2),
		{Name: "b", Datatype: media.Int64, Shape: []int{1}, Data: []byte{0xfe, 255, 255, 255, 255, 255, 255, 255}},
		{Name: "unwanted", Datatype: media.Uint8, Shape: []int{1}, Data: []byte{1}},
	}, media.Placement{})
	if err != nil {
		t.Fatal(err)
	}
	if len(result.Tensors) != 2 {
		t.Fatalf("tensors = %+v", result.Tensors)
	}
	b, a := result.Tensors[0], result.Tensors[1]
	if b.Name != "b" || b.Datatype != "INT64" || b.Values[0] != -2 {
		t.Errorf("first = %+v", b)
	}
	if a.Name != "a" || a.Datatype != "FP32" || a.Shape[0] != 2 || a.Values[0] != 1.5 || a.Values[1] != -2 {
		t.Errorf("second = %+v", a)
	}
}

func TestValue(t *testing.T) {
	t.Parallel()
	ones := []byte{255, 255, 255, 255, 255, 255, 255, 255}
	for _, c := range []struct {
		datatype media.Datatype
		data     []byte
		want     float64
	}{
		{media.Bool, []byte{1}, 1},
		{media.Int8, ones, -1},
		{media.Uint8, ones, 255},
		{media.Int16, ones, -1},
		{media.Uint16, ones, 65535},
		{media.Int32, ones, -1},
		{media.Uint32, ones, 1<<32 - 1},
		{media.Int64, ones, -1},
		{media.Uint64, ones, 1 << 64},
		{media.FP64, binary.LittleEndian.AppendUint64(nil, math.Float64bits(0.1)), 0.1},
		{media.FP16, []byte{0x00, 0x3c}, 1},
		{media.FP16, []byte{0x00, 0xc0}, -2},
		{media.FP16, []byte{0xff, 0x7b}, 65504},
		{media.FP16, []byte{0x01, 0x00}, 1.0 / (1 << 24)},
		{media.FP16, []byte{0x00, 0x7c}, math.Inf(1)},
		{media.FP16, []byte{0x00, 0xfc}, math.Inf(-1)},
	} {
		if got := value(media.RawTensor{Datatype: c.datatype, Data: c.data}, 0); got != c.want {
			t.Errorf("value(%s % x) = %v, want %v", c.datatype, c.data, got, c.want)
		}
	}
	if got := half(0x7c01); !math.IsNaN(float64(got)) {
		t.Errorf("half(0x7c01) = %v, want NaN", got)
	}
}

// TestReaching compares with looking at one number after the other, for every kind of number at every place of a word.
func TestReaching(t *testing.T) {
	t.Parallel()
	inf := float32(math.Inf(1))
	kinds := []float32{0, float32(math.Copysign(0, -1)), 0.25, 0.5, math.Nextafter32(0.5, 0), math.Nextafter32(0.5, 1), -0.5, -1, inf, -inf, float32(math.NaN()), 1e-45}
	for _, datatype := range []media.Datatype{media.FP32, media.FP64} {
		for _, least := range []float32{0, 1e-45, 0.5, 1} {
			for n := range 40 {
				o := media.RawTensor{Datatype: datatype}
				var want []int32
				for i := range n + 3 {
					v := kinds[(i*7+n)%len(kinds)]
					if datatype == media.FP32 {
						o.Data = binary.LittleEndian.AppendUint32(o.Data, math.Float32bits(v))
					} else {
						o.Data = binary.LittleEndian.AppendUint64(o.Data, math.Float64bits(float64(v)))
					}
					if i >= 3 && v >= least {
						want = append(want, int32(i-3))
					}
				}
				if got := reaching(nil, o, 3, n, least); !slices.Equal(got, want) {
					t.Fatalf("%d of %s, at least %g: %v, want %v", n, datatype, least, got, want)
				}
			}
		}
	}
}
