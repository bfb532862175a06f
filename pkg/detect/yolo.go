package detect

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/sluice-dev/sluice/pkg/media"
)

// yolo reads the one output of a detector of the YOLO family. The family has four kinds of heads, which differ in where the numbers of a box
// lie and in what has been done to them; see head.
type yolo struct {
	threshold, overlap float64
	labels             []string
	head               head // anyHead: what the shape of the output says
	units              units
}

// head is a kind of YOLO head, named after the version that brought it.
type head uint8

const (
	anyHead head = iota
	// headV5: [boxes, 5 + classes]; centre, sides, the probability that there is an object, and those of the classes if there is. YOLOv3 to v7.
	headV5
	// headV8: [4 + classes, boxes]; centre, sides, the probabilities of the classes. YOLOv8, v9, 11 and 12.
	headV8
	// headV10: [boxes, 6]; two corners, the best class's probability, its number. Overlaps are gone already. YOLOv10, YOLO26, and what is
	// exported with its own suppression.
	headV10
	// headX: [cells, 5 + classes]; as v5, but the centre relative to the cell of a grid and the sides as logarithms, both in strides. YOLOX.
	headX
)

// headNames are the words of Config.Version, in the order of the heads.
func headNames() []string { return []string{"", "v5", "v8", "v10", "yolox"} }

// String gives the configuration's word.
func (h head) String() string { return headNames()[h] }

// form gives a head's shape as people write it.
func (h head) form() string {
	return [...]string{"", "[?,boxes,5+classes]", "[?,4+classes,boxes]", "[?,boxes,6]", "[?,cells,5+classes]"}[h]
}

const (
	// yoloOverlap is the usual overlap beyond which two boxes are one object.
	yoloOverlap = 0.45
	// Where the numbers of a box are.
	centerX, centerY, boxWidth, boxHeight = 0, 1, 2, 3
	boxNumbers                            = 4
	objectness                            = 4 // of v5 and yolox, before the classes
	endScore, endClass, endNumbers        = 4, 5, 6
)

func newYOLO(config Config) (yolo, error) {
	u, err := newUnits(config, pixelUnits)
	if err != nil {
		return yolo{}, err
	}
	at := slices.Index(headNames(), config.Version)
	if at < 0 {
		return yolo{}, fmt.Errorf("version %q: must be v5, v8, v10 or yolox, or empty to go by the output's shape", config.Version)
	}
	y := yolo{threshold: config.Threshold, overlap: config.Overlap, labels: slices.Clone(config.Labels), head: head(at), units: u}
	if y.overlap == 0 {
		y.overlap = yoloOverlap
	}
	if y.head == headX && (u.input.Encoding != media.Pixels || u.normalized) {
		return yolo{}, fmt.Errorf("version yolox: its boxes are relative to a grid over the pixels of the input, and neither files nor normalized")
	}
	return y, nil
}

func (y yolo) accept(outputs []media.TensorSpec) error {
	if len(outputs) != 1 {
		return fmt.Errorf("%d outputs: yolo reads one; name it if there are others", len(outputs))
	}
	o := outputs[0]
	if !floats(o.Datatype) || len(o.Shape) != 3 {
		return fmt.Errorf("output %s: yolo needs floats of %s", o, y.wanted())
	}
	if _, err := y.read(o.Shape[1], o.Shape[2]); err != nil {
		return fmt.Errorf("output %s: %w", o, err)
	}
	return nil
}

// wanted tells what shapes would do.
func (y yolo) wanted() string {
	if y.head != anyHead {
		return y.head.form()
	}
	var all []string
	for h := headV5; h <= headX; h++ {
		all = append(all, fmt.Sprintf("%s (%s)", h.form(), h))
	}
	return strings.Join(all, ", ")
}

// layout says how an output is to be read. Extents that are not known yet are negative.
type layout struct {
	head           head
	boxes, classes int
}

