// Package backendtest holds what tests of and around backends share: the conformance suite that every driver passes, a fake driver, a model
// server around any driver, and the embedded models with a picture and a voice to show them.
package backendtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/pkg/tensor"
	"github.com/sluice-dev/sluice/services/router/internal/backend"
)

// Harness is one kind of driver under test.
type Harness struct {
	// Open makes a driver. It is called once for each test; Conform closes it.
	Open func(t *testing.T) backend.Driver
	// Config describes the model behind the driver.
	Config backend.Config
	// Unfit changes a good input tensor into one that the model cannot take but the driver can send.
	Unfit func(input *media.RawTensor)
}

// Conform runs the suite: what [backend.Driver] promises, and what [backend.Model] makes of it.
func Conform(t *testing.T, h Harness) {
	t.Helper()
	for name, test := range map[string]func(*testing.T, Harness){
		"Describe":                   describes,
		"DescribesTheSameAgain":      describesTheSameAgain,
		"MismatchShowsBothSides":     mismatchShowsBothSides,
		"BatchEqualsSingles":         batchEqualsSingles,
		"FramesKeepTheirPlaces":      framesKeepTheirPlaces,
		"ConcurrentBatches":          concurrentBatches,
		"InputIsOnlyRead":            inputIsOnlyRead,
		"ReplyOutlivesTheInput":      replyOutlivesTheInput,
		"OnlyWantedOutputs":          onlyWantedOutputs,
		"UnfitInputIsRejected":       unfitInputIsRejected,
		"EndedContext":               endedContext,
		"ContextEndsDuringInference": contextEndsDuringInference,
		"CancelledDuringInference":   cancelledDuringInference,
		"CancelledBesideOthers":      cancelledBesideOthers,
		"Close":                      closes,
		"CloseWhileInUse":            closesWhileInUse,
		"StatesBatchedEqualAlone":    statesBatchedEqualAlone,
		"FailedBatchKeepsTheStates":  failedBatchKeepsTheStates,
		"GapsEndTheState":            gapsEndTheState,
	} {
		if len(h.Config.States) == 0 && strings.Contains(name, "State") {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, h)
		})
	}
}

// patience bounds each test: nothing here waits for it unless it fails.
const patience = 60 * time.Second

