package websocket

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	coder "github.com/coder/websocket"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/pkg/tensor"
)

func TestCompute(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Duration{
		`{"id": 1, "results": []}`:                       0,
		`{"id": 1, "results": [], "compute": 0.005}`:     5 * time.Millisecond,
		`{"id": 1, "results": [], "compute": -1}`:        0,
		`{"id": 1, "results": [], "compute": 1e300}`:     0,
		`{"id": 1, "results": [], "compute": "quick"}`:   0,
		`{"id": 1, "results": [], "compute": {"ms": 5}}`: 0,
		`{"id": 1, "results": [], "compute": null}`:      0,
	} {
		a, err := parse(coder.MessageText, []byte(text))
		if err != nil || a.flaw != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if got := a.compute(); got != want {
			t.Errorf("%s: %v, want %v", text, got, want)
		}
	}
}

func TestNested(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		datatype media.Datatype
		text     string
		want     string // shape and bytes; "refused" when there are none
	}{
		{media.Bool, `[true,false]`, "[2] 0100"},
		{media.Bool, `[1]`, "refused"},
		{media.Int8, `[-1, 127]`, "[2] ff7f"},
		{media.Int8, `[128]`, "refused"},
		{media.Int16, `[-2]`, "[1] feff"},
		{media.Int32, `[-2147483648]`, "[1] 00000080"},
		{media.Int32, `[2147483648]`, "refused"},
		{media.Int64, `[-2]`, "[1] feffffffffffffff"},
		{media.Int64, `[-2e0]`, "refused"},
		{media.Uint8, `[255]`, "[1] ff"},
		{media.Uint8, `[256]`, "refused"},
		{media.Uint8, `[-1]`, "refused"},
		{media.Uint16, `[65535]`, "[1] ffff"},
		{media.Uint32, `[4294967295]`, "[1] ffffffff"},
		{media.Uint64, `[18446744073709551615]`, "[1] ffffffffffffffff"},
		{media.FP32, `[1, -2.5e0]`, "[2] 0000803f000020c0"},
		{media.FP32, `[0.10000000149011612]`, "[1] cdcccc3d"},
		{media.FP32, `[1e39]`, "refused"},
		{media.FP32, `["1"]`, "refused"},
		{media.FP64, `[-2]`, "[1] 00000000000000c0"},
		{media.FP64, `[1e999]`, "refused"},
		{media.FP16, `[1]`, "refused"},
		{"BF16", `[1]`, "refused"},
		{media.Bytes, `["ab", "", "\"]\u00e9"]`, "[3] 0200000061620000000004000000225dc3a9"},
		{media.Bytes, `["a", 1]`, "refused"},

		{media.Uint8, "[ [1 ,2],\n\t[3,4] ]", "[2 2] 01020304"},
		{media.Uint8, `[[[1],[2],[3]]]`, "[1 3 1] 010203"},
		{media.Uint8, `7`, "[] 07"},
		{media.Uint8, `[]`, "[0 7 0 0] "},
		{media.Uint8, `[[],[]]`, "[2 0 0 0] "},
		{media.Uint8, `[[1],[]]`, "refused"},
		{media.Uint8, `[[],[1]]`, "refused"},
		{media.Uint8, `[[1],[2,3]]`, "refused"},
		{media.Uint8, `[1,[2]]`, "refused"},
		{media.Uint8, `[[1],2]`, "refused"},
		{media.Uint8, `[[],1]`, "refused"},
		{media.Uint8, `[[[]],[1]]`, "refused"},
		{media.Uint8, `[[1],[[]]]`, "refused"},
		{media.Uint8, `[[[[[[[[1]]]]]]]]`, "[1 1 1 1 1 1 1 1] 01"},
		{media.Uint8, `[[[[[[[[[1]]]]]]]]]`, "refused"},
		{media.Uint8, `{"0": 1}`, "refused"},
		{media.Uint8, `null`, "refused"},
	} {
		if !json.Valid([]byte(c.text)) {
			t.Fatalf("%s is no JSON", c.text)
		}
		got := "refused"
		if read, err := nested([]byte(c.text), c.datatype, []int{-1, 7, -1, -1}); err == nil {
			got = fmt.Sprintf("%v %x", read.Shape, read.Data)
		}
		if got != c.want {
			t.Errorf("%s as %s: %s, want %s", c.text, c.datatype, got, c.want)
		}
	}
}

