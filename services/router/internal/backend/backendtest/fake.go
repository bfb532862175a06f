package backendtest

import (
	"context"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"slices"
	"sync/atomic"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/services/router/internal/backend"
)

// Fake is a driver without a model: for each frame it answers a checksum of the frame's bytes and the frame's first element. Set its fields
// before it is used. Hook may be nil.
type Fake struct {
	// Name is its target.
	Name string
	// Serves is what it describes; NewFake fills it in.
	Serves backend.Description
	// Hook is called for each batch before it is answered, with what would be answered. It may change the answer, wait, or fail.
	Hook func(ctx context.Context, input media.RawTensor, output *backend.Output) error
	// Away makes Ready fail.
	Away atomic.Bool

	closed  atomic.Bool
	batches atomic.Int64
}

// NewFake makes a fake that serves a model for a configuration.
func NewFake(name string, config backend.Config) *Fake {
	return &Fake{Name: name, Serves: backend.Description{
		Inputs: []media.TensorSpec{config.Input.Spec("pictures")},
		Outputs: []media.TensorSpec{
			{Name: "checksum", Datatype: media.Int64, Shape: []int{-1}},
			{Name: "first", Datatype: config.Input.Datatype, Shape: []int{-1, 1}},
		},
	}}
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
func (f *Fake) Infer(ctx context.Context, input media.RawTensor, outputs []string) (backend.Output, error) {
	f.batches.Add(1)
	if ctx.Err() != nil {
		return backend.Output{}, backend.ContextError(ctx)
	}
	if err := f.Ready(ctx); err != nil {
		return backend.Output{}, err
	}
	if len(input.Shape) != len(f.Serves.Inputs[0].Shape) {
		return backend.Output{}, backend.Fail(media.BackendRejected, "the fake refused", fmt.Sprintf("a shape of %v", input.Shape))
	}
	output := backend.Output{Tensors: f.answer(input)}
	output.Tensors = slices.DeleteFunc(output.Tensors, func(t media.RawTensor) bool { return !slices.Contains(outputs, t.Name) })
	if f.Hook != nil {
		if err := f.Hook(ctx, input, &output); err != nil {
			return backend.Output{}, err
		}
	}
	return output, nil
}

func (f *Fake) answer(input media.RawTensor) []media.RawTensor {
	frames, element := input.Shape[0], input.Datatype.Size()
	checksum := media.RawTensor{Name: "checksum", Datatype: media.Int64, Shape: []int{frames}}
	first := media.RawTensor{Name: "first", Datatype: input.Datatype, Shape: []int{frames, 1}}
	size := len(input.Data) / frames
	for i := range frames {
		frame := input.Data[i*size : (i+1)*size]
		checksum.Data = binary.LittleEndian.AppendUint64(checksum.Data, uint64(crc32.ChecksumIEEE(frame)))
		first.Data = append(first.Data, frame[:element]...)
	}
	return []media.RawTensor{checksum, first}
}

// Close ends the fake.
func (f *Fake) Close() error {
	f.closed.Store(true)
	return nil
}