func patient(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

func (h Harness) driver(t *testing.T) backend.Driver {
	t.Helper()
	driver := h.Open(t)
	t.Cleanup(func() {
		if err := driver.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	if err := driver.Ready(patient(t)); err != nil {
		t.Fatalf("Ready: %v", err)
	}
	return driver
}

func (h Harness) model(t *testing.T) *backend.Model {
	t.Helper()
	model, err := backend.New(h.Config, h.driver(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := model.Check(patient(t)); err != nil {
		t.Fatalf("Check: %v", err)
	}
	return model
}

// frames makes frames of noise, each of its own.
func (h Harness) frames(t *testing.T, n int, seed uint64) []backend.Frame {
	t.Helper()
	packer, err := tensor.NewPacker(h.Config.Input)
	if err != nil {
		t.Fatal(err)
	}
	list := make([]backend.Frame, n)
	for i := range list {
		noise := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(i)})
		payload := make([]byte, len(packer.Sample()))
		// It never fails.
		_, _ = noise.Read(payload)
		list[i].Frame = &media.Frame{Payload: media.Payload{payload}}
	}
	return list
}

// recorder keeps a copy of the last request to a driver.
type recorder struct {
	backend.Driver
	last backend.Request
}

func (r *recorder) Infer(ctx context.Context, request backend.Request) (backend.Output, error) {
	r.last = backend.Request{Outputs: slices.Clone(request.Outputs), Frames: slices.Clone(request.Frames)}
	for _, in := range request.Inputs {
		in.Shape, in.Data = slices.Clone(in.Shape), bytes.Clone(in.Data)
		r.last.Inputs = append(r.last.Inputs, in)
	}
	return r.Driver.Infer(ctx, request)
}

// request makes a good request for the driver, of one frame, that wants all outputs. Its first input is the frames'.
func (h Harness) request(t *testing.T, driver backend.Driver) backend.Request {
	t.Helper()
	record := &recorder{Driver: driver}
	model, err := backend.New(h.Config, record) // not closed: the driver is the caller's
	if err != nil {
		t.Fatal(err)
	}
	if err := model.Check(patient(t)); err != nil {
		t.Fatalf("Check: %v", err)
	}
	mustInfer(t, model, h.frames(t, 1, 99))
	return record.last
}

func free(output backend.Output) {
	if output.Release != nil {
		output.Release()
	}
}

// infer gives the outputs of each frame as one copied string of bytes, so that they can be compared.
func infer(ctx context.Context, model *backend.Model, frames []backend.Frame) ([][]byte, error) {
	reply, err := model.Infer(ctx, 0, frames)
	if err != nil {
		return nil, err
	}
	defer reply.Release()
	if reply.Frames() != len(frames) {
		return nil, fmt.Errorf("%d answers for %d frames", reply.Frames(), len(frames))
	}
	list := make([][]byte, reply.Frames())
	for i := range list {
		for _, t := range reply.Frame(i) {
			list[i] = append(list[i], fmt.Sprintf("%s %s %v:", t.Name, t.Datatype, t.Shape)...)
			list[i] = append(list[i], t.Data...)
		}
	}
	return list, nil
}

func mustInfer(t *testing.T, model *backend.Model, frames []backend.Frame) [][]byte {
	t.Helper()
	answers, err := infer(patient(t), model, frames)
	if err != nil {
		t.Fatalf("Infer of %d: %v", len(frames), err)
	}
	return answers
}

func describes(t *testing.T, h Harness) {
	t.Helper()
	driver := h.driver(t)
	d, err := driver.Describe(patient(t))
	if err != nil {
		t.Fatalf("Describe: %v", err)
	}
	inputs, outputs := 1+len(h.Config.States)+len(h.Config.Constants), 1+len(h.Config.States)
	if driver.Target() == "" || len(d.Inputs) != inputs || len(d.Outputs) < outputs {
		t.Fatalf("target %q describes %+v", driver.Target(), d)
	}
	for _, s := range slices.Concat(d.Inputs, d.Outputs) {
		constant := slices.ContainsFunc(h.Config.Constants, func(c backend.Constant) bool { return c.Name == s.Name })
		if s.Name == "" || s.Datatype.Size() == 0 || !constant && !slices.ContainsFunc(s.Shape, func(extent int) bool { return extent < 0 }) {
			t.Errorf("tensor %s: wanted are a name, a datatype and a free batch axis", s)
		}
	}
}

// describesTheSameAgain asks twice, and once more after a batch.
func describesTheSameAgain(t *testing.T, h Harness) {
	t.Helper()
	driver := h.driver(t)
	var texts []string
	for range 3 {
		d, err := driver.Describe(patient(t))
		if err != nil {
			t.Fatalf("Describe: %v", err)
		}
		texts = append(texts, fmt.Sprint(d))
		_ = h.request(t, driver)
	}
	if texts[0] != texts[1] || texts[1] != texts[2] {
		t.Errorf("a driver describes the same model as %v", texts)
	}
}

// mismatchShowsBothSides wants an output that no model has: the error names it, what is served, and the key to change. The target is not spoiled by it.
func mismatchShowsBothSides(t *testing.T, h Harness) {
	t.Helper()
	driver := h.driver(t)
	wrong := h.Config
	wrong.Outputs, wrong.Accept = []string{"an output of nobody's"}, nil
	model, err := backend.New(wrong, driver) // not closed: the driver is used again
	if err != nil {
		t.Fatal(err)
	}
	d, err := driver.Describe(patient(t))
	if err != nil {
		t.Fatalf("Describe: %v", err)
	}
	var mismatch *backend.Mismatch
	if err := model.Check(patient(t)); !errors.As(err, &mismatch) {
		t.Fatalf("Check = %v, want a mismatch", err)
	}
	text := mismatch.Error()
	for _, want := range []string{driver.Target(), wrong.Outputs[0], d.Inputs[0].String(), d.Outputs[0].String(), "output.tensors"} {
		if !strings.Contains(text, want) {
			t.Errorf("the mismatch does not show %q:\n%s", want, text)
		}
	}
	if _, err := model.Infer(patient(t), 0, h.frames(t, 1, 5)); backend.CodeOf(err) != media.BackendUnavailable {
		t.Errorf("Infer on a target that does not fit = %v, want %s", err, media.BackendUnavailable)
	}
	_ = h.request(t, driver)
}

func batchEqualsSingles(t *testing.T, h Harness) {
	t.Helper()
	model := h.model(t)
	frames := h.frames(t, h.Config.MaxBatch, 1)
	var singles [][]byte
	for i := range frames {
		singles = append(singles, mustInfer(t, model, frames[i:i+1])...)
	}
	for n := 1; n <= len(frames); n++ {
		for i, got := range mustInfer(t, model, frames[:n]) {
			if !bytes.Equal(got, singles[i]) {
				t.Errorf("frame %d in a batch of %d differs from itself alone", i, n)
			}
		}
	}
	if len(singles) > 1 && bytes.Equal(singles[0], singles[1]) {
		t.Error("two different frames have the same answer: the test cannot tell them apart")
	}
}

func framesKeepTheirPlaces(t *testing.T, h Harness) {
	t.Helper()
	model := h.model(t)
	frames := h.frames(t, h.Config.MaxBatch, 2)
	forth := mustInfer(t, model, frames)
	slices.Reverse(frames)
	back := mustInfer(t, model, frames)
	slices.Reverse(back)
	for i := range forth {
		if !bytes.Equal(forth[i], back[i]) {
			t.Errorf("frame %d got another answer at the other end of the batch", i)
		}
	}
}

func concurrentBatches(t *testing.T, h Harness) {
	t.Helper()
	model := h.model(t)
	const callers, rounds = 4, 3
	var all sync.WaitGroup
	for caller := range callers {
		frames := h.frames(t, 1+caller%h.Config.MaxBatch, uint64(10+caller))
		want := mustInfer(t, model, frames)
		ctx := patient(t)
		all.Go(func() {
			for range rounds {
				got, err := infer(ctx, model, frames)
				if err != nil {
					t.Errorf("caller %d: %v", caller, err)
					return
				}
				for i := range want {
					if !bytes.Equal(got[i], want[i]) {
						t.Errorf("caller %d: frame %d got another answer beside other callers", caller, i)
					}
				}
			}
		})
	}
	all.Wait()
}

func inputIsOnlyRead(t *testing.T, h Harness) {
	t.Helper()
	driver := h.driver(t)
	request := h.request(t, driver)
	var before [][]byte
	for _, in := range request.Inputs {
		before = append(before, bytes.Clone(in.Data))
	}
	output, err := driver.Infer(patient(t), request)
	if err != nil {
		t.Fatalf("Infer: %v", err)
	}
	free(output)
	for i, in := range request.Inputs {
		if !bytes.Equal(before[i], in.Data) {
			t.Errorf("the driver wrote into input %s", in.Name)
		}
	}
}

func replyOutlivesTheInput(t *testing.T, h Harness) {
	t.Helper()
	driver := h.driver(t)
	request := h.request(t, driver)
	output, err := driver.Infer(patient(t), request)
	if err != nil {
		t.Fatalf("Infer: %v", err)
	}
	defer free(output)
	var before [][]byte
	for _, o := range output.Tensors {
		before = append(before, bytes.Clone(o.Data))
	}
	for _, in := range request.Inputs {
		clear(in.Data)
	}
	other, err := driver.Infer(patient(t), request)
	if err != nil {
		t.Fatalf("Infer: %v", err)
	}
	free(other)
	for i, o := range output.Tensors {
		if !bytes.Equal(before[i], o.Data) {
			t.Errorf("output %s changed after the call", o.Name)
		}
	}
}

func onlyWantedOutputs(t *testing.T, h Harness) {
	t.Helper()
	driver := h.driver(t)
	request := h.request(t, driver)
	request.Outputs = request.Outputs[len(request.Outputs)-1:]
	wanted := request.Outputs[0].Name
	output, err := driver.Infer(patient(t), request)
	if err != nil {
		t.Fatalf("Infer: %v", err)
	}
	defer free(output)
	if len(output.Tensors) != 1 || output.Tensors[0].Name != wanted {
		t.Errorf("wanted %s, got %d tensors", wanted, len(output.Tensors))
	}
}

func unfitInputIsRejected(t *testing.T, h Harness) {
	t.Helper()
	driver := h.driver(t)
	request := h.request(t, driver)
	unfit := request
	unfit.Inputs = slices.Clone(request.Inputs)
	unfit.Inputs[0].Shape = slices.Clone(request.Inputs[0].Shape)
	h.Unfit(&unfit.Inputs[0])
	if _, err := driver.Infer(patient(t), unfit); backend.CodeOf(err) != media.BackendRejected {
		t.Errorf("Infer of an unfit input = %v, want %s", err, media.BackendRejected)
	}
	output, err := driver.Infer(patient(t), request)
	if err != nil {
		t.Fatalf("the driver did not get over an unfit input: %v", err)
	}
	free(output)
}
