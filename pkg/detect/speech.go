package detect

import (
	"fmt"
	"math"

	"github.com/sluice-dev/sluice/pkg/media"
)

// speech reads the one number of a voice activity detector.
type speech struct{}

func (speech) accept(outputs []media.TensorSpec) error {
	if len(outputs) != 1 {
		return fmt.Errorf("%d outputs: a speech detector has one probability; name it if there are others", len(outputs))
	}
	o := outputs[0]
	if !floats(o.Datatype) || len(o.Shape) == 0 || atLeast(o.Shape[1:]) != 1 {
		return fmt.Errorf("output %s: a speech detector needs one float a frame", o)
	}
	return nil
}

func (speech) decode(outputs []media.RawTensor, _ media.Placement) (*media.Result, error) {
	if len(outputs) != 1 || !floats(outputs[0].Datatype) || elements(outputs[0].Shape) != 1 {
		return nil, fmt.Errorf("%d outputs: a speech detector needs one float", len(outputs))
	}
	p := value(outputs[0], 0)
	if math.IsNaN(p) || math.IsInf(p, 0) {
		return nil, fmt.Errorf("the probability is not finite")
	}
	return &media.Result{Speech: []media.Speech{{Probability: probability(p)}}}, nil
}
