package detect

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"

	"github.com/sluice-dev/sluice/pkg/media"
)

// classes reads one number for each class.
type classes struct {
	threshold float64
	labels    []string
	softmax   bool
}

const (
	// maxClasses bounds what a model may tell apart.
	maxClasses = 1 << 16
	// maxResults bounds what a client is told: the best of them.
	maxResults = 16
)

func (c classes) accept(outputs []media.TensorSpec) error {
	if len(outputs) != 1 {
		return fmt.Errorf("%d outputs: a classifier has one; name it if there are others", len(outputs))
	}
	o := outputs[0]
	if !floats(o.Datatype) || len(o.Shape) < 2 || slices.ContainsFunc(o.Shape[2:], func(extent int) bool { return extent > 1 }) {
		return fmt.Errorf("output %s: a classifier needs floats of [?,classes]", o)
	}
	return c.count(o.Shape[1])
}

// count checks a number of classes, negative when not known yet.
func (c classes) count(n int) error {
	if n > maxClasses {
		return fmt.Errorf("%d classes: at most %d are possible", n, maxClasses)
	}
	if n >= 0 && len(c.labels) > n {
		return fmt.Errorf("%d labels for %d classes", len(c.labels), n)
	}
	return nil
}

func (c classes) decode(outputs []media.RawTensor, _ media.Placement) (*media.Result, error) {
	if len(outputs) != 1 {
		return nil, fmt.Errorf("%d outputs: a classifier has one", len(outputs))
	}
	o := outputs[0]
	if !floats(o.Datatype) || len(o.Shape) == 0 || elements(o.Shape) != o.Shape[0] {
		return nil, fmt.Errorf("%s %v: a classifier needs floats of [classes]", o.Datatype, o.Shape)
	}
	if err := c.count(o.Shape[0]); err != nil {
		return nil, err
	}
	scores := make([]float64, o.Shape[0])
	for i := range scores {
		scores[i] = value(o, i)
	}
	if c.softmax {
		softmax(scores)
	}
	result := &media.Result{}
	for i, score := range scores {
		if score = probability(score); score >= c.threshold {
			result.Classes = append(result.Classes, media.Classification{Label: label(c.labels, i), Score: score})
		}
	}
	slices.SortStableFunc(result.Classes, func(a, b media.Classification) int { return cmp.Compare(b.Score, a.Score) })
	result.Classes = slices.Clip(result.Classes[:min(len(result.Classes), maxResults)])
	return result, nil
}

// label names a class, by its number when it has no label.
func label(labels []string, class int) string {
	if class < len(labels) {
		return labels[class]
	}
	return strconv.Itoa(class)
}

// softmax turns logits into probabilities in place. Taking the greatest off first keeps every power finite.
func softmax(logits []float64) {
	if len(logits) == 0 {
		return
	}
	greatest, sum := slices.Max(logits), 0.0
	for i, v := range logits {
		logits[i] = math.Exp(v - greatest)
		sum += logits[i]
	}
	for i := range logits {
		logits[i] /= sum
	}
}
