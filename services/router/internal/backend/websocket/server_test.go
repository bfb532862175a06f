package websocket_test

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	coder "github.com/coder/websocket"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/pkg/tensor"
	"github.com/sluice-dev/sluice/services/router/internal/backend"
	"github.com/sluice-dev/sluice/services/router/internal/backend/websocket"
)

// asked is a batch as a server reads it.
type asked struct {
	ID      uint64           `json:"id"`
	Model   string           `json:"model"`
	Timeout float64          `json:"timeout"`
	Inputs  []part           `json:"inputs"`
	Outputs []string         `json:"outputs"`
	Frames  []map[string]any `json:"frames"`

	header  string
	payload []byte
}

type part struct {
	Name  string `json:"name"`
	Dtype string `json:"dtype"`
	Shape []int  `json:"shape"`
	Size  int    `json:"size"`
}

// server is a model server around any driver, written from the description of the framing and with nothing of the package under test.
type server struct {
	driver backend.Driver
	// numbers answers in text.
	numbers bool
	// answer takes the place of the whole answer to a batch: a message and its kind. good is what would be said.
	answer func(batch asked, kind coder.MessageType, good []byte) (coder.MessageType, []byte)
	// describe takes the place of the answer to a question.
	describe func(good string) string
}

// start runs the server on the loopback interface until the test ends and gives its address.
func (s *server) start(t *testing.T) string {
	t.Helper()
	web := httptest.NewServer(s)
	t.Cleanup(web.Close)
	return strings.Replace(web.URL, "http", "ws", 1) + "/infer?tenant=7"
}

// ServeHTTP speaks with one router until it goes.
func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/infer" || r.URL.RawQuery != "tenant=7" {
		http.NotFound(w, r)
		return
	}
	socket, err := coder.Accept(w, r, &coder.AcceptOptions{Subprotocols: []string{"sluice.infer.v1"}})
	if err != nil {
		return
	}
	defer func() { _ = socket.CloseNow() }()
	socket.SetReadLimit(64 << 20)
	ctx, cancel := context.WithCancel(r.Context())
	var answers sync.WaitGroup
	defer answers.Wait()
	defer cancel()
	for {
		kind, message, err := socket.Read(ctx)
		if err != nil {
			return
		}
		answers.Go(func() {
			kind, answer := s.reply(ctx, kind, message)
			if answer != nil {
				_ = socket.Write(ctx, kind, answer)
			}
		})
	}
}

func (s *server) reply(ctx context.Context, kind coder.MessageType, message []byte) (coder.MessageType, []byte) {
	if kind == coder.MessageText {
		return coder.MessageText, []byte(s.describes(ctx, message))
	}
	batch, err := readBatch(message)
	if err != nil {
		panic(err) // the router's mistake: the test must not go on
	}
	kind, good := s.infer(ctx, batch)
	if s.answer != nil {
		return s.answer(batch, kind, good)
	}
	return kind, good
}

func (s *server) describes(ctx context.Context, message []byte) string {
	var q struct {
		ID       uint64
		Describe string
	}
	if err := json.Unmarshal(message, &q); err != nil {
		panic(err)
	}
	if q.Describe != "model" {
		return fmt.Sprintf(`{"id": %d, "error": %q}`, q.ID, secret)
	}
	d, err := s.driver.Describe(ctx)
	if err != nil {
		panic(err)
	}
	good := fmt.Sprintf(`{"id": %d, "inputs": %s, "outputs": %s}`, q.ID, specs(d.Inputs), specs(d.Outputs))
	if s.describe != nil {
		return strings.ReplaceAll(s.describe(good), "ID", fmt.Sprint(q.ID))
	}
	return good
}

func specs(list []media.TensorSpec) string {
	var texts []string
	for _, s := range list {
		shape, _ := json.Marshal(s.Shape)
		texts = append(texts, fmt.Sprintf(`{"name": %q, "dtype": %q, "shape": %s}`, s.Name, s.Datatype, strings.Replace(string(shape), "null", "[]", 1)))
	}
	return "[" + strings.Join(texts, ", ") + "]"
}

