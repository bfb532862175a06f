// Package detect turns the tensors of one frame into a typed result: boxes, classes or the tensors themselves. Decoders are pure and
// immutable; whatever numbers a model gives, a result holds finite scores from 0 to 1 and boxes inside the picture.
package detect

import (
	"github.com/sluice-dev/sluice/pkg/media"
)

// Config chooses a decoder and sets it up.
type Config struct {
	// Decoder is centerface, classes or tensors.
	Decoder string
	// Input is the form of the pictures that the model gets.
	Input media.PictureInput
	// Threshold is the least score of a result, 0 to 1. Not used by tensors.
	Threshold float64
	// Labels names the classes in the model's order; a class without a label is called by its number. centerface finds "face" unless a
	// label is given.
	Labels []string
	// Outputs names the output tensors in the order that the decoder expects them; empty takes the model's own order.
	Outputs []string
}

// Decoder turns outputs into results. It is immutable and so safe for concurrent use.
type Decoder struct{}

// New checks a configuration.
func New(config Config) (*Decoder, error) { panic("not yet") }

// Kind names the results: detections, classes or tensors.
func (d *Decoder) Kind() string { panic("not yet") }

// Accept tells whether a model with these outputs can be decoded; the batch axis is the first of each.
func (d *Decoder) Accept(outputs []media.TensorSpec) error { panic("not yet") }

// Decode makes the result of one frame of its outputs, batch axis removed. It keeps nothing of outputs. An error says that the outputs are not
// such as Accept allows.
func (d *Decoder) Decode(outputs []media.RawTensor, placement media.Placement) (*media.Result, error) {
	panic("not yet")
}
