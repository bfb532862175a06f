package detect

import (
	"encoding/binary"
	"encoding/json"
	"math"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/sluice-dev/sluice/pkg/media"
)

func bytesOf(shape []int, elements ...string) media.RawTensor {
	t := media.RawTensor{Name: "out", Datatype: media.Bytes, Shape: shape}
	for _, e := range elements {
		t.Data = binary.LittleEndian.AppendUint32(t.Data, uint32(len(e)))
		t.Data = append(t.Data, e...)
	}
	return t
}

func TestAcceptAnswers(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		decoder  string
		datatype media.Datatype
		shape    []int
		want     string // empty: accepted
	}{
		{"speech", media.FP32, []int{-1, 1}, ""},
		{"speech", media.FP16, []int{-1}, ""},
		{"speech", media.FP32, []int{-1, -1}, ""},
		{"speech", media.FP32, []int{-1, 2}, "one float"},
		{"speech", media.Int64, []int{-1, 1}, "one float"},
		{"speech", media.FP32, nil, "one float"},
		{"embedding", media.FP32, []int{-1, 512}, ""},
		{"embedding", media.FP32, []int{-1, 4, 128}, ""},
		{"embedding", media.FP32, []int{-1}, "features"},
		{"embedding", media.Uint8, []int{-1, 512}, "floats"},
		{"embedding", media.FP32, []int{-1, 1 << 20}, "at most"},
		{"json", media.Bytes, []int{-1}, ""},
		{"json", media.Bytes, []int{-1, -1}, ""},
		{"json", media.FP32, []int{-1}, "BYTES"},
	} {
		err := mustNew(t, Config{Decoder: c.decoder}).Accept([]media.TensorSpec{{Name: "out", Datatype: c.datatype, Shape: c.shape}})
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s of %s %v: %v, want %q", c.decoder, c.datatype, c.shape, err, c.want)
		}
	}
	for _, decoder := range []string{"speech", "embedding"} {
		spec := media.TensorSpec{Name: "out", Datatype: media.FP32, Shape: []int{-1, 1}}
		if err := mustNew(t, Config{Decoder: decoder}).Accept([]media.TensorSpec{spec, spec}); err == nil {
			t.Errorf("%s: two outputs were accepted", decoder)
		}
	}
}

// answer is what a model says, and what a decoder makes of it.
type answer struct {
	name    string
	decoder string
	outputs []media.RawTensor
	want    *media.Result // nil: refused
}

