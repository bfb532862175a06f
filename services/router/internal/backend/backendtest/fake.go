package backendtest

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"slices"
	"sync/atomic"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/pkg/tensor"
	"github.com/sluice-dev/sluice/services/router/internal/backend"
)

// Fake is a driver without a model: for each frame it answers a checksum of the frame's bytes and the frame's first element. With states in its configuration
// the checksum is of what the stream's states were as well, and the states change with each frame. Set its fields before it is used. Hook may be nil.
type Fake struct {
	// Name is its target.
	Name string
	// Serves is what it describes; NewFake fills it in.
	Serves backend.Description
	// Hook is called for each batch before it is answered, with the frames' tensor and what would be answered. It may change the answer, wait, or fail.
	Hook func(ctx context.Context, input media.RawTensor, output *backend.Output) error
	// Away makes Ready fail.
	Away atomic.Bool

	states  []backend.StatePair
	closed  atomic.Bool
	batches atomic.Int64
}

// The states of a fake are of [fakeBlocks, streams, fakeFeatures].
const fakeBlocks, fakeFeatures = 2, 3

// NewFake makes a fake that serves a model for a configuration, which must be valid.
func NewFake(name string, config backend.Config) *Fake {
	packer, err := tensor.NewPacker(config.Input)
	if err != nil {
		panic(err)
	}
	f := &Fake{Name: name, states: config.States, Serves: backend.Description{
		Inputs: []media.TensorSpec{packer.Spec("pictures")},
		Outputs: []media.TensorSpec{
			{Name: "checksum", Datatype: media.Int64, Shape: []int{-1}},
			{Name: "first", Datatype: packer.Datatype(), Shape: []int{-1, 1}},
		},
	}}
	for _, pair := range config.States {
		shape := []int{fakeBlocks, -1, fakeFeatures}
		f.Serves.Inputs = append(f.Serves.Inputs, media.TensorSpec{Name: pair.Input, Datatype: media.Int32, Shape: shape})
		f.Serves.Outputs = append(f.Serves.Outputs, media.TensorSpec{Name: pair.Output, Datatype: media.Int32, Shape: shape})
	}
	for _, c := range config.Constants {
		f.Serves.Inputs = append(f.Serves.Inputs, media.TensorSpec{Name: c.Name, Datatype: media.Int64})
	}
	return f
}

// Batches gives the number of batches that were asked for.
func (f *Fake) Batches() int { return int(f.batches.Load()) }

// Target gives the fake's name.
func (f *Fake) Target() string { return f.Name }

// Describe gives what the fake serves.
func (f *Fake) Describe(context.Context) (backend.Description, error) { return f.Serves, nil }

// Ready fails while the fake is away or closed.
func (f *Fake) Ready(context.Context) error {
	if f.Away.Load() || f.closed.Load() {
		return &backend.Error{Code: media.BackendUnavailable, Reason: "the fake is away"}
	}
	return nil
}

// Infer answers a batch.
func (f *Fake) Infer(ctx context.Context, request backend.Request) (backend.Output, error) {
	f.batches.Add(1)
	if ctx.Err() != nil {
		return backend.Output{}, backend.ContextError(ctx)
	}
	if err := f.Ready(ctx); err != nil {
		return backend.Output{}, err
	}
	input, _ := Tensor(request.Inputs, f.Serves.Inputs[0].Name)
	if len(request.Inputs) != len(f.Serves.Inputs) || len(input.Shape) != len(f.Serves.Inputs[0].Shape) {
		return backend.Output{}, backend.Fail(media.BackendRejected, "the fake refused", fmt.Sprintf("%d inputs, a shape of %v", len(request.Inputs), input.Shape))
	}
	output := backend.Output{Tensors: f.answer(input, request.Inputs)}
	output.Tensors = slices.DeleteFunc(output.Tensors, func(t media.RawTensor) bool {
		return !slices.ContainsFunc(request.Outputs, func(o tensor.Declared) bool { return o.Name == t.Name })
	})
	if f.Hook != nil {
		if err := f.Hook(ctx, input, &output); err != nil {
			return backend.Output{}, err
		}
	}
	return output, nil
}

// Tensor finds a tensor by its name.
func Tensor(tensors []media.RawTensor, name string) (media.RawTensor, bool) {
	at := slices.IndexFunc(tensors, func(t media.RawTensor) bool { return t.Name == name })
	if at < 0 {
		return media.RawTensor{}, false
	}
	return tensors[at], true
}

func (f *Fake) answer(input media.RawTensor, inputs []media.RawTensor) []media.RawTensor {
	frames, element := input.Shape[0], input.Datatype.Size()
	checksum := media.RawTensor{Name: "checksum", Datatype: media.Int64, Shape: []int{frames}}
	first := media.RawTensor{Name: "first", Datatype: input.Datatype, Shape: []int{frames, 1}}
	answers := []media.RawTensor{checksum, first}
	for _, pair := range f.states {
		state, _ := Tensor(inputs, pair.Input)
		state.Name, state.Data = pair.Output, bytes.Clone(state.Data)
		answers = append(answers, state)
	}
	size := len(input.Data) / frames
	for i := range frames {
		sum := crc32.ChecksumIEEE(input.Data[i*size : (i+1)*size])
		for _, state := range answers[2:] {
			sum = remember(state.Data, i, frames, sum)
		}
		answers[0].Data = binary.LittleEndian.AppendUint64(answers[0].Data, uint64(sum))
		answers[1].Data = append(answers[1].Data, input.Data[i*size:i*size+element]...)
	}
	return answers
}

// remember mixes a sum and the state of stream i of n into each other: the sum that it gives is of both, and so is each number of the state afterwards.
func remember(state []byte, i, n int, sum uint32) uint32 {
	for block := range fakeBlocks {
		for feature := range fakeFeatures {
			at := state[4*((block*n+i)*fakeFeatures+feature):]
			sum = sum*31 + binary.LittleEndian.Uint32(at)
			binary.LittleEndian.PutUint32(at, sum)
		}
	}
	return sum
}

// Close ends the fake.
func (f *Fake) Close() error {
	f.closed.Store(true)
	return nil
}
