// Package tensor turns payloads into the batch tensor that a model takes, and a model's answer into the tensors of each frame. It is pure
// arithmetic over byte slices: nothing here allocates by the payload, keeps state between calls or reads a clock.
package tensor

import (
	"fmt"
	"slices"

	"github.com/sluice-dev/sluice/pkg/media"
)

// Input describes how the payloads of one kind become the input tensor of a model: a [Picture], [JPEG], [Sound], [Raw] or [Text].
type Input interface {
	// packing checks the description.
	packing() (packing, error)
}

// packing is what a Packer knows of its kind of payloads.
type packing struct {
	datatype media.Datatype
	shapes   [][]int
	// payload is the size of every payload, or the largest of a Text's.
	payload int
	// write fills the part of a batch that is a payload's from one piece of the payload, which begins at byte at of it. It is called for the pieces in their
	// order; frame is the whole part, and both frame and payload have their sizes.
	write func(frame []byte, at int, piece []byte)
	// verbatim is true when write only copies.
	verbatim bool
	// sample is a payload that every model of this input should be able to take; nil when there is none.
	sample []byte
}

// Packer writes payloads into batch tensors. It is immutable and so safe for concurrent use.
type Packer struct {
	form  packing
	bytes int // of a frame in a batch, 0 when that depends on the payload
}

// prefix is the size of the length before each element of a BYTES tensor.
const prefix = 4

// NewPacker checks a description and prepares its arithmetic.
func NewPacker(in Input) (*Packer, error) {
	form, err := in.packing()
	if err != nil {
		return nil, err
	}
	k := &Packer{form: form}
	if size := form.datatype.Size(); size > 0 {
		k.bytes = size
		for _, extent := range form.shapes[0] {
			k.bytes *= extent
		}
	}
	return k, nil
}

// Datatype gives the datatype of the tensor.
func (k *Packer) Datatype() media.Datatype { return k.form.datatype }

// Shapes gives the shapes of one frame that a model may declare after its batch axis, the preferred one first. They hold the same elements in the same order.
func (k *Packer) Shapes() [][]int { return k.form.shapes }

// Spec describes the tensor that a model should take, its batch axis free.
func (k *Packer) Spec(name string) media.TensorSpec {
	return media.TensorSpec{Name: name, Datatype: k.form.datatype, Shape: slices.Concat([]int{-1}, k.form.shapes[0])}
}

// FrameBytes gives the size of a payload in a batch. Frame i lies where the sizes of those before it end.
func (k *Packer) FrameBytes(payload media.Payload) int {
	if k.bytes == 0 {
		return prefix + payload.Len()
	}
	return k.bytes
}

// Sample gives a payload without content for trying a model: black, silent, zero. It is nil when there is none that any model must take. The caller may only read it.
func (k *Packer) Sample() []byte { return k.form.sample }

// Verbatim tells whether payloads of one size are the model's tensor already, so that a batch is nothing but its payloads one after the other.
func (k *Packer) Verbatim() bool { return k.form.verbatim && k.bytes > 0 }

// Check tells what is wrong with the size of a payload.
func (k *Packer) Check(payload media.Payload) error {
	length := payload.Len()
	if k.bytes == 0 && (length == 0 || length > k.form.payload) {
		return fmt.Errorf("payload of %d bytes: must be from 1 to %d", length, k.form.payload)
	}
	if k.bytes > 0 && length != k.form.payload {
		return fmt.Errorf("payload of %d bytes: %s %v has %d", length, k.form.datatype, k.form.shapes[0], k.form.payload)
	}
	return nil
}

// Pack appends one payload to a batch and gives the longer batch. Each byte of the payload is read once, in the piece in which it lies. It fails when the payload has
// not its size; the batch is unchanged then.
func (k *Packer) Pack(batch []byte, payload media.Payload) ([]byte, error) {
	if err := k.Check(payload); err != nil {
		return batch, err
	}
	size, begin := k.FrameBytes(payload), len(batch)
	batch = slices.Grow(batch, size)[:begin+size]
	at := 0
	for _, piece := range payload {
		k.form.write(batch[begin:], at, piece)
		at += len(piece)
	}
	return batch, nil
}

// verbatim takes payloads as they are.
func verbatim(frame []byte, at int, piece []byte) { copy(frame[at:], piece) }
