package backend

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/pkg/tensor"
)

// misfit is one thing in which a target and the configuration differ.
type misfit struct {
	change string // as in Mismatch
	error
}

// differ makes a misfit.
func differ(change, format string, args ...any) error {
	return misfit{change, fmt.Errorf(format, args...)}
}

// changeOf gives what would settle an error, empty when nothing is known.
func changeOf(err error) string {
	var m misfit
	errors.As(err, &m)
	return printable(m.change)
}

// fits tells whether a served input takes frames of a shape. Its first axis is the batch's.
func fits(served media.TensorSpec, frame []int) bool {
	return len(served.Shape) == 1+len(frame) &&
		slices.EqualFunc(served.Shape[1:], frame, func(extent, want int) bool { return extent < 0 || extent == want })
}

// takes tells whether a served input takes frames of an input, if that is one that can be.
func takes(served media.TensorSpec, in tensor.Input) bool {
	packer, err := tensor.NewPacker(in)
	return err == nil && packer.Datatype() == served.Datatype && slices.ContainsFunc(packer.Shapes(), func(shape []int) bool { return fits(served, shape) })
}

// datatypeChange says how an input becomes one of the served datatype.
func datatypeChange(in tensor.Input, served media.TensorSpec) string {
	switch in.(type) {
	case tensor.Text:
		return "input.kind"
	case tensor.JPEG:
		return "input.encoding"
	}
	if served.Datatype == media.Bytes {
		return "input.kind, or input.encoding: jpeg"
	}
	return "input.dtype: " + string(served.Datatype)
}

// shapeChange says how an input becomes one of the served shape.
func shapeChange(in tensor.Input, served media.TensorSpec) string {
	if len(served.Shape) == 0 {
		return ""
	}
	frame := served.Shape[1:]
	switch in := in.(type) {
	case tensor.Picture:
		return pictureChange(in, served)
	case tensor.Sound:
		if n := len(frame); n > 0 && frame[n-1] > 0 && takes(served, tensor.Sound{Samples: frame[n-1], Datatype: in.Datatype}) {
			return fmt.Sprintf("input.window and input.context: %d samples together", frame[n-1])
		}
		return "input.kind"
	case tensor.Raw:
		if takes(served, tensor.Raw{Datatype: in.Datatype, Shape: frame}) {
			return "input.shape: [" + strings.Trim(strings.Join(strings.Fields(fmt.Sprint(frame)), ", "), "[]") + "]"
		}
		return "input.shape"
	default:
		return ""
	}
}

// pictureChange tries the other layout, then the served size in the configured one, then both.
func pictureChange(in tensor.Picture, served media.TensorSpec) string {
	other := tensor.NHWC
	if in.Layout == tensor.NHWC {
		other = tensor.NCHW
	}
	for _, try := range []struct {
		layout tensor.Layout
		size   bool
	}{{other, false}, {in.Layout, true}, {other, true}} {
		var changes []string
		if try.layout != in.Layout {
			changes = append(changes, "input.layout: "+string(try.layout))
		}
		height, width := in.Height, in.Width
		if try.size && len(served.Shape) == 4 {
			row := 2 // of the axes
			if try.layout == tensor.NHWC {
				row = 1
			}
			height, changes = sized(height, served.Shape[row], "height", changes)
			width, changes = sized(width, served.Shape[row+1], "width", changes)
		}
		frame := []int{3, height, width}
		if try.layout == tensor.NHWC {
			frame = []int{height, width, 3}
		}
		if fits(served, frame) {
			return strings.Join(changes, ", ")
		}
	}
	return "input.kind"
}

// sized takes over a served extent where it is another one and not free.
func sized(configured, served int, side string, changes []string) (int, []string) {
	if served < 1 || served == configured {
		return configured, changes
	}
	return served, append(changes, fmt.Sprintf("input.%s: %d", side, served))
}
