package detect

import (
	"cmp"
	"math"
	"slices"

	"github.com/sluice-dev/sluice/pkg/media"
)

const (
	// maxCandidates bounds what overlap is computed for, and with it the time that a model gone mad can cost: its square is a million.
	maxCandidates = 1000
	// maxDetections bounds a result.
	maxDetections = 200
)

// candidate is a possible object, in pixels of the payload.
type candidate struct {
	score                    float64
	left, top, right, bottom float64
	landmarks                []media.Point
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

// suppress sorts candidates best first and drops each that overlaps a better one by limit or more, up to maxDetections.
func suppress(candidates []candidate, limit float64) []candidate {
	slices.SortStableFunc(candidates, func(a, b candidate) int { return cmp.Compare(b.score, a.score) })
	candidates = candidates[:min(len(candidates), maxCandidates)]
	var kept []candidate
	for i := range candidates {
		if len(kept) == maxDetections {
			break
		}
		c := &candidates[i]
		if !slices.ContainsFunc(kept, func(k candidate) bool { return overlap(&k, c) >= limit }) {
			kept = append(kept, *c)
		}
	}
	return kept
}

// place turns payload pixels into fractions of the source picture.
func place(x, y float64, p media.Placement) media.Point {
	return media.Point{X: (x - p.X) / p.Width, Y: (y - p.Y) / p.Height}
}

// detection moves a candidate into the source picture and clips it. It is false when nothing of it lies inside, as for one found in the bars of a
// letterbox, or when its numbers are none.
func detection(c candidate, label string, p media.Placement) (media.Detection, bool) {
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
	for _, mark := range c.landmarks {
		d.Landmarks = append(d.Landmarks, clip(place(mark.X, mark.Y, p)))
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
