package detect

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/sluice-dev/sluice/pkg/media"
)

// ssd reads the outputs of a single-shot detector, in either of the two forms that they are exported in:
//
//   - results: boxes [M, 4], scores [M], classes [M] unless there is but one, and the count of those of the M that hold something, [1]. Overlaps are gone already.
//   - boxes as the network finds them, priors applied: boxes [M, 4], and the scores of all classes for each, [M, classes], of which class 0 is the background.
type ssd struct {
	threshold, overlap float64
	labels             []string
	units              units
	named              bool   // the outputs come in the order of their roles
	corners            string // which of x and y comes first; empty: what the boxes' name says
}

// background is the class of what is no object, where there are scores for all classes.
const background = 0

// ssdOverlap is the overlap of the SSD paper (arXiv:1512.02325).
const ssdOverlap = 0.45

// The words of Config.Corners.
const (
	cornersXY = "xyxy"
	cornersYX = "yxyx"
)

// ssdRoles says which output holds what, by its place among the outputs; none for what there is not.
type ssdRoles struct {
	boxes, scores, classes, count int
	corners                       string
}

const none = -1

// ssdExport is a set of names by which the outputs of an export are known, empty for what it has not.
type ssdExport struct{ boxes, scores, classes, count, corners string }

// ssdExports lists the exports that are known by their names.
func ssdExports() []ssdExport {
	const lite = "TFLite_Detection_PostProcess"
	return []ssdExport{
		{"detection_boxes", "detection_scores", "detection_classes", "num_detections", cornersYX},         // TensorFlow's detection API
		{"detection_boxes:0", "detection_scores:0", "detection_classes:0", "num_detections:0", cornersYX}, // the same by way of tf2onnx
		{lite, lite + ":2", lite + ":1", lite + ":3", cornersYX},                                          // TensorFlow Lite
		{"bboxes", "scores", "labels", "", cornersXY},                                                     // the ONNX model zoo
		{"boxes", "scores", "labels", "", cornersXY},                                                      // torchvision
		{"boxes", "scores", "", "", cornersXY},                                                            // all classes' scores
	}
}

func newSSD(config Config) (ssd, error) {
	u, err := newUnits(config, normalizedUnits)
	if err != nil {
		return ssd{}, err
	}
	if config.Corners != "" && config.Corners != cornersXY && config.Corners != cornersYX {
		return ssd{}, fmt.Errorf("corners %q: must be %s or %s", config.Corners, cornersXY, cornersYX)
	}
	s := ssd{
		threshold: config.Threshold, overlap: config.Overlap, labels: slices.Clone(config.Labels), units: u,
		named: len(config.Outputs) > 0, corners: config.Corners,
	}
	if s.overlap == 0 {
		s.overlap = ssdOverlap
	}
	return s, nil
}

// assign finds out which output is which.
func (s ssd) assign(names []string) (ssdRoles, error) {
	roles := ssdRoles{classes: none, count: none, corners: cornersXY}
	if s.named {
		if len(names) < 2 || len(names) > 4 {
			return roles, fmt.Errorf("%d outputs are named: ssd reads 2 to 4 (boxes, scores, classes, count)", len(names))
		}
		roles.boxes, roles.scores = 0, 1
		if len(names) > 2 {
			roles.classes = 2
		}
		if len(names) > 3 {
			roles.count = 3
		}
		if strings.Contains(names[0], "detection_boxes") || strings.HasPrefix(names[0], "TFLite") {
			roles.corners = cornersYX // TensorFlow's way
		}
	} else {
		at := func(name string) int { return slices.Index(names, name) } // none where it is not there
		known := slices.IndexFunc(ssdExports(), func(e ssdExport) bool {
			return at(e.boxes) >= 0 && at(e.scores) >= 0 && (e.classes == "" || at(e.classes) >= 0)
		})
		if known < 0 {
			return roles, errors.New("their names do not tell which is which: name them in the order boxes, scores, classes, count, the last two where there are any")
		}
		e := ssdExports()[known]
		roles = ssdRoles{boxes: at(e.boxes), scores: at(e.scores), classes: at(e.classes), count: at(e.count), corners: e.corners}
	}
	if s.corners != "" {
		roles.corners = s.corners
	}
	return roles, nil
}

func (s ssd) accept(outputs []media.TensorSpec) error {
	texts, names, frames := make([]string, len(outputs)), make([]string, len(outputs)), make([]media.RawTensor, len(outputs))
	for i, o := range outputs {
		texts[i], names[i] = o.String(), o.Name
		if len(o.Shape) == 0 {
			return fmt.Errorf("output %s: has no batch axis", o)
		}
		frames[i] = media.RawTensor{Name: o.Name, Datatype: o.Datatype, Shape: o.Shape[1:]}
	}
	roles, err := s.assign(names)
	if err == nil {
		err = s.check(roles, frames)
	}
	if err != nil {
		return fmt.Errorf("outputs %s: %w", strings.Join(texts, ", "), err)
	}
	return nil
}

