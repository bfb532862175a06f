package detect

import (
	"fmt"
	"math"
	"slices"

	"github.com/sluice-dev/sluice/pkg/media"
)

// tensors hands the outputs on as they are.
type tensors struct{}

// maxValues bounds the numbers of one result, which travel to a browser as JSON: about 300 KiB of text.
const maxValues = 1 << 14

func (tensors) accept(outputs []media.TensorSpec) error {
	total := 0
	for _, o := range outputs {
		if o.Datatype.Size() == 0 || len(o.Shape) == 0 {
			return fmt.Errorf("output %s: cannot be given as numbers", o)
		}
		total += atLeast(o.Shape[1:])
	}
	if total > maxValues {
		return fmt.Errorf("%d numbers or more a frame: a result holds at most %d; name fewer outputs", total, maxValues)
	}
	return nil
}

// atLeast gives the number of elements that a declared shape has at least, cut off above maxValues. A free extent counts as one: what it
// really is shows in each reply.
func atLeast(shape []int) int {
	n := 1
	for _, extent := range shape {
		if extent >= 0 {
			n = min(n*min(extent, maxValues+1), maxValues+1)
		}
	}
	return n
}

func (tensors) decode(outputs []media.RawTensor, _ media.Placement) (*media.Result, error) {
	total := 0
	for _, o := range outputs {
		total += elements(o.Shape)
	}
	if total > maxValues {
		return nil, fmt.Errorf("%d numbers in a frame: a result holds at most %d", total, maxValues)
	}
	result := &media.Result{}
	for _, o := range outputs {
		t := media.Tensor{Name: o.Name, Datatype: string(o.Datatype), Shape: slices.Clone(o.Shape), Values: make([]float64, elements(o.Shape))}
		for i := range t.Values {
			t.Values[i] = value(o, i)
			if math.IsNaN(t.Values[i]) || math.IsInf(t.Values[i], 0) {
				return nil, fmt.Errorf("output %q: element %d is not finite", o.Name, i)
			}
		}
		result.Tensors = append(result.Tensors, t)
	}
	return result, nil
}
