package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"image"
	"image/jpeg"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/pkg/tensor"
	"github.com/sluice-dev/sluice/pkg/wire"
	"github.com/sluice-dev/sluice/proto/gen/inference"
	sluicev1 "github.com/sluice-dev/sluice/proto/gen/sluice/v1"
	"github.com/sluice-dev/sluice/services/router/internal/backend"
	"github.com/sluice-dev/sluice/services/router/internal/backend/backendtest"
)

// reader is a model of texts and files: of each it answers a JSON text.
type reader struct {
	read func(file []byte) string
}

func (reader) Target() string              { return "reader" }
func (reader) Ready(context.Context) error { return nil }
func (reader) Close() error                { return nil }

func (reader) Describe(context.Context) (backend.Description, error) {
	return backend.Description{
		Inputs:  []media.TensorSpec{{Name: "file", Datatype: media.Bytes, Shape: []int{-1, 1}}},
		Outputs: []media.TensorSpec{{Name: "answer", Datatype: media.Bytes, Shape: []int{-1}}},
	}, nil
}

func (r reader) Infer(_ context.Context, request backend.Request) (backend.Output, error) {
	packer, err := tensor.NewPacker(tensor.Text{Limit: 1 << 20})
	if err != nil {
		return backend.Output{}, err
	}
	in := request.Inputs[0]
	if !slices.Equal(in.Shape, []int{in.Shape[0], 1}) {
		return backend.Output{}, fmt.Errorf("shape %v", in.Shape)
	}
	out := media.RawTensor{Name: "answer", Datatype: media.Bytes, Shape: in.Shape[:1]}
	for rest := in.Data; len(rest) > 0; {
		file, after, ok := media.CutElement(rest)
		if !ok {
			return backend.Output{}, fmt.Errorf("%d bytes are left over", len(rest))
		}
		if out.Data, err = packer.Pack(out.Data, media.Payload{[]byte(r.read(file))}); err != nil {
			return backend.Output{}, err
		}
		rest = after
	}
	return backend.Output{Tensors: []media.RawTensor{out}}, nil
}

func size(file []byte) string {
	c, err := jpeg.DecodeConfig(bytes.NewReader(file))
	if err != nil {
		return `"no picture"`
	}
	return fmt.Sprintf(`{"width": %d, "height": %d}`, c.Width, c.Height)
}