func answers() []answer {
	inf := float32(math.Inf(1))
	half := media.RawTensor{Name: "out", Datatype: media.FP16, Shape: []int{1}, Data: []byte{0x00, 0x38}} // 0.5
	large := `"` + strings.Repeat("x", maxJSON-2) + `"`
	return []answer{
		{"a probability", "speech", []media.RawTensor{fp32("out", []int{1}, 0.25)}, &media.Result{Speech: []media.Speech{{Probability: 0.25}}}},
		{"a probability without axes", "speech", []media.RawTensor{fp32("out", nil, 0.25)}, &media.Result{Speech: []media.Speech{{Probability: 0.25}}}},
		{"a probability of 16 bits", "speech", []media.RawTensor{half}, &media.Result{Speech: []media.Speech{{Probability: 0.5}}}},
		{"a probability above 1", "speech", []media.RawTensor{fp32("out", []int{1}, 1.0001)}, &media.Result{Speech: []media.Speech{{Probability: 1}}}},
		{"a probability below 0", "speech", []media.RawTensor{fp32("out", []int{1}, -0.5)}, &media.Result{Speech: []media.Speech{{Probability: 0}}}},
		{"an infinite probability", "speech", []media.RawTensor{fp32("out", []int{1}, inf)}, nil},
		{"a probability that is none", "speech", []media.RawTensor{fp32("out", []int{1}, float32(math.NaN()))}, nil},
		{"two probabilities", "speech", []media.RawTensor{fp32("out", []int{2}, 0, 1)}, nil},
		{"no probability", "speech", []media.RawTensor{fp32("out", []int{0})}, nil},
		{"a vector", "embedding", []media.RawTensor{fp32("out", []int{2, 2}, 1, -2, 3e38, 0)}, &media.Result{Embedding: []float32{1, -2, 3e38, 0}}},
		{"an infinite vector", "embedding", []media.RawTensor{fp32("out", []int{2}, 1, inf)}, nil},
		{"a vector beyond 32 bits", "embedding", []media.RawTensor{{
			Name: "out", Datatype: media.FP64, Shape: []int{1}, Data: binary.LittleEndian.AppendUint64(nil, math.Float64bits(1e300)),
		}}, nil},
		{"a vector of integers", "embedding", []media.RawTensor{{Name: "out", Datatype: media.Int8, Shape: []int{1}, Data: []byte{1}}}, nil},
		{"texts", "json", []media.RawTensor{bytesOf([]int{2}, `{"a": [1, "ü"]}`, "null")}, &media.Result{JSON: []string{`{"a": [1, "ü"]}`, "null"}}},
		{"texts of two outputs", "json", []media.RawTensor{bytesOf(nil, "1"), bytesOf([]int{1}, "2")}, &media.Result{JSON: []string{"1", "2"}}},
		{"the largest text", "json", []media.RawTensor{bytesOf(nil, large)}, &media.Result{JSON: []string{large}}},
		{"too much text", "json", []media.RawTensor{bytesOf([]int{2}, large, "1")}, nil},
		{"an empty text", "json", []media.RawTensor{bytesOf(nil, "")}, nil},
		{"what is no JSON", "json", []media.RawTensor{bytesOf(nil, "{a: 1}")}, nil},
		{"two values in one text", "json", []media.RawTensor{bytesOf(nil, "1 2")}, nil},
		{"a text that is no UTF-8", "json", []media.RawTensor{bytesOf(nil, "\"\xff\"")}, nil},
		{"a text deeper than any reader goes", "json", []media.RawTensor{bytesOf(nil, strings.Repeat("[", 20000)+strings.Repeat("]", 20000))}, nil},
		{"a text that is cut", "json", []media.RawTensor{{Name: "out", Datatype: media.Bytes, Data: []byte{9, 0, 0, 0, '1'}}}, nil},
		{"numbers for texts", "json", []media.RawTensor{fp32("out", []int{1}, 1)}, nil},
	}
}

func TestDecodeAnswers(t *testing.T) {
	t.Parallel()
	for _, c := range answers() {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got, err := mustNew(t, Config{Decoder: c.decoder}).Decode(c.outputs, media.Placement{})
			if (err == nil) != (c.want != nil) || c.want != nil && !reflect.DeepEqual(got, c.want) {
				t.Errorf("Decode = %+v, %v; want %+v", got, err, c.want)
			}
		})
	}
}

// FuzzDocuments reads any bytes as a tensor of texts: what is handed on is JSON, bounded, and all that was in the tensor.
func FuzzDocuments(f *testing.F) {
	for _, a := range answers() {
		if a.decoder == "json" {
			f.Add(a.outputs[0].Data)
		}
	}
	decoder, err := New(Config{Decoder: "json"})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		result, err := decoder.Decode([]media.RawTensor{{Name: "out", Datatype: media.Bytes, Data: data}}, media.Placement{})
		if err != nil {
			return
		}
		total := 0
		for _, text := range result.JSON {
			total += len(text)
			if !json.Valid([]byte(text)) || !utf8.ValidString(text) {
				t.Errorf("%q is no JSON", text)
			}
		}
		if total > maxJSON || total+4*len(result.JSON) != len(data) {
			t.Errorf("%d texts of %d bytes out of %d", len(result.JSON), total, len(data))
		}
	})
}