// read finds out how an output of rows and columns, the batch axis removed, is to be read. A negative extent is free.
func (y yolo) read(rows, columns int) (layout, error) {
	l := layout{head: y.head}
	if l.head == anyHead {
		var err error
		if l.head, err = y.recognise(rows, columns); err != nil {
			return layout{}, err
		}
	}
	numbers := columns
	switch l.boxes = rows; l.head {
	case headV8:
		l.boxes, numbers = columns, rows
		l.classes = numbers - boxNumbers
	case headV10:
		l.classes = maxClasses
		if numbers >= 0 && numbers != endNumbers {
			return layout{}, fmt.Errorf("yolo %s needs floats of %s", l.head, l.head.form())
		}
		return l, nil
	default:
		l.classes = numbers - boxNumbers - 1
	}
	switch {
	case numbers < 0:
		l.classes = -1
	case l.classes < 1 || l.classes > maxClasses:
		return layout{}, fmt.Errorf("yolo %s needs floats of %s, of 1 to %d classes", l.head, l.head.form(), maxClasses)
	case len(y.labels) > 0 && len(y.labels) != l.classes:
		return layout{}, fmt.Errorf("%d labels for %d classes of yolo %s: give one for each, or none", len(y.labels), l.classes, l.head)
	}
	if l.head == headX && l.boxes >= 0 && y.grid(l.boxes) == nil {
		return layout{}, fmt.Errorf("yolo %s of an input of %d×%d has %d cells, or %d with a fourth stride", l.head, y.units.input.Width, y.units.input.Height,
			y.cells(yoloXStrides()[:3]), y.cells(yoloXStrides()))
	}
	return l, nil
}

// recognise tells which head has an output of these extents, where only one can: v5 has three boxes for each cell of its grids, v8 one, and v10 as many as
// its author liked.
func (y yolo) recognise(rows, columns int) (head, error) {
	var fits []head
	cell := false // as many rows as cells, which says that there is one box a cell and not what its numbers are
	for _, strides := range [][]int{{8, 16, 32}, {8, 16, 32, 64}, {4, 8, 16, 32}, {16, 32}} {
		n := y.cells(strides)
		cell = cell || rows == n
		if rows == 3*n && columns > boxNumbers+1 && !slices.Contains(fits, headV5) {
			fits = append(fits, headV5)
		}
		if columns == n && rows > boxNumbers && !slices.Contains(fits, headV8) {
			fits = append(fits, headV8)
		}
	}
	if len(fits) == 0 && rows > 0 && !cell && columns == endNumbers {
		fits = append(fits, headV10)
	}
	if len(fits) != 1 {
		return anyHead, fmt.Errorf("its shape does not tell which YOLO this is, for an input of %d×%d: set the version to the one of %s that it is",
			y.units.input.Width, y.units.input.Height, y.wanted())
	}
	return fits[0], nil
}

// cells counts the cells of grids of these strides over the input, -1 when there is none.
func (y yolo) cells(strides []int) int {
	in := y.units.input
	if in.Encoding != media.Pixels {
		return -1 // the model scales what it gets to a size that only it knows
	}
	n := 0
	for _, s := range strides {
		n += ((in.Width + s - 1) / s) * ((in.Height + s - 1) / s)
	}
	return n
}

func yoloXStrides() []int { return []int{8, 16, 32, 64} }

// grid gives the strides of a YOLOX head of so many cells, nil when there is none.
func (y yolo) grid(cells int) []int {
	for _, strides := range [][]int{yoloXStrides()[:3], yoloXStrides()} {
		if y.cells(strides) == cells {
			return strides
		}
	}
	return nil
}

func (y yolo) decode(outputs []media.RawTensor, placement media.Placement) (*media.Result, error) {
	if len(outputs) != 1 || !floats(outputs[0].Datatype) || len(outputs[0].Shape) != 2 {
		return nil, fmt.Errorf("%d outputs: yolo reads one, of floats with two axes a frame", len(outputs))
	}
	o := outputs[0]
	l, err := y.read(o.Shape[0], o.Shape[1])
	if err != nil {
		return nil, fmt.Errorf("output %v: %w", o.Shape, err)
	}
	scaleX, scaleY := y.units.scale(placement)
	scan := scan{tensor: o, layout: l, scaleX: scaleX, scaleY: scaleY, found: shortlist{threshold: y.threshold}}
	switch l.head {
	case headV8:
		scan.columns()
	case headV10:
		scan.ends()
		return &media.Result{Detections: detections(scan.found.best(), y.labels, placement)}, nil
	case headX:
		scan.strides, scan.width, scan.height = y.grid(l.boxes), y.units.input.Width, y.units.input.Height
		scan.rows()
	default:
		scan.rows()
	}
	return &media.Result{Detections: detections(suppress(scan.found.best(), y.overlap), y.labels, placement)}, nil
}

// isClass tells whether a number that a model gave names a class.
func isClass(v float64) bool { return v >= 0 && v < maxClasses && v == math.Trunc(v) }
