package detect

import (
	"math"

	"github.com/sluice-dev/sluice/pkg/media"
)

// scan finds the candidates in one frame's output of a YOLO head.
type scan struct {
	tensor         media.RawTensor
	layout         layout
	scaleX, scaleY float64 // from the model's coordinates to pixels of the payload
	found          shortlist

	// Of YOLOX: the strides of its grids over the input.
	strides       []int
	width, height int
}

// scanBlock is the number of numbers that are looked at together: what is kept of them fits the processor's first cache.
const scanBlock = 512

// columns scans a v8 head, in which the numbers of a box are far apart: it takes blocks of boxes class by class.
func (s *scan) columns() {
	var buffer, class [scanBlock]int32
	var best [scanBlock]float64
	boxes := s.layout.boxes
	for from := 0; from < boxes; from += scanBlock {
		n := min(scanBlock, boxes-from)
		clear(best[:])
		for i := range class {
			class[i] = none
		}
		least := s.found.least()
		for c := range s.layout.classes {
			row := (boxNumbers+c)*boxes + from
			for _, i := range reaching(buffer[:0], s.tensor, row, n, least) {
				if p := value(s.tensor, row+int(i)); p > best[i] || class[i] == none {
					best[i], class[i] = p, int32(c)
				}
			}
		}
		for i := range n {
			if class[i] == none || !s.found.admits(best[i]) {
				continue
			}
			at := from + i
			s.add(at, int(class[i]), best[i], value(s.tensor, centerX*boxes+at), value(s.tensor, centerY*boxes+at),
				value(s.tensor, boxWidth*boxes+at), value(s.tensor, boxHeight*boxes+at))
		}
	}
}

// rows scans a v5 or YOLOX head, in which the numbers of a box lie together. Nearly all boxes are seen to hold no object by one number of them.
func (s *scan) rows() {
	numbers := boxNumbers + 1 + s.layout.classes
	grid := cellWalk{strides: s.strides, width: s.width, height: s.height}
	for at := range s.layout.boxes {
		cell := grid.next()
		first := at * numbers
		object := value(s.tensor, first+objectness)
		if !s.found.admits(object) {
			continue
		}
		class, most := 0, math.Inf(-1)
		for c := range s.layout.classes {
			if p := value(s.tensor, first+objectness+1+c); p > most {
				class, most = c, p
			}
		}
		score := object * most
		if !s.found.admits(score) {
			continue
		}
		x, y := value(s.tensor, first+centerX), value(s.tensor, first+centerY)
		w, h := value(s.tensor, first+boxWidth), value(s.tensor, first+boxHeight)
		if s.layout.head == headX {
			x, y = (x+float64(cell.column))*float64(cell.stride), (y+float64(cell.row))*float64(cell.stride)
			w, h = math.Exp(w)*float64(cell.stride), math.Exp(h)*float64(cell.stride)
		}
		s.add(at, class, score, x, y, w, h)
	}
}

// ends scans a v10 head, whose boxes are results.
func (s *scan) ends() {
	for at := range s.layout.boxes {
		first := at * endNumbers
		score, class := value(s.tensor, first+endScore), value(s.tensor, first+endClass)
		if !s.found.admits(score) || !isClass(class) {
			continue
		}
		s.found.add(candidate{
			score: score, class: int(class), index: at,
			left: value(s.tensor, first) * s.scaleX, top: value(s.tensor, first+1) * s.scaleY,
			right: value(s.tensor, first+2) * s.scaleX, bottom: value(s.tensor, first+3) * s.scaleY,
		})
	}
}

// add takes a box by its centre and sides, in the model's coordinates.
func (s *scan) add(index, class int, score, x, y, width, height float64) {
	s.found.add(candidate{
		score: score, class: class, index: index,
		left: (x - width/2) * s.scaleX, top: (y - height/2) * s.scaleY,
		right: (x + width/2) * s.scaleX, bottom: (y + height/2) * s.scaleY,
	})
}

// gridCell is a cell of one of YOLOX's grids.
type gridCell struct{ column, row, stride int }

// cellWalk gives the cells of all grids one after the other: stride by stride, row by row. Without strides it gives nothing of meaning.
type cellWalk struct {
	strides       []int
	width, height int
	cell          gridCell
}

func (w *cellWalk) next() gridCell {
	if len(w.strides) == 0 {
		return gridCell{}
	}
	if w.cell.stride == 0 {
		w.cell.stride = w.strides[0]
	}
	now := w.cell
	if w.cell.column++; w.cell.column*now.stride < w.width {
		return now
	}
	w.cell.column = 0
	if w.cell.row++; w.cell.row*now.stride < w.height {
		return now
	}
	w.strides = w.strides[1:]
	w.cell = gridCell{}
	return now
}
