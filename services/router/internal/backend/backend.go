// Package backend runs batches of frames on a model, wherever the model lives.
//
// It has two sides. [Model] is the concrete type that the router uses: it normalises and gathers payloads and what a recurrent model remembers of their streams,
// knows which targets are ready, checks the answer and splits it into frames. [Driver] is the small interface behind it, one value a target; package onnx runs a model
// in this process, package oip on a server of the Open Inference Protocol, and package websocket on any other. Package backendtest holds the conformance suite that every driver passes and a
// fake for the tests of others.
//
// What a model server says is believed nowhere: an answer whose names, types, shapes, sizes or values are not exactly what the server
// declared fails as a whole, and the server's words stay in the log. What leaves the package is a code; see [Error].
package backend

import (
	"context"
	"slices"
	"time"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/pkg/tensor"
)

// Frame is one frame of a batch.
type Frame struct {
	// Frame is what came from the edge.
	*media.Frame
	// Session is the public id of the session that it belongs to; empty when it belongs to none.
	Session string
	// State is what the model remembers of the frame's stream, for models that keep state. nil stands for a stream that has just begun and ends
	// with this frame. No other batch may use it at the same time, nor another frame of this one.
	State *State
	// Holder keeps the payload where it lies for drivers that send it from there. nil says that the payload is valid until Infer returns, so that it is copied.
	Holder Holder
}

// Holder is who owns a payload. Its methods are safe for concurrent use.
type Holder interface {
	// Hold keeps the payload until Release is called as often as Hold was.
	Hold()
	Release()
}

// Scatterer is a Driver that may take a batch's payloads from where they lie.
type Scatterer interface {
	// Scatters tells whether it does.
	Scatters() bool
}

// Driver runs one model on one target. All methods are safe for concurrent use, and each returns soon after its context ends. Their errors
// are *[Error] or wrap one; any other error counts as INTERNAL.
type Driver interface {
	// Target names the target for people: a path or an address.
	Target() string
	// Describe tells what the target takes and gives, in the target's own order. Extents that may vary are negative.
	Describe(ctx context.Context) (Description, error)
	// Ready returns nil when the target can take a batch now.
	Ready(ctx context.Context) error
	// Infer runs one batch. It reads the request until it returns and not after, but for inputs that it keeps. The order of the reply's tensors is free. The reply is as
	// the target gave it: the driver checks only what the caller cannot see any more, such as whether the bytes are those of the tensor.
	Infer(ctx context.Context, request Request) (Output, error)
	// Close frees what the driver holds, after the calls in progress. A second call does nothing.
	Close() error
}

// Description is what a target says about its model.
type Description struct {
	Inputs, Outputs []media.TensorSpec
}

// equal tells whether two descriptions are of models that are used alike.
func (d Description) equal(other Description) bool {
	same := func(a, b media.TensorSpec) bool {
		return a.Name == b.Name && a.Datatype == b.Datatype && slices.Equal(a.Shape, b.Shape)
	}
	return slices.EqualFunc(d.Inputs, other.Inputs, same) && slices.EqualFunc(d.Outputs, other.Outputs, same)
}

// Request is one batch for a driver.
type Request struct {
	// Inputs are the tensors that the target describes, each once, in no particular order.
	Inputs []media.RawTensor
	// Pieces are the bytes of the first of Inputs, one piece after the other, if that has no Data: for drivers that are a [Scatterer], where the batch is nothing but its
	// payloads. Otherwise there are none.
	Pieces media.Payload
	// Outputs are the tensors wanted, as the target describes them.
	Outputs []tensor.Declared
	// Frames say whose frames they are, in the batch's order. Their payloads are in Inputs already.
	Frames []Frame
	// Keep leaves the inputs' Data and Pieces as they are beyond Infer, until each function that it gave was called, once and from any goroutine. A driver calls it, within
	// Infer, for a library that may read on. nil says that nobody uses the memory again.
	Keep func() (done func())
}

// Output is a driver's answer for a batch. The tensors' Data belongs to the receiver until it calls Release, which may be nil and must be
// called at most once.
type Output struct {
	Tensors []media.RawTensor
	// Compute is what the target says that the batch took on the model, without the way there and back and without waiting; 0 when it does not say.
	Compute time.Duration
	Release func()
}
