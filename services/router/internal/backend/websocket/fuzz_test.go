package websocket_test

import (
	"bytes"
	"testing"
	"unicode/utf8"

	coder "github.com/coder/websocket"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/pkg/tensor"
	"github.com/sluice-dev/sluice/services/router/internal/backend"
	"github.com/sluice-dev/sluice/services/router/internal/backend/websocket"
)

// answered is the batch of two that the fuzzed messages answer.
func answered() backend.Request {
	request := batchOf(2, "first")
	request.Outputs = append(request.Outputs, tensor.Declared{TensorSpec: media.TensorSpec{Name: "checksum", Datatype: media.Int64, Shape: []int{-1}}})
	return request
}

// FuzzAnswer reads any message as the answer to a batch. What passes both checks has exactly the promised frames, and shares nothing with the bytes after it.
func FuzzAnswer(f *testing.F) {
	good := parts(7, []media.RawTensor{
		{Name: "checksum", Datatype: media.Int64, Shape: []int{2}, Data: make([]byte, 16)}, {Name: "first", Datatype: media.FP32, Shape: []int{2, 1}, Data: make([]byte, 8)},
	})
	f.Add(true, good)
	f.Add(false, []byte(`{"id": 7, "outputs": {"checksum": [1, 2], "first": [[1], [2]]}}`))
	f.Add(false, []byte(`{"id": 7, "results": [{}, "x"]}`))
	f.Add(true, framed([]byte(`{"id": 7, "outputs": [{"name": "json", "dtype": "BYTES", "shape": [2]}]}`), []byte("\x02\x00\x00\x00{}\x00\x00\x00\x00")))
	for _, change := range wrongReplies() {
		kind, message := change(asked{ID: 7}, bytes.Clone(good))
		if len(message) < 1<<17 {
			f.Add(kind == coder.MessageBinary, message)
		}
	}
	texts := batchOf(2)
	texts.Outputs = []tensor.Declared{{TensorSpec: media.TensorSpec{Name: "json", Datatype: media.Bytes, Shape: []int{-1}}}}
	f.Fuzz(func(t *testing.T, binary bool, message []byte) {
		kind := coder.MessageText
		if binary {
			kind = coder.MessageBinary
		}
		for _, batch := range []backend.Request{answered(), texts} {
			id, output, err := websocket.Read(kind, message, batch)
			if err != nil {
				continue
			}
			checked, err := tensor.Check(output.Tensors, batch.Outputs, 2)
			if err != nil {
				continue
			}
			if id == 0 {
				t.Error("an answer to nobody's request")
			}
			for _, whole := range checked {
				first, second := tensor.Frame(whole, 0), tensor.Frame(whole, 1)
				if size := first.Datatype.Size(); size > 0 && (len(first.Data) != size || len(second.Data) != size) {
					t.Errorf("%s: frames of %d and %d bytes", whole.Name, len(first.Data), len(second.Data))
				}
				if both := string(first.Data) + string(second.Data); both != string(whole.Data) {
					t.Errorf("%s: %q and %q of %q", whole.Name, first.Data, second.Data, whole.Data)
				}
			}
		}
	})
}

// FuzzRequest writes any batch and reads it as a server does: it is the same.
func FuzzRequest(f *testing.F) {
	f.Add("model", "input", "camera", uint32(1), []byte("payload"))
	f.Add("", "\x00\"\\é\xff", "", uint32(0), []byte(nil))
	f.Fuzz(func(t *testing.T, model, name, stream string, sequence uint32, payload []byte) {
		batch := batchOf(1, name)
		batch.Inputs[0].Name, batch.Inputs[0].Shape, batch.Inputs[0].Data = name, []int{len(payload)}, payload
		batch.Frames[0].Session, batch.Frames[0].Stream, batch.Frames[0].Sequence = "session", stream, sequence
		head, err := websocket.Encode(9, model, batch)
		if err != nil {
			t.Fatal(err)
		}
		got, err := readBatch(append(head, payload...))
		if err != nil {
			t.Fatalf("%v: %q", err, head)
		}
		if got.ID != 9 || len(got.Inputs) != 1 || got.Inputs[0].Size != len(payload) || !bytes.Equal(got.payload, payload) || len(got.Frames) != 1 {
			t.Errorf("%+v", got)
		}
		told := got.Frames[0]
		if sequence > 0 && told["sequence"] != float64(sequence) || stream != "" && utf8.ValidString(stream) && told["stream"] != stream {
			t.Errorf("frame %v, want %d of %q", told, sequence, stream)
		}
	})
}