func file(t *testing.T, width, height int) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := jpeg.Encode(&b, image.NewGray(image.Rect(0, 0, width, height)), nil); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// served writes the configuration of three models on servers of this process: of texts, of JPEG files and of tensors. asked is told the batches of the first.
func served(t *testing.T, asked func(*inference.ModelInferRequest)) string {
	t.Helper()
	serve := func(driver backend.Driver, asked func(*inference.ModelInferRequest)) string {
		return backendtest.Serve(t, &backendtest.Server{Model: "m", Driver: driver, Asked: asked})
	}
	text := fmt.Sprintf(`
models:
  - name: texts
    backend: {oip: {targets: [%q], model: m, correlate: true}}
    input: {kind: document}
    output: {decoder: json}
    batch: {max: 4}
    deadline: 30s
  - name: files
    backend: {oip: {targets: [%q], model: m}}
    input: {encoding: jpeg, width: 64, height: 48}
    output: {decoder: json}
    deadline: 30s
  - name: numbers
    backend: {oip: {targets: [%q], model: m}}
    input: {kind: tensor, dtype: FP32, shape: [1, 2]}
    output: {decoder: tensors, tensors: [first]}
    deadline: 30s
`, serve(reader{func(file []byte) string { return string(file) }}, asked), serve(reader{size}, nil),
		serve(backendtest.NewFake("fake", backend.Config{Input: tensor.Raw{Datatype: media.FP32, Shape: []int{1, 2}}}), nil))
	path := filepath.Join(t.TempDir(), "router.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestTextsFilesAndTensors takes each through a router to a model server and back.
func TestTextsFilesAndTensors(t *testing.T) {
	var mu sync.Mutex
	var origins []string
	r := launch(t, "--config", served(t, func(request *inference.ModelInferRequest) {
		mu.Lock()
		defer mu.Unlock()
		origins = append(origins, request.GetParameters()["sluice_frames"].GetStringParam())
	}))
	inspect := sluicev1.NewInspectServiceClient(r.conn)
	list, err := inspect.ListModels(t.Context(), &sluicev1.ListModelsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	inputs := map[string]media.Input{}
	for _, m := range list.GetModels() {
		for _, pb := range list.GetInputs() {
			if in, err := wire.InputFromProto(pb); err != nil {
				t.Errorf("input %v: %v", pb, err)
			} else if in.ID == m.GetInputId() {
				inputs[m.GetName()] = in
			}
		}
	}
	stream, err := sluicev1.NewRouterServiceClient(r.conn).Stream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(&sluicev1.StreamRequest{Body: &sluicev1.StreamRequest_Open{Open: &sluicev1.Open{Session: new("session")}}}); err != nil {
		t.Fatal(err)
	}
	e := &edge{t: t, stream: stream}
	if e.recv().GetOpened() == nil {
		t.Fatal("the call was not opened")
	}
	captured := time.Date(2026, 11, 22, 13, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		model, kind string
		payload     []byte
		want        media.Result
	}{
		{"texts", "document", []byte(`{"text": "ü"}`), media.Result{JSON: []string{`{"text": "ü"}`}}},
		{"files", "picture", file(t, 33, 21), media.Result{JSON: []string{`{"width": 33, "height": 21}`}}},
		{"numbers", "tensor", []byte{0, 0, 0x80, 0x3f, 0, 0, 0, 0xc0}, media.Result{
			Tensors: []media.Tensor{{Name: "first", Datatype: "FP32", Shape: []int{1}, Values: []float64{1}}},
		}},
	} {
		in := inputs[c.model]
		if in.Kind.String() != c.kind {
			t.Errorf("model %s takes a %s, want a %s", c.model, in.Kind, c.kind)
		}
		now := time.Now()
		f := media.Frame{
			Stream: c.model, Sequence: 5, InputID: in.ID, Due: []media.Due{{Model: c.model, Deadline: now.Add(30 * time.Second)}},
			Captured: captured, Clock: media.ClockArrival, Payload: media.Payload{c.payload},
		}
		if in.Kind == media.KindPicture {
			f.Placement = media.Placement{Width: 33, Height: 21, SourceWidth: 33, SourceHeight: 21}
		}
		if err := stream.Send(&sluicev1.StreamRequest{Body: &sluicev1.StreamRequest_Frame{Frame: wire.FrameToProto(&f, now)}}); err != nil {
			t.Fatal(err)
		}
		o := e.outcome()
		if got, want := marshal(t, o.Result), marshal(t, &c.want); o.Model != c.model || got != want {
			t.Errorf("model %s: %s of %+v, want %s", c.model, got, o, want)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if want := `[{"session":"session","stream":"texts","sequence":5,"captureTime":"2026-11-22T13:00:00Z","clock":"ARRIVAL"}]`; !slices.Equal(origins, []string{want}) {
		t.Errorf("the server was told %q, want %q", origins, want)
	}
}

// TestTextThatIsNone is the server's fault: its answer is no JSON.
func TestTextThatIsNone(t *testing.T) {
	r := launch(t, "--config", served(t, nil))
	stream, err := sluicev1.NewRouterServiceClient(r.conn).Stream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(&sluicev1.StreamRequest{Body: &sluicev1.StreamRequest_Open{Open: &sluicev1.Open{Session: new("s"), Models: []string{"texts"}}}}); err != nil {
		t.Fatal(err)
	}
	e := &edge{t: t, stream: stream}
	id := e.recv().GetOpened().GetInputs()[0].GetId()
	for i, text := range []string{"no JSON", `"` + strings.Repeat("x", 64<<10) + `"`} {
		now := time.Now()
		f := media.Frame{
			Stream: "channel", Sequence: uint32(i + 1), InputID: id, Due: []media.Due{{Model: "texts", Deadline: now.Add(30 * time.Second)}}, Payload: media.Payload{[]byte(text)},
		}
		if err := stream.Send(&sluicev1.StreamRequest{Body: &sluicev1.StreamRequest_Frame{Frame: wire.FrameToProto(&f, now)}}); err != nil {
			t.Fatal(err)
		}
		if o := e.outcome(); o.Error != media.BackendProtocol {
			t.Errorf("%d bytes: %+v, want BACKEND_PROTOCOL", len(text), o)
		}
	}
}

func marshal(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
