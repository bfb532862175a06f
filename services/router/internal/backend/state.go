package backend

import (
	"slices"

	"github.com/sluice-dev/sluice/pkg/media"
)

// StatePair names the input and the output through which a recurrent model gets its state and gives it back.
type StatePair struct{ Input, Output string }

// State is what a recurrent model remembers of one stream. Its zero value is a stream that has just begun. It is used by one batch at a time.
type State struct {
	// tensors hold the stream's part of each of the model's states, in the order of Config.States; empty before the first window.
	tensors [][]byte
	next    uint32 // the first sample of the window that would be continuous
}

// part gives the stream's part of the i-th state for a window that begins at a sample, nil when the stream begins with that window: when it is the first, or
// when more is missing before it than gap samples. A gap up to that is bridged, as the model hears a cut and not another speaker.
func (s *State) part(i int, first uint32, gap int) []byte {
	if s == nil || i >= len(s.tensors) {
		return nil
	}
	if missing := int64(int32(first - s.next)); missing > int64(gap) || -missing > int64(gap) {
		return nil
	}
	return s.tensors[i]
}

// stateTerms describe a state as a target declares it. In a batch of n streams, the part of stream i is, of each of the blocks, the i-th of n slices.
type stateTerms struct {
	spec   media.TensorSpec // of the input
	axis   int              // of the streams; negative when there is none, for batches of one
	blocks int              // the product of the extents before axis
	slice  int              // bytes of the extents after axis
}

// shape writes the shape of a batch over another.
func (t *stateTerms) shape(shape []int, frames int) []int {
	shape = append(shape[:0], t.spec.Shape...)
	if t.axis >= 0 {
		shape[t.axis] = frames
	}
	return shape
}

// gather writes a stream's part into a batch of n; nil stands for zeros.
func (t *stateTerms) gather(batch, part []byte, i, n int) {
	for block := range t.blocks {
		to := batch[(block*n+i)*t.slice:][:t.slice]
		if part == nil {
			clear(to)
			continue
		}
		copy(to, part[block*t.slice:])
	}
}

// scatter writes a stream's part of a batch of n over what the stream had, and gives it.
func (t *stateTerms) scatter(part, batch []byte, i, n int) []byte {
	part = slices.Grow(part[:0], t.blocks*t.slice)
	for block := range t.blocks {
		part = append(part, batch[(block*n+i)*t.slice:][:t.slice]...)
	}
	return part
}
