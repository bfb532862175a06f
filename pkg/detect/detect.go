// Package detect turns the tensors of one frame into a typed result: boxes, classes, a voice's activity, an embedding, JSON, or the tensors themselves. Decoders
// are pure and immutable; whatever numbers a model gives, a result holds finite scores from 0 to 1 and boxes inside the picture.
package detect

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/sluice-dev/sluice/pkg/media"
)

// Config chooses a decoder and sets it up.
type Config struct {
	// Decoder is one of:
	//
	//   - centerface: the four outputs of CenterFace (arXiv:1911.03599): heat map, sizes, offsets, landmarks. Results are detections.
	//   - yolo: the one output of a detector of the YOLO family, in the form that Version says. Results are detections.
	//   - ssd: boxes and scores of a single-shot detector, with classes and a count or scores for all classes. Boxes are corners: offsets from priors (anchors), which some
	//     networks end in, are not read, for the priors are not in the model's answer. Results are detections.
	//   - classes: one output of a logit for each class, turned into probabilities by softmax. Results are classes.
	//   - probabilities: one output of a probability for each class. Results are classes.
	//   - speech: one output of one probability, that a window of sound holds speech. Results are speech.
	//   - embedding: one output of floats, as they are. Results are an embedding.
	//   - json: outputs of BYTES, each element a JSON text. Results are JSON.
	//   - tensors: all outputs, or those named, as they are. Results are tensors.
	Decoder string
	// Input is the form of the pictures that the model gets; zero when it gets none.
	Input media.PictureInput
	// Threshold is the least score of a result, 0 to 1. Used by all that give detections or classes.
	Threshold float64
	// Labels names the classes in the model's order; a class without a label is called by its number. centerface finds "face" unless a
	// label is given. yolo takes one for each class or none. ssd counts the background as class 0 where the model does.
	Labels []string
	// Outputs names the output tensors in the order that the decoder expects them; empty takes the model's own order. For ssd the order is boxes,
	// scores, classes, count, and empty means that their names tell.
	Outputs []string
	// Version is the head of a yolo model: v5 (YOLOv3 to v7), v8 (v8, v9, 11, 12), v10 (what suppresses overlaps itself) or yolox; empty where the
	// output's shape tells.
	Version string
	// Coordinates says what boxes are measured in, pixels or normalized (fractions) of the picture that the model gets; empty means pixels for yolo and
	// normalized for ssd.
	Coordinates string
	// Corners is the order of the numbers of ssd's boxes, xyxy or yxyx; empty means TensorFlow's yxyx for outputs with TensorFlow's names, else xyxy.
	Corners string
	// Overlap is the intersection over union beyond which the worse of two boxes of a class is dropped, up to 1; 0 means 0.45. Used by
	// yolo and ssd, where the model has not done it itself.
	Overlap float64
}

// Decoder turns outputs into results. It is immutable and so safe for concurrent use.
type Decoder struct {
	kind    string
	outputs []string
	form    form
}

// form is what one kind of decoder knows. Both methods get the outputs in the order that the decoder expects.
type form interface {
	// accept checks the outputs of a batch, batch axis included.
	accept(outputs []media.TensorSpec) error
	// decode checks the outputs of a frame, batch axis removed, and makes its result.
	decode(outputs []media.RawTensor, placement media.Placement) (*media.Result, error)
}

