// Package backendtest holds what tests of and around backends share: the conformance suite that every driver passes, a fake driver, a model
// server around any driver, and the embedded model with a picture to show it.
package backendtest

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/sluice-dev/sluice/pkg/media"
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
		"BatchEqualsSingles":         batchEqualsSingles,
		"FramesKeepTheirPlaces":      framesKeepTheirPlaces,
		"ConcurrentBatches":          concurrentBatches,
		"InputIsOnlyRead":            inputIsOnlyRead,
		"ReplyOutlivesTheInput":      replyOutlivesTheInput,
		"OnlyWantedOutputs":          onlyWantedOutputs,
		"UnfitInputIsRejected":       unfitInputIsRejected,
		"EndedContext":               endedContext,
		"ContextEndsDuringInference": contextEndsDuringInference,
		"Close":                      closes,
	} {
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

// payloads makes pictures of noise, each of its own.
func (h Harness) payloads(n int, seed uint64) [][]byte {
	list := make([][]byte, n)
	for i := range list {
		noise := rand.NewChaCha8([32]byte{byte(seed), byte(i)})
		list[i] = make([]byte, h.Config.Input.Width*h.Config.Input.Height*3)
		// It never fails.
		_, _ = noise.Read(list[i])
	}
	return list
}

// input makes a tensor for the driver, of one frame, and names all outputs.
func (h Harness) input(t *testing.T, driver backend.Driver) (media.RawTensor, []string) {
	t.Helper()
	d, err := driver.Describe(patient(t))
	if err != nil {
		t.Fatalf("Describe: %v", err)
	}
	in := media.RawTensor{Name: d.Inputs[0].Name, Datatype: h.Config.Input.Datatype, Shape: h.Config.Input.Shape(1)}
	elements := 1
	for _, extent := range in.Shape {
		elements *= extent
	}
	if in.Datatype == media.Uint8 {
		in.Data = bytes.Repeat([]byte{7}, elements)
	} else {
		in.Data = bytes.Repeat(binary.LittleEndian.AppendUint32(nil, 0x40e00000), elements) // 7.0
	}
	names := make([]string, len(d.Outputs))
	for i, o := range d.Outputs {
		names[i] = o.Name
	}
	return in, names
}

func free(output backend.Output) {
	if output.Release != nil {
		output.Release()
	}
}

// infer gives the outputs of each frame as one copied string of bytes, so that they can be compared.
func infer(ctx context.Context, model *backend.Model, payloads [][]byte) ([][]byte, error) {
	reply, err := model.Infer(ctx, payloads)
	if err != nil {
		return nil, err
	}
	defer reply.Release()
	if reply.Frames() != len(payloads) {
		return nil, fmt.Errorf("%d frames for %d payloads", reply.Frames(), len(payloads))
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

func mustInfer(t *testing.T, model *backend.Model, payloads [][]byte) [][]byte {
	t.Helper()
	answers, err := infer(patient(t), model, payloads)
	if err != nil {
		t.Fatalf("Infer of %d: %v", len(payloads), err)
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
	if driver.Target() == "" || len(d.Inputs) != 1 || len(d.Outputs) == 0 {
		t.Fatalf("target %q describes %+v", driver.Target(), d)
	}
	for _, s := range slices.Concat(d.Inputs, d.Outputs) {
		if s.Name == "" || s.Datatype.Size() == 0 || len(s.Shape) == 0 || s.Shape[0] >= 0 {
			t.Errorf("tensor %s: wanted are a name, a datatype and a free batch axis", s)
		}
	}
}

func batchEqualsSingles(t *testing.T, h Harness) {
	t.Helper()
	model := h.model(t)
	payloads := h.payloads(h.Config.MaxBatch, 1)
	var singles [][]byte
	for i := range payloads {
		singles = append(singles, mustInfer(t, model, payloads[i:i+1])...)
	}
	for n := 1; n <= len(payloads); n++ {
		for i, got := range mustInfer(t, model, payloads[:n]) {
			if !bytes.Equal(got, singles[i]) {
				t.Errorf("frame %d in a batch of %d differs from itself alone", i, n)
			}
		}
	}
	if len(singles) > 1 && bytes.Equal(singles[0], singles[1]) {
		t.Error("two different pictures have the same answer: the test cannot tell them apart")
	}
}

func framesKeepTheirPlaces(t *testing.T, h Harness) {
	t.Helper()
	model := h.model(t)
	payloads := h.payloads(h.Config.MaxBatch, 2)
	forth := mustInfer(t, model, payloads)
	slices.Reverse(payloads)
	back := mustInfer(t, model, payloads)
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
		payloads := h.payloads(1+caller%h.Config.MaxBatch, uint64(10+caller))
		want := mustInfer(t, model, payloads)
		ctx := patient(t)
		all.Go(func() {
			for range rounds {
				got, err := infer(ctx, model, payloads)
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
	input, names := h.input(t, driver)
	before := bytes.Clone(input.Data)
	output, err := driver.Infer(patient(t), input, names)
	if err != nil {
		t.Fatalf("Infer: %v", err)
	}
	free(output)
	if !bytes.Equal(before, input.Data) {
		t.Error("the driver wrote into the input")
	}
}

func replyOutlivesTheInput(t *testing.T, h Harness) {
	t.Helper()
	driver := h.driver(t)
	input, names := h.input(t, driver)
	output, err := driver.Infer(patient(t), input, names)
	if err != nil {
		t.Fatalf("Infer: %v", err)
	}
	defer free(output)
	var before [][]byte
	for _, o := range output.Tensors {
		before = append(before, bytes.Clone(o.Data))
	}
	clear(input.Data)
	other, err := driver.Infer(patient(t), input, names)
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
	input, names := h.input(t, driver)
	wanted := names[len(names)-1:]
	output, err := driver.Infer(patient(t), input, wanted)
	if err != nil {
		t.Fatalf("Infer: %v", err)
	}
	defer free(output)
	if len(output.Tensors) != 1 || output.Tensors[0].Name != wanted[0] {
		t.Errorf("wanted %v, got %d tensors", wanted, len(output.Tensors))
	}
}

func unfitInputIsRejected(t *testing.T, h Harness) {
	t.Helper()
	driver := h.driver(t)
	input, names := h.input(t, driver)
	unfit := input
	unfit.Shape = slices.Clone(input.Shape)
	h.Unfit(&unfit)
	if _, err := driver.Infer(patient(t), unfit, names); backend.CodeOf(err) != media.BackendRejected {
		t.Errorf("Infer of an unfit input = %v, want %s", err, media.BackendRejected)
	}
	output, err := driver.Infer(patient(t), input, names)
	if err != nil {
		t.Fatalf("the driver did not get over an unfit input: %v", err)
	}
	free(output)
}

func endedContext(t *testing.T, h Harness) {
	t.Helper()
	model := h.model(t)
	payloads := h.payloads(1, 3)
	late, cancel := context.WithDeadline(t.Context(), time.Unix(0, 0))
	defer cancel()
	if _, err := model.Infer(late, payloads); backend.CodeOf(err) != media.BackendTimeout {
		t.Errorf("Infer after the deadline = %v, want %s", err, media.BackendTimeout)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := model.Infer(gone, payloads); backend.CodeOf(err) != media.BackendUnavailable {
		t.Errorf("Infer given up = %v, want %s", err, media.BackendUnavailable)
	}
	mustInfer(t, model, payloads)
}

// contextEndsDuringInference cannot know how far a batch is when its time runs out, so it tries many lengths: whatever happens, the answer is
// right or is BACKEND_TIMEOUT, and the next batch is not touched.
func contextEndsDuringInference(t *testing.T, h Harness) {
	t.Helper()
	model := h.model(t)
	payloads := h.payloads(h.Config.MaxBatch, 4)
	want := mustInfer(t, model, payloads)
	for limit := 100 * time.Microsecond; limit < 100*time.Millisecond; limit *= 2 {
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		got, err := infer(ctx, model, payloads)
		cancel()
		if err != nil && backend.CodeOf(err) != media.BackendTimeout {
			t.Errorf("Infer within %v = %v, want %s", limit, err, media.BackendTimeout)
		}
		for i := range got {
			if !bytes.Equal(got[i], want[i]) {
				t.Errorf("within %v frame %d got another answer", limit, i)
			}
		}
	}
	for i, got := range mustInfer(t, model, payloads) {
		if !bytes.Equal(got, want[i]) {
			t.Errorf("frame %d got another answer after batches that were given up", i)
		}
	}
}

func closes(t *testing.T, h Harness) {
	t.Helper()
	driver := h.driver(t)
	input, names := h.input(t, driver)
	for range 2 {
		if err := driver.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	}
	if err := driver.Ready(patient(t)); backend.CodeOf(err) != media.BackendUnavailable {
		t.Errorf("Ready after Close = %v, want %s", err, media.BackendUnavailable)
	}
	if _, err := driver.Infer(patient(t), input, names); backend.CodeOf(err) != media.BackendUnavailable {
		t.Errorf("Infer after Close = %v, want %s", err, media.BackendUnavailable)
	}
}
