package websocket_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	coder "github.com/coder/websocket"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/pkg/tensor"
	"github.com/sluice-dev/sluice/services/router/internal/backend"
	"github.com/sluice-dev/sluice/services/router/internal/backend/backendtest"
)

// expect checks an error's code, and that the server's words are where they belong.
func expect(t *testing.T, err error, code media.ErrorCode) {
	t.Helper()
	var e *backend.Error
	if !errors.As(err, &e) || e.Code != code {
		t.Fatalf("error = %v, want %s", err, code)
	}
	if strings.Contains(e.Error(), "shm_region") {
		t.Errorf("the server's words are in the error's own text: %v", e)
	}
	if len(e.Remote) > 256 || strings.ContainsFunc(e.Remote, func(r rune) bool { return r < ' ' }) {
		t.Errorf("the server's words are not bounded or printable: %q", e.Remote)
	}
}

// wrong is an answer that must not be taken.
type wrong func(batch asked, good []byte) (coder.MessageType, []byte)

// TestWrongReplies sends every kind of wrong answer to a batch of two: each fails as a whole, and a good one is taken right after, over a new connection if need be.
func TestWrongReplies(t *testing.T) {
	t.Parallel()
	for name, change := range wrongReplies() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var spoil atomic.Bool
			s := &server{driver: backendtest.NewFake("fake", small())}
			s.answer = func(batch asked, kind coder.MessageType, good []byte) (coder.MessageType, []byte) {
				if spoil.Load() {
					return change(batch, good)
				}
				return kind, good
			}
			model, err := backend.New(small(), open(t, s.start(t)))
			if err != nil {
				t.Fatal(err)
			}
			defer model.Close()
			await(t, model)
			frames := backendtest.Frames(make([]byte, 12), make([]byte, 12))
			spoil.Store(true)
			_, err = model.Infer(t.Context(), 0, frames)
			expect(t, err, media.BackendProtocol)
			spoil.Store(false)
			await(t, model)
			reply, err := model.Infer(t.Context(), 0, frames)
			if err != nil {
				t.Fatalf("a good answer after a wrong one: %v", err)
			}
			reply.Release()
		})
	}
}

// wrongReplies changes a good binary answer for a batch of two, outputs checksum INT64 [2] and first FP32 [2,1], or says something else.
func wrongReplies() map[string]wrong {
	table := map[string]wrong{}
	for name, message := range brokenMessages() {
		table[name] = func(batch asked, _ []byte) (coder.MessageType, []byte) {
			kind, data := message(batch.ID)
			return kind, data
		}
	}
	for name, change := range wrongHeaders() {
		table[name] = func(_ asked, good []byte) (coder.MessageType, []byte) {
			var header map[string]any
			batch, payload := cutFrame(good)
			if err := json.Unmarshal(batch, &header); err != nil {
				panic(err)
			}
			payload = change(header, payload)
			text, err := json.Marshal(header)
			if err != nil {
				panic(err)
			}
			return coder.MessageBinary, framed(text, payload)
		}
	}
	for name, outputs := range wrongNumbers() {
		table["numbers: "+name] = func(batch asked, _ []byte) (coder.MessageType, []byte) {
			return coder.MessageText, fmt.Appendf(nil, `{"id": %d, "outputs": %s}`, batch.ID, outputs)
		}
	}
	return table
}

func cutFrame(message []byte) (header, payload []byte) {
	length := int(message[2])<<8 | int(message[3])
	return message[4 : 4+length], message[4+length:]
}