// New checks a configuration.
func New(config Config) (*Decoder, error) {
	if math.IsNaN(config.Threshold) || config.Threshold < 0 || config.Threshold > 1 {
		return nil, fmt.Errorf("threshold %g: must be from 0 to 1", config.Threshold)
	}
	if !(config.Overlap >= 0 && config.Overlap <= 1) {
		return nil, fmt.Errorf("overlap %g: must be from 0 to 1", config.Overlap)
	}
	if err := unused(config); err != nil {
		return nil, err
	}
	d := &Decoder{outputs: slices.Clone(config.Outputs)}
	for i, name := range d.outputs {
		if slices.Contains(d.outputs[:i], name) {
			return nil, fmt.Errorf("output %q is named twice", name)
		}
	}
	var err error
	switch config.Decoder {
	case "centerface":
		d.kind = "detections"
		d.form, err = newCenterFace(config)
	case "yolo":
		d.kind = "detections"
		d.form, err = newYOLO(config)
	case "ssd":
		d.kind = "detections"
		d.form, err = newSSD(config)
	case "classes":
		d.kind, d.form = "classes", classes{threshold: config.Threshold, labels: slices.Clone(config.Labels), softmax: true}
	case "probabilities":
		d.kind, d.form = "classes", classes{threshold: config.Threshold, labels: slices.Clone(config.Labels)}
	case "speech":
		d.kind, d.form = "speech", speech{}
	case "embedding":
		d.kind, d.form = "embedding", embedding{}
	case "json":
		d.kind, d.form = "json", documents{}
	case "tensors":
		d.kind, d.form = "tensors", tensors{}
	default:
		err = fmt.Errorf("decoder %q: must be centerface, yolo, ssd, classes, probabilities, speech, embedding, json or tensors", config.Decoder)
	}
	if err != nil {
		return nil, err
	}
	return d, nil
}

// unused refuses settings that the decoder has no use for: who writes them expects them to do something.
func unused(config Config) error {
	for _, s := range []struct {
		name     string
		set      bool
		decoders []string
	}{
		{"version", config.Version != "", []string{"yolo"}},
		{"coordinates", config.Coordinates != "", []string{"yolo", "ssd"}},
		{"corners", config.Corners != "", []string{"ssd"}},
		{"overlap", config.Overlap != 0, []string{"yolo", "ssd"}},
	} {
		if s.set && !slices.Contains(s.decoders, config.Decoder) {
			return fmt.Errorf("%s: is for %s, and not for %s", s.name, strings.Join(s.decoders, " and "), config.Decoder)
		}
	}
	return nil
}

// Kind names the results: detections, classes, speech, embedding, json or tensors.
func (d *Decoder) Kind() string { return d.kind }

// Accept tells whether a model with these outputs can be decoded; the batch axis is the first of each.
func (d *Decoder) Accept(outputs []media.TensorSpec) error {
	chosen, err := choose(outputs, d.outputs, func(s media.TensorSpec) string { return s.Name })
	if err != nil {
		return err
	}
	return d.form.accept(chosen)
}

// Decode makes the result of one frame of its outputs, batch axis removed. It keeps nothing of outputs. An error says that the outputs are not
// such as Accept allows.
func (d *Decoder) Decode(outputs []media.RawTensor, placement media.Placement) (*media.Result, error) {
	chosen, err := choose(outputs, d.outputs, func(t media.RawTensor) string { return t.Name })
	if err != nil {
		return nil, err
	}
	for i, t := range chosen {
		if t.Datatype == media.Bytes {
			continue // its elements show as they are read
		}
		if size := t.Datatype.Size(); size == 0 || elements(t.Shape) != len(t.Data)/size || len(t.Data)%size != 0 {
			return nil, fmt.Errorf("output %d: %d bytes do not make %s %v", i, len(t.Data), t.Datatype, t.Shape)
		}
	}
	return d.form.decode(chosen, placement)
}

// choose gives the items with the wanted names in that order, or all of them when no name is wanted.
func choose[T any](items []T, wanted []string, name func(T) string) ([]T, error) {
	if len(wanted) == 0 {
		return items, nil
	}
	chosen := make([]T, len(wanted))
	for i, w := range wanted {
		at := slices.IndexFunc(items, func(item T) bool { return name(item) == w })
		if at < 0 {
			return nil, fmt.Errorf("there is no output %q", w)
		}
		chosen[i] = items[at]
	}
	return chosen, nil
}
