package detect

import (
	"fmt"
	"math"

	"github.com/sluice-dev/sluice/pkg/media"
)

// embedding reads one vector. Its axes, if it has several, are read as one.
type embedding struct{}

func (embedding) accept(outputs []media.TensorSpec) error {
	if len(outputs) != 1 {
		return fmt.Errorf("%d outputs: an embedding is one; name it if there are others", len(outputs))
	}
	o := outputs[0]
	if !floats(o.Datatype) || len(o.Shape) < 2 {
		return fmt.Errorf("output %s: an embedding needs floats of [?,features]", o)
	}
	if n := atLeast(o.Shape[1:]); n > maxValues {
		return fmt.Errorf("output %s: an embedding holds at most %d numbers", o, maxValues)
	}
	return nil
}

func (embedding) decode(outputs []media.RawTensor, _ media.Placement) (*media.Result, error) {
	if len(outputs) != 1 || !floats(outputs[0].Datatype) {
		return nil, fmt.Errorf("%d outputs: an embedding is one, of floats", len(outputs))
	}
	o := outputs[0]
	n := elements(o.Shape)
	if n < 0 || n > maxValues {
		return nil, fmt.Errorf("%v: an embedding holds at most %d numbers", o.Shape, maxValues)
	}
	vector := make([]float32, n)
	for i := range vector {
		v := float32(value(o, i)) // what does not fit becomes infinite
		if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
			return nil, fmt.Errorf("element %d is not finite", i)
		}
		vector[i] = v
	}
	return &media.Result{Embedding: vector}, nil
}