// brokenMessages are whole messages.
func brokenMessages() map[string]func(id uint64) (coder.MessageType, []byte) {
	text := func(format string) func(uint64) (coder.MessageType, []byte) {
		return func(id uint64) (coder.MessageType, []byte) {
			return coder.MessageText, []byte(strings.ReplaceAll(format, "ID", fmt.Sprint(id)))
		}
	}
	binary := func(data string) func(uint64) (coder.MessageType, []byte) {
		return func(id uint64) (coder.MessageType, []byte) {
			return coder.MessageBinary, []byte(strings.ReplaceAll(data, "ID", fmt.Sprint(id)))
		}
	}
	return map[string]func(uint64) (coder.MessageType, []byte){
		"empty text":                  text(""),
		"empty binary":                binary(""),
		"no room for a length":        binary("\x00\x00\x02"),
		"only a length":               binary("\x00\x00\x00\x02"),
		"a header beyond the end":     binary("\x00\x00\x00\xff{}"),
		"a header of 4 GiB":           binary("\xff\xff\xff\xff{}"),
		"a length in the wrong order": binary("\x02\x00\x00\x00{}"),
		"an empty header":             binary("\x00\x00\x00\x00{}"),
		"a header that is no JSON":    binary("\x00\x00\x00\x05" + secret),
		"a header of another kind":    binary("\x00\x00\x00\x02[]"),
		"a header that is no UTF-8":   binary("\x00\x00\x00\x0e{\"id\":1,\"\xff\":2}"),
		"a web page":                  text("<html>" + secret),
		"cut short":                   text(`{"id": ID, "outputs": {"first": [[1], [2`),
		"two answers in one":          text(`{"id": ID, "error": ""} {"id": ID, "error": ""}`),
		"another kind of JSON":        text(`[{"id": ID}]`),
		"text that is no UTF-8":       text("{\"id\": ID, \"error\": \"\xff\"}"),
		"JSON without end":            text(strings.Repeat("[", 100_000)),
		"no id":                       text(`{"outputs": {}}`),
		"an id of 0":                  text(`{"id": 0, "error": ""}`),
		"an id that is text":          text(`{"id": "ID", "error": ""}`),
		"an id below 0":               text(`{"id": -ID, "error": ""}`),
		"half an id":                  text(`{"id": ID.5, "error": ""}`),
		"an id beyond any":            text(`{"id": 99999999999999999999999, "error": ""}`),
		"an id of the future":         text(`{"id": ID7, "error": ""}`),
		"nothing but the id":          text(`{"id": ID}`),
		"an answer and an error":      text(`{"id": ID, "error": "", "outputs": {"checksum": [1, 2], "first": [[1], [2]]}}`),
		"an error that is no text":    text(`{"id": ID, "error": {"message": "` + secret + `"}}`),
		"a code that is no text":      text(`{"id": ID, "error": "", "code": 500}`),
		"no error":                    text(`{"id": ID, "error": null}`),
		"results of numbers":          text(`{"id": ID, "results": [1, 2]}`),
		"a description":               text(`{"id": ID, "inputs": [], "outputs": []}`),
		"oversized text":              text(`{"id": ID, "outputs": {}}` + strings.Repeat(" ", 2<<20)),
		"oversized binary": func(id uint64) (coder.MessageType, []byte) {
			return coder.MessageBinary, framed(fmt.Appendf(nil, `{"id": %d, "outputs": []}`, id), make([]byte, 2<<20))
		},
		"an oversized header": func(id uint64) (coder.MessageType, []byte) {
			return coder.MessageBinary, framed(fmt.Appendf(nil, `{"id": %d, "outputs": []}%*s`, id, 1<<16, ""), nil)
		},
	}
}

