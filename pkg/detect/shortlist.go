package detect

import (
	"cmp"
	"math"
	"slices"
)

// maxCandidates bounds what overlap is computed for, and with it the time that a model gone mad can cost: its square is a million.
const maxCandidates = 1000

// shortlist collects the best of the candidates that a model's outputs hold, at most maxCandidates.
type shortlist struct {
	threshold float64
	// heap has the worst candidate on top, once it is full; until then it is in no order.
	heap []candidate
}

// admits tells whether a candidate of that score would be among the best.
func (s *shortlist) admits(score float64) bool {
	// Written so that NaN is none.
	return score >= s.threshold && (len(s.heap) < maxCandidates || score > s.heap[0].score)
}

// least gives a number, not negative, below which no score is admitted.
func (s *shortlist) least() float32 {
	least := s.threshold
	if len(s.heap) == maxCandidates {
		least = max(least, s.heap[0].score)
	}
	// What does not fit may be rounded up.
	return max(0, math.Nextafter32(float32(least), 0))
}

// add takes a candidate of an admitted score, unless its box is empty or none. Candidates come in the order of their indices.
func (s *shortlist) add(c candidate) {
	// Written so that NaN fails too.
	if !(c.right > c.left && c.bottom > c.top) {
		return
	}
	if len(s.heap) < maxCandidates {
		s.heap = append(s.heap, c)
		if len(s.heap) == maxCandidates {
			for i := maxCandidates/2 - 1; i >= 0; i-- {
				s.sink(i)
			}
		}
		return
	}
	s.heap[0] = c
	s.sink(0)
}

// sink restores the heap's order below a candidate that may be too good for its place.
func (s *shortlist) sink(i int) {
	for {
		worst := i
		for _, below := range []int{2*i + 1, 2*i + 2} {
			if below < len(s.heap) && better(&s.heap[worst], &s.heap[below]) < 0 {
				worst = below
			}
		}
		if worst == i {
			return
		}
		s.heap[i], s.heap[worst] = s.heap[worst], s.heap[i]
		i = worst
	}
}

// best gives the candidates, best first. The shortlist is used up.
func (s *shortlist) best() []candidate {
	slices.SortFunc(s.heap, func(a, b candidate) int { return better(&a, &b) })
	return s.heap
}

// better is negative when a is the better candidate.
func better(a, b *candidate) int {
	if a.score != b.score {
		return cmp.Compare(b.score, a.score)
	}
	return cmp.Compare(a.index, b.index)
}