// readBatch takes a binary message apart.
func readBatch(message []byte) (asked, error) {
	length := int(binary.BigEndian.Uint32(message))
	batch := asked{header: string(message[4 : 4+length]), payload: message[4+length:]}
	if (4+length)%8 != 0 {
		return batch, fmt.Errorf("the payload begins at %d", 4+length)
	}
	if err := json.Unmarshal([]byte(batch.header), &batch); err != nil {
		return batch, err
	}
	total := 0
	for _, in := range batch.Inputs {
		total += in.Size
	}
	if total != len(batch.payload) {
		return batch, fmt.Errorf("inputs of %d bytes, and a payload of %d", total, len(batch.payload))
	}
	return batch, nil
}

func (s *server) infer(ctx context.Context, batch asked) (coder.MessageType, []byte) {
	refuse := func(why string) (coder.MessageType, []byte) {
		return coder.MessageText, fmt.Appendf(nil, `{"id": %d, "error": %q}`, batch.ID, why)
	}
	d, err := s.driver.Describe(ctx)
	if err != nil {
		return refuse(err.Error())
	}
	request := backend.Request{}
	rest := batch.payload
	for _, in := range batch.Inputs {
		request.Inputs = append(request.Inputs, media.RawTensor{Name: in.Name, Datatype: media.Datatype(in.Dtype), Shape: in.Shape, Data: rest[:in.Size]})
		rest = rest[in.Size:]
	}
	for _, name := range batch.Outputs {
		at := slices.IndexFunc(d.Outputs, func(s media.TensorSpec) bool { return s.Name == name })
		if at < 0 {
			return refuse("no output " + name)
		}
		request.Outputs = append(request.Outputs, tensor.Declared{TensorSpec: d.Outputs[at]})
	}
	output, err := s.driver.Infer(ctx, request)
	if err != nil {
		return refuse(secret + err.Error())
	}
	if output.Release != nil {
		defer output.Release()
	}
	if s.numbers {
		return coder.MessageText, lists(batch.ID, output.Tensors)
	}
	return coder.MessageBinary, parts(batch.ID, output.Tensors)
}

// parts makes a binary answer.
func parts(id uint64, tensors []media.RawTensor) []byte {
	var specs []part
	var payload []byte
	for _, t := range tensors {
		specs = append(specs, part{Name: t.Name, Dtype: string(t.Datatype), Shape: t.Shape, Size: len(t.Data)})
		payload = append(payload, t.Data...)
	}
	header, err := json.Marshal(map[string]any{"id": id, "outputs": specs})
	if err != nil {
		panic(err)
	}
	return framed(header, payload)
}

func framed(header, payload []byte) []byte {
	return slices.Concat(binary.BigEndian.AppendUint32(nil, uint32(len(header))), header, payload)
}

// lists makes a text answer of FP32, INT32 and INT64 tensors.
func lists(id uint64, tensors []media.RawTensor) []byte {
	outputs := map[string]any{}
	for _, t := range tensors {
		var elements []any
		for data := t.Data; len(data) > 0; data = data[t.Datatype.Size():] {
			switch t.Datatype {
			case media.FP32:
				elements = append(elements, math.Float32frombits(binary.LittleEndian.Uint32(data)))
			case media.Int32:
				elements = append(elements, int32(binary.LittleEndian.Uint32(data)))
			case media.Int64:
				elements = append(elements, int64(binary.LittleEndian.Uint64(data)))
			default:
				panic("no numbers of " + t.Datatype)
			}
		}
		for axis := len(t.Shape) - 1; axis > 0; axis-- {
			elements = pack(elements, t.Shape[axis])
		}
		outputs[t.Name] = elements
	}
	text, err := json.Marshal(map[string]any{"id": id, "outputs": outputs})
	if err != nil {
		panic(err)
	}
	return text
}

// pack makes lists of n.
func pack(elements []any, n int) []any {
	var packed []any
	for chunk := range slices.Chunk(elements, n) {
		packed = append(packed, chunk)
	}
	return packed
}

// secret stands for what a server says and no client may see.
const secret = "shm_region 0x7f3a /srv/models"

// open makes a driver for a server at an address.
func open(t *testing.T, url string) *websocket.Driver {
	t.Helper()
	driver, err := websocket.Open(websocket.Config{URL: url, Model: "model"})
	if err != nil {
		t.Fatal(err)
	}
	return driver
}

// await checks a model until it is ready.
func await(t *testing.T, model *backend.Model) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		err := model.Check(ctx)
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("the model does not become ready: %v", err)
		case <-ticker.C:
		}
	}
}