// wrongHeaders change the header of a good binary answer, and give the payload.
func wrongHeaders() map[string]func(header map[string]any, payload []byte) []byte {
	type change = func(map[string]any, []byte) []byte
	outputs := func(change func(outputs []any) any) change {
		return func(header map[string]any, payload []byte) []byte {
			header["outputs"] = change(header["outputs"].([]any))
			return payload
		}
	}
	first := func(key string, value any) change {
		return outputs(func(list []any) any {
			output := list[1].(map[string]any)
			delete(output, "size")
			output[key] = value
			return list
		})
	}
	payload := func(change func([]byte) []byte) change {
		return func(_ map[string]any, payload []byte) []byte { return change(payload) }
	}
	float := func(at int, bits uint32) change {
		return payload(func(p []byte) []byte {
			copy(p[16+4*at:], []byte{byte(bits), byte(bits >> 8), byte(bits >> 16), byte(bits >> 24)})
			return p
		})
	}
	return map[string]change{
		"no outputs":                   func(h map[string]any, _ []byte) []byte { h["outputs"] = []any{}; return nil },
		"outputs by name":              outputs(func(list []any) any { return map[string]any{"checksum": list[0], "first": list[1]} }),
		"outputs that are nothing":     outputs(func([]any) any { return nil }),
		"results in binary":            func(h map[string]any, p []byte) []byte { delete(h, "outputs"); h["results"] = []any{1, 2}; return p },
		"an output less":               func(h map[string]any, p []byte) []byte { h["outputs"] = h["outputs"].([]any)[:1]; return p[:16] },
		"an output's bytes without it": outputs(func(list []any) any { return list[:1] }),
		"an output twice": func(h map[string]any, p []byte) []byte {
			l := h["outputs"].([]any)
			h["outputs"] = []any{l[1], l[1]}
			return append(p[16:], p[16:]...)
		},
		"an output more": func(h map[string]any, p []byte) []byte {
			l := h["outputs"].([]any)
			h["outputs"] = append(l, l[1])
			return append(p, p[16:]...)
		},
		"a thousand outputs":        outputs(func(list []any) any { return slices.Repeat(list, 500) }),
		"another name":              first("name", secret),
		"no name":                   first("name", ""),
		"a name that is a number":   first("name", 7),
		"another datatype":          first("dtype", "INT32"),
		"no datatype":               first("dtype", ""),
		"an unknown datatype":       first("dtype", strings.Repeat("x", 1000)),
		"texts":                     first("dtype", "BYTES"),
		"no shape":                  first("shape", nil),
		"a shape that is no list":   first("shape", "2,1"),
		"a frame less":              first("shape", []int{1, 1}),
		"a frame more":              first("shape", []int{3, 1}),
		"no frame":                  first("shape", []int{0, 1}),
		"a negative frame":          first("shape", []int{-2, 1}),
		"half a frame":              first("shape", []float64{1.5, 1}),
		"an axis less":              first("shape", []int{2}),
		"an axis more":              first("shape", []int{2, 1, 1}),
		"a hundred axes":            first("shape", slices.Repeat([]int{1}, 100)),
		"another extent":            first("shape", []int{2, 2}),
		"frames and extent swapped": first("shape", []int{1, 2}),
		"an extent beyond memory":   first("shape", []int{2, math.MaxInt64}),
		"a product that overflows":  first("shape", []int{1 << 62, 4}),
		"a product beyond 32 bits":  first("shape", []int{1 << 30, 1 << 30}),
		"a size less":               first("size", 7),
		"a size more":               first("size", 9),
		"a negative size":           first("size", -8),
		"a byte less":               payload(func(p []byte) []byte { return p[:len(p)-1] }),
		"a byte more":               payload(func(p []byte) []byte { return append(p, 0) }),
		"no bytes":                  payload(func([]byte) []byte { return nil }),
		"NaN":                       float(0, 0x7fc00000),
		"NaN in the last frame":     float(1, 0xff800001),
		"infinity":                  float(0, 0x7f800000),
		"negative infinity":         float(1, 0xff800000),
	}
}