// TestResults makes tensors of what a model says of each frame in its own words.
func TestResults(t *testing.T) {
	t.Parallel()
	texts := func(shape ...int) []tensor.Declared {
		return []tensor.Declared{{TensorSpec: media.TensorSpec{Name: "json", Datatype: media.Bytes, Shape: shape}}}
	}
	for _, c := range []struct {
		wanted  []tensor.Declared
		results string
		want    string
	}{
		{texts(-1), `[{"a": 1}, "b"]`, `[2] {"a": 1}|"b"`},
		{texts(-1, 1), `[null, [ ]]`, `[2 1] null|[ ]`},
		{texts(-1), `[1]`, "refused"},
		{texts(-1), `[1, 2, 3]`, "refused"},
		{texts(-1), `{"a": 1}`, "refused"},
		{append(texts(-1), texts(-1)...), `[1, 2]`, "refused"},
		{[]tensor.Declared{{TensorSpec: media.TensorSpec{Name: "x", Datatype: media.FP32, Shape: []int{-1}}}}, `[1, 2]`, "refused"},
	} {
		got := "refused"
		a := answer{Results: json.RawMessage(c.results)}
		if tensors, err := a.tensors(c.wanted, 2); err == nil {
			checked, err := tensor.Check(tensors, c.wanted, 2)
			if err != nil {
				t.Fatalf("%s: %v", c.results, err)
			}
			var elements []string
			for rest := checked[0].Data; len(rest) > 0; {
				var element []byte
				element, rest, _ = media.CutElement(rest)
				elements = append(elements, string(element))
			}
			got = fmt.Sprintf("%v %s", checked[0].Shape, strings.Join(elements, "|"))
		}
		if got != c.want {
			t.Errorf("%s: %s, want %s", c.results, got, c.want)
		}
	}
}

func TestLimit(t *testing.T) {
	t.Parallel()
	declared := func(datatype media.Datatype, axis int, shape ...int) tensor.Declared {
		return tensor.Declared{TensorSpec: media.TensorSpec{Datatype: datatype, Shape: shape}, Axis: axis}
	}
	const most = 64 << 20
	for _, c := range []struct {
		name    string
		outputs []tensor.Declared
		want    int
	}{
		{"known", []tensor.Declared{declared(media.FP32, 0, -1, 10), declared(media.Uint8, 1, 2, -1)}, envelope + 64*(30+6)},
		{"no batch", []tensor.Declared{declared(media.FP32, -1, 10)}, envelope + 64*10},
		{"free", []tensor.Declared{declared(media.FP32, 0, -1, -1)}, most},
		{"texts", []tensor.Declared{declared(media.Bytes, 0, -1)}, most},
		{"huge", []tensor.Declared{declared(media.FP32, 0, -1, 1<<24)}, most},
		{"beyond", []tensor.Declared{declared(media.FP64, 0, -1, math.MaxInt32, math.MaxInt32)}, most},
	} {
		if got := limit(3, c.outputs, most); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
}

// FuzzNested reads any JSON as a tensor. What is read is as many elements as its shape says.
func FuzzNested(f *testing.F) {
	for _, seed := range []string{`[[1,2],[3,4]]`, `[[],[]]`, `["a","\\\""]`, `[true]`, `[-1e-3]`, `[[[[[[[[1]]]]]]]]`, `{"a":[1]}`, ` 7 `, `[[1],2]`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if !json.Valid([]byte(text)) {
			return
		}
		for _, datatype := range []media.Datatype{media.FP32, media.Int8, media.Uint64, media.Bool} {
			read, err := nested([]byte(text), datatype, []int{-1, -1})
			if err != nil {
				continue
			}
			if size, ok := tensor.Bytes(datatype, read.Shape); !ok || size != len(read.Data) {
				t.Errorf("%s as %s: shape %v of %d bytes", text, datatype, read.Shape, len(read.Data))
			}
		}
		if read, err := nested([]byte(text), media.Bytes, []int{-1}); err == nil {
			if size, ok := sizeOf(media.Bytes, read.Shape, read.Data); !ok || size != len(read.Data) {
				t.Errorf("%s as texts: shape %v of %d bytes", text, read.Shape, len(read.Data))
			}
		}
	})
}

// TestCallNeverReadsBehindItsCaller takes a call's bytes in pieces of all sizes, and lets the caller leave at each of them.
func TestCallNeverReadsBehindItsCaller(t *testing.T) {
	t.Parallel()
	head, body := "head", "0123456789"
	for piece := 1; piece < 20; piece++ {
		for leaves := range 20 {
			data := []byte(body)
			c := newCall(1, 0, []byte(head), []media.RawTensor{{Data: data[:3]}, {}, {Data: data[3:]}})
			var got []byte
			chunk := make([]byte, piece)
			for step := 0; ; step++ {
				if step == leaves {
					c.leave()
					clear(data)
				}
				n := c.next(chunk)
				if n == 0 {
					break
				}
				got = append(got, chunk[:n]...)
			}
			taken := min(max(piece*leaves-len(head), 0), len(body))
			if want := head + body[:taken] + strings.Repeat("\x00", len(body)-taken); string(got) != want {
				t.Fatalf("pieces of %d, left after %d: %q, want %q", piece, leaves, got, want)
			}
		}
	}
	c := newCall(1, 0, []byte(head), nil)
	c.leave()
	if _, wanted := c.begin(); wanted {
		t.Error("a call that nobody waits for is sent")
	}
}