// check tells whether the outputs of a frame, or what is declared of them, have the types and shapes of one of the forms.
func (s ssd) check(roles ssdRoles, outputs []media.RawTensor) error {
	boxes, scores := outputs[roles.boxes], outputs[roles.scores]
	if !floats(boxes.Datatype) || len(boxes.Shape) != 2 || !within(boxes.Shape[1], boxNumbers, boxNumbers) {
		return fmt.Errorf("ssd needs boxes, floats of [?,boxes,4], and %q is not", boxes.Name)
	}
	each := func(t media.RawTensor, axes int) bool {
		return len(t.Shape) == axes && (t.Shape[0] == boxes.Shape[0] || t.Shape[0] < 0 || boxes.Shape[0] < 0)
	}
	if !floats(scores.Datatype) || !each(scores, 1) && !each(scores, 2) {
		return fmt.Errorf("ssd needs scores, floats of [?,boxes] or [?,boxes,classes], and %q is not", scores.Name)
	}
	if len(scores.Shape) == 2 {
		classes := scores.Shape[1]
		switch {
		case !within(classes, 2, maxClasses):
			return fmt.Errorf("ssd needs the scores of 2 to %d classes, the background first, and %q has %d", maxClasses, scores.Name, classes)
		case classes >= 0 && len(s.labels) > classes:
			return fmt.Errorf("%d labels for %d classes, the background first", len(s.labels), classes)
		case roles.classes != none:
			return fmt.Errorf("%q has scores for all classes, so that %q cannot name one for each box: leave it out", scores.Name, outputs[roles.classes].Name)
		}
	}
	if roles.classes != none {
		if t := outputs[roles.classes]; t.Datatype.Size() == 0 || !each(t, 1) {
			return fmt.Errorf("ssd needs classes, numbers of [?,boxes], and %q is not", t.Name)
		}
	}
	if roles.count != none {
		if t := outputs[roles.count]; t.Datatype.Size() == 0 || atLeast(t.Shape) != 1 {
			return fmt.Errorf("ssd needs one count a frame, and %q is not", t.Name)
		}
	}
	return nil
}

// within tells whether an extent is within bounds. A free one may be.
func within(extent, least, most int) bool { return extent < 0 || extent >= least && extent <= most }

func (s ssd) decode(outputs []media.RawTensor, placement media.Placement) (*media.Result, error) {
	names := make([]string, len(outputs))
	for i := range outputs {
		names[i] = outputs[i].Name
	}
	roles, err := s.assign(names)
	if err == nil {
		err = s.check(roles, outputs)
	}
	if err != nil {
		return nil, err
	}
	boxes, scores := outputs[roles.boxes], outputs[roles.scores]
	pick := picker{boxes: boxes, yFirst: roles.corners == cornersYX, found: shortlist{threshold: s.threshold}}
	pick.scaleX, pick.scaleY = s.units.scale(placement)
	if len(scores.Shape) == 2 {
		pick.all(scores)
		return &media.Result{Detections: detections(suppress(pick.found.best(), s.overlap), s.labels, placement)}, nil
	}
	n := boxes.Shape[0]
	if roles.count != none {
		count := 0.0
		if elements(outputs[roles.count].Shape) == 1 {
			count = value(outputs[roles.count], 0)
		}
		if !(count >= 0 && count <= float64(n)) {
			return nil, fmt.Errorf("a count of %g for %d boxes", count, n)
		}
		n = int(count)
	}
	for i := range n {
		score, class := value(scores, i), 0.0
		if roles.classes != none {
			class = value(outputs[roles.classes], i)
		}
		if pick.found.admits(score) && isClass(class) {
			pick.take(i, i, int(class), score)
		}
	}
	return &media.Result{Detections: detections(pick.found.best(), s.labels, placement)}, nil
}

// picker collects boxes that are given by two corners.
type picker struct {
	boxes          media.RawTensor
	yFirst         bool // y, x, y, x
	scaleX, scaleY float64
	found          shortlist
}

// all takes every (box, class) whose score is admitted, but for the background.
func (p *picker) all(scores media.RawTensor) {
	var buffer [scanBlock]int32
	classes, total := scores.Shape[1], elements(scores.Shape)
	for from := 0; from < total; from += scanBlock {
		for _, i := range reaching(buffer[:0], scores, from, min(scanBlock, total-from), p.found.least()) {
			at := from + int(i)
			if score, class := value(scores, at), at%classes; class != background && p.found.admits(score) {
				p.take(at, at/classes, class, score)
			}
		}
	}
}

// take takes a box.
func (p *picker) take(index, box, class int, score float64) {
	first := box * boxNumbers
	x, y := 0, 1
	if p.yFirst {
		x, y = 1, 0
	}
	p.found.add(candidate{
		score: score, class: class, index: index,
		left: value(p.boxes, first+x) * p.scaleX, top: value(p.boxes, first+y) * p.scaleY,
		right: value(p.boxes, first+2+x) * p.scaleX, bottom: value(p.boxes, first+2+y) * p.scaleY,
	})
}