// wrongNumbers are outputs as text.
func wrongNumbers() map[string]string {
	first := func(list string) string { return `{"checksum": [1, 2], "first": ` + list + `}` }
	checksum := func(list string) string { return `{"checksum": ` + list + `, "first": [[1], [2]]}` }
	return map[string]string{
		"none":                       `{}`,
		"a list":                     `[[1, 2], [[1], [2]]]`,
		"an output less":             `{"checksum": [1, 2]}`,
		"an output more":             `{"checksum": [1, 2], "first": [[1], [2]], "` + secret + `": [1, 2]}`,
		"a frame less":               first(`[[1]]`),
		"a frame more":               first(`[[1], [2], [3]]`),
		"no frame":                   first(`[]`),
		"empty frames":               first(`[[], []]`),
		"an axis less":               first(`[1, 2]`),
		"an axis more":               first(`[[[1]], [[2]]]`),
		"one number":                 first(`1`),
		"lists of several lengths":   first(`[[1], [2, 3]]`),
		"an empty list among others": first(`[[1], []]`),
		"numbers and lists":          first(`[[1], 2]`),
		"lists and numbers":          first(`[1, [2]]`),
		"as deep as can be":          first(strings.Repeat("[", 5000) + strings.Repeat("]", 5000)),
		"text":                       first(`[["1"], ["2"]]`),
		"nothing":                    first(`[[1], [null]]`),
		"an object":                  first(`[[1], [{}]]`),
		"a boolean":                  first(`[[1], [true]]`),
		"NaN":                        first(`[[1], [NaN]]`),
		"beyond FP32":                first(`[[1], [1e39]]`),
		"no whole number":            checksum(`[1, 2.5]`),
		"a whole number of a kind":   checksum(`[1, 2.0]`),
		"beyond INT64":               checksum(`[1, 9223372036854775808]`),
	}
}

// TestErrors lets the server say that it cannot.
func TestErrors(t *testing.T) {
	t.Parallel()
	for code, want := range map[string]media.ErrorCode{
		"": media.BackendRejected, "REJECTED": media.BackendRejected, "whatever": media.BackendRejected,
		"UNAVAILABLE": media.BackendUnavailable, "TIMEOUT": media.BackendTimeout,
	} {
		t.Run(code, func(t *testing.T) {
			t.Parallel()
			words, _ := json.Marshal(strings.Repeat(secret+"\n\x1b[31m", 100))
			say := fmt.Sprintf(`"error": %s, "code": %q}`, words, code)
			driver := open(t, (&server{
				driver:   backendtest.NewFake("fake", small()),
				describe: func(string) string { return `{"id": ID, ` + say },
				answer: func(batch asked, _ coder.MessageType, _ []byte) (coder.MessageType, []byte) {
					return coder.MessageText, fmt.Appendf(nil, `{"id": %d, %s`, batch.ID, say)
				},
			}).start(t))
			defer driver.Close()
			expect(t, driver.Ready(t.Context()), want)
			_, err := driver.Describe(t.Context())
			expect(t, err, want)
			_, err = driver.Infer(t.Context(), batchOf(1, "first"))
			expect(t, err, want)
			var e *backend.Error
			if errors.As(err, &e) && !strings.Contains(e.Remote, "shm_region") {
				t.Errorf("the server's words are lost for the log: %+v", e)
			}
		})
	}
}

// batchOf makes a request of black pictures that wants outputs of the small model.
func batchOf(frames int, outputs ...string) backend.Request {
	request := backend.Request{
		Inputs: []media.RawTensor{{Name: "pictures", Datatype: media.FP32, Shape: []int{frames, 2, 2, 3}, Data: make([]byte, frames*48)}},
		Frames: backendtest.Frames(make([][]byte, frames)...),
	}
	for _, name := range outputs {
		request.Outputs = append(request.Outputs, tensor.Declared{TensorSpec: media.TensorSpec{Name: name, Datatype: media.FP32, Shape: []int{-1, 1}}})
	}
	return request
}

