package detect

import (
	"errors"
	"fmt"
	"math"

	"github.com/sluice-dev/sluice/pkg/media"
)

// centerFace reads CenterFace's outputs, maps of a quarter of the picture's size. For a cell at (row, column) with a heat above the threshold,
// a face's centre is at (column + 0.5 + offset x, row + 0.5 + offset y) × 4 pixels and its sides are exp(size) × 4 pixels. Sizes, offsets and
// each landmark come as (y, x); landmarks are fractions of the box from its upper left corner: eyes, nose, corners of the mouth.
type centerFace struct {
	threshold     float64
	label         string
	rows, columns int
}

const (
	centerFaceStride = 4
	// centerFaceSides is what the network's halving needs the sides of its input to be multiples of.
	centerFaceSides = 32
	// centerFaceOverlap is the overlap beyond which two boxes are one face, as in the network's own post-processing.
	centerFaceOverlap = 0.3
	centerFaceMarks   = 5
)

// The order of the outputs, and the channels of each.
const (
	heatMap = iota
	sizes
	offsets
	landmarks
	centerFaceOutputs
)

func centerFaceChannels() [centerFaceOutputs]int { return [...]int{1, 2, 2, 2 * centerFaceMarks} }

func newCenterFace(config Config) (centerFace, error) {
	width, height := config.Input.Width, config.Input.Height
	if config.Input.Encoding != media.Pixels {
		return centerFace{}, errors.New("centerface finds places in the pixels of its input, and this model gets files")
	}
	if width <= 0 || height <= 0 || width%centerFaceSides != 0 || height%centerFaceSides != 0 {
		return centerFace{}, fmt.Errorf("input %d×%d: centerface needs sides that are multiples of %d", width, height, centerFaceSides)
	}
	if len(config.Labels) > 1 {
		return centerFace{}, fmt.Errorf("%d labels: centerface has one class", len(config.Labels))
	}
	c := centerFace{threshold: config.Threshold, label: "face", rows: height / centerFaceStride, columns: width / centerFaceStride}
	if len(config.Labels) == 1 {
		c.label = config.Labels[0]
	}
	return c, nil
}

func (c centerFace) accept(outputs []media.TensorSpec) error {
	if len(outputs) != centerFaceOutputs {
		return fmt.Errorf("%d outputs: centerface has %d (heat map, sizes, offsets, landmarks)", len(outputs), centerFaceOutputs)
	}
	for i, channels := range centerFaceChannels() {
		o := outputs[i]
		want := []int{-1, channels, c.rows, c.columns}
		fits := floats(o.Datatype) && len(o.Shape) == len(want)
		for axis := 1; fits && axis < len(want); axis++ {
			fits = o.Shape[axis] < 0 || o.Shape[axis] == want[axis]
		}
		if !fits {
			return fmt.Errorf("output %s: centerface needs floats of %s",
				o, media.TensorSpec{Name: "output", Datatype: media.FP32, Shape: want})
		}
	}
	return nil
}

func (c centerFace) decode(outputs []media.RawTensor, placement media.Placement) (*media.Result, error) {
	if len(outputs) != centerFaceOutputs {
		return nil, fmt.Errorf("%d outputs: centerface has %d", len(outputs), centerFaceOutputs)
	}
	for i, channels := range centerFaceChannels() {
		o := outputs[i]
		if !floats(o.Datatype) || len(o.Shape) != 3 || o.Shape[0] != channels || o.Shape[1] != c.rows || o.Shape[2] != c.columns {
			return nil, fmt.Errorf("output %d: %s %v, centerface needs floats of [%d %d %d]",
				i, o.Datatype, o.Shape, channels, c.rows, c.columns)
		}
	}
	found := shortlist{threshold: c.threshold}
	for cell := range c.rows * c.columns {
		if heat := value(outputs[heatMap], cell); found.admits(heat) {
			found.add(c.face(outputs, cell, heat))
		}
	}
	result := &media.Result{}
	kept := suppress(found.best(), centerFaceOverlap)
	for i := range kept {
		if d, ok := detection(&kept[i], c.label, placement); ok {
			d.Landmarks = c.marks(outputs, kept[i].index, placement)
			result.Detections = append(result.Detections, d)
		}
	}
	return result, nil
}

// box reads the box whose centre lies in a cell: that centre and its sides, in pixels of the payload. Any of them may be infinite.
func (c centerFace) box(outputs []media.RawTensor, cell int) (x, y, width, height float64) {
	plane := c.rows * c.columns
	row, column := cell/c.columns, cell%c.columns
	height = math.Exp(value(outputs[sizes], cell)) * centerFaceStride
	width = math.Exp(value(outputs[sizes], plane+cell)) * centerFaceStride
	y = (float64(row) + 0.5 + value(outputs[offsets], cell)) * centerFaceStride
	x = (float64(column) + 0.5 + value(outputs[offsets], plane+cell)) * centerFaceStride
	return x, y, width, height
}

// face reads the face whose centre lies in a cell. The network sees nothing beyond the payload, so a box does not reach beyond it.
func (c centerFace) face(outputs []media.RawTensor, cell int, heat float64) candidate {
	x, y, width, height := c.box(outputs, cell)
	return candidate{
		score: heat, index: cell,
		left: max(x-width/2, 0), top: max(y-height/2, 0),
		right:  min(x+width/2, float64(c.columns*centerFaceStride)),
		bottom: min(y+height/2, float64(c.rows*centerFaceStride)),
	}
}

// marks reads the landmarks of that face, in fractions of the source picture.
func (c centerFace) marks(outputs []media.RawTensor, cell int, placement media.Placement) []media.Point {
	x, y, width, height := c.box(outputs, cell)
	plane := c.rows * c.columns
	marks := make([]media.Point, centerFaceMarks)
	for i := range marks {
		markX := x - width/2 + width*value(outputs[landmarks], (2*i+1)*plane+cell)
		markY := y - height/2 + height*value(outputs[landmarks], 2*i*plane+cell)
		marks[i] = clip(place(markX, markY, placement))
	}
	return marks
}
