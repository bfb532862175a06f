package detect

import (
	"math"

	"github.com/sluice-dev/sluice/pkg/media"
)

// maxDetections bounds a result.
const maxDetections = 200

// candidate is a possible object, in pixels of the payload.
type candidate struct {
	score                    float64
	left, top, right, bottom float64
	class                    int
	// index is the candidate's place in the model's outputs; of equal scores, the lower one is the better.
	index int
}

func (c *candidate) area() float64 { return (c.right - c.left) * (c.bottom - c.top) }

// overlap gives the intersection over the union of two boxes, 0 when both are empty.
func overlap(a, b *candidate) float64 {
	width := min(a.right, b.right) - max(a.left, b.left)
	height := min(a.bottom, b.bottom) - max(a.top, b.top)
	if width <= 0 || height <= 0 {
		return 0
	}
	return width * height / (a.area() + b.area() - width*height)
}

// suppress drops each candidate that overlaps a better one of its class by more than limit, up to maxDetections. The candidates are sorted best first;
// what is kept takes their place.
func suppress(candidates []candidate, limit float64) []candidate {
	kept := candidates[:0]
next:
	for i := range candidates {
		if len(kept) == maxDetections {
			break
		}
		c := candidates[i]
		for j := range kept {
			if kept[j].class == c.class && overlap(&kept[j], &c) > limit {
				continue next
			}
		}
		kept = append(kept, c)
	}
	return kept
}

// place turns payload pixels into fractions of the source picture.
func place(x, y float64, p media.Placement) media.Point {
	return media.Point{X: (x - p.X) / p.Width, Y: (y - p.Y) / p.Height}
}

// detections moves candidates into the source picture, the first maxDetections of those that lie in it.
func detections(candidates []candidate, labels []string, p media.Placement) []media.Detection {
	found := make([]media.Detection, 0, min(len(candidates), maxDetections))
	for i := range candidates {
		if len(found) == maxDetections {
			break
		}
		if d, ok := detection(&candidates[i], label(labels, candidates[i].class), p); ok {
			found = append(found, d)
		}
	}
	return found
}

// detection moves a candidate into the source picture and clips it. It is false when nothing of it lies inside, as for one found in the bars of a
// letterbox, or when its numbers are none.
func detection(c *candidate, label string, p media.Placement) (media.Detection, bool) {
	from, to := clip(place(c.left, c.top, p)), clip(place(c.right, c.bottom, p))
	d := media.Detection{
		Label: label,
		Score: probability(c.score),
		Box:   media.Box{X: from.X, Y: from.Y, Width: to.X - from.X, Height: to.Y - from.Y},
	}
	// Written so that NaN fails too.
	if !(d.Box.Width > 0 && d.Box.Height > 0) {
		return media.Detection{}, false
	}
	return d, true
}

// clip moves a point to the nearest one of the picture.
func clip(p media.Point) media.Point {
	if math.IsNaN(p.X) || math.IsNaN(p.Y) {
		return media.Point{}
	}
	return media.Point{X: min(max(p.X, 0), 1), Y: min(max(p.Y, 0), 1)}
}