func TestWrongDescriptions(t *testing.T) {
	t.Parallel()
	const good = `{"name": "x", "dtype": "FP32", "shape": [-1]}`
	list := func(tensors string) string {
		return `{"id": ID, "inputs": [` + good + `], "outputs": [` + tensors + `]}`
	}
	many := strings.TrimSuffix(strings.Repeat(good+",", 65), ",")
	for name, text := range map[string]string{
		"nothing":                      `{"id": ID}`,
		"no outputs":                   `{"id": ID, "inputs": []}`,
		"outputs that are no list":     `{"id": ID, "inputs": [], "outputs": {"x": "FP32"}}`,
		"too many outputs":             list(many),
		"too many inputs":              `{"id": ID, "inputs": [` + many + `], "outputs": []}`,
		"too many axes":                list(`{"name": "x", "dtype": "FP32", "shape": [1, 1, 1, 1, 1, 1, 1, 1, 1]}`),
		"a shape below -1":             list(`{"name": "x", "dtype": "FP32", "shape": [-2]}`),
		"a shape beyond memory":        list(`{"name": "x", "dtype": "FP32", "shape": [1099511627776]}`),
		"a shape of words":             list(`{"name": "x", "dtype": "FP32", "shape": ["batch"]}`),
		"a name without end":           list(`{"name": "` + strings.Repeat("x", 1000) + `", "dtype": "FP32", "shape": [-1]}`),
		"no name":                      list(`{"dtype": "FP32", "shape": [-1]}`),
		"a datatype without end":       list(`{"name": "x", "dtype": "` + strings.Repeat("x", 1000) + `", "shape": [-1]}`),
		"no JSON":                      `None`,
		"another question's":           `{"id": ID9, "inputs": [], "outputs": []}`,
		"larger than any description":  list(good) + strings.Repeat(" ", 1<<20),
		"an answer to a batch instead": `{"id": ID, "outputs": {"first": [[1]]}}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			driver := open(t, (&server{driver: backendtest.NewFake("fake", small()), describe: func(string) string { return text }}).start(t))
			defer driver.Close()
			_, err := driver.Describe(t.Context())
			expect(t, err, media.BackendProtocol)
		})
	}
	binary := &server{driver: backendtest.NewFake("fake", small())}
	driver := open(t, binary.start(t))
	defer driver.Close()
	if _, err := driver.Describe(t.Context()); err != nil {
		t.Errorf("a good description: %v", err)
	}
}

// TestRequest shows what a server gets, byte by byte.
func TestRequest(t *testing.T) {
	t.Parallel()
	got := make(chan asked, 1)
	driver := open(t, (&server{driver: backendtest.NewFake("fake", small()), answer: func(batch asked, kind coder.MessageType, good []byte) (coder.MessageType, []byte) {
		got <- batch
		return kind, good
	}}).start(t))
	defer driver.Close()
	batch := batchOf(2, "first")
	for i := range batch.Inputs[0].Data {
		batch.Inputs[0].Data[i] = byte(i)
	}
	batch.Frames[1].Session, batch.Frames[1].Stream, batch.Frames[1].Sequence = "one", `a "quoted" stream`, 4_000_000_000
	batch.Frames[1].RTP = media.RTP{Valid: true, SSRC: 4_294_967_295}
	output, err := driver.Infer(t.Context(), batch)
	if err != nil {
		t.Fatal(err)
	}
	if first := output.Tensors[0]; len(output.Tensors) != 1 || first.Name != "first" || !bytes.Equal(first.Data, []byte{0, 1, 2, 3, 48, 49, 50, 51}) {
		t.Errorf("the answer is %+v", output.Tensors)
	}
	output.Release()
	request := <-got
	const header = `{"id":1,"model":"model","inputs":[{"name":"pictures","dtype":"FP32","shape":[2,2,2,3],"size":96}],"outputs":["first"],` +
		`"frames":[{},{"session":"one","stream":"a \"quoted\" stream","sequence":4000000000,"rtpTimestamp":0,"ssrc":4294967295}]}`
	if strings.TrimRight(request.header, " ") != header {
		t.Errorf("the header is\n%s\nwant\n%s", request.header, header)
	}
	if !bytes.Equal(request.payload, batch.Inputs[0].Data) {
		t.Errorf("the payload is % x", request.payload)
	}
}
