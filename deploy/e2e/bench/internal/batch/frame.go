package batch

import (
	"encoding/binary"
	"sync/atomic"
	"time"
)

// Fate is how a frame ended.
type Fate uint8

// The fates.
const (
	// Open frames have not ended.
	Open Fate = iota
	// Answered frames got their result, in time or not.
	Answered
	// Superseded frames gave way to a newer one of their stream.
	Superseded
	// Expired frames could not be answered in time any more, or waited longer than a server's queue allows.
	Expired
	// Shed frames were more than there was room for.
	Shed
	// TimedOut frames were sent to the model, which did not answer in time; the router then says so and throws the answer away.
	TimedOut
	// Failed frames got another error, or an answer that was another frame's.
	Failed
	// Unanswered frames had got no answer when the run was over.
	Unanswered

	fates
)

// String names a fate.
func (f Fate) String() string {
	return [fates]string{"open", "answered", "superseded", "expired", "shed", "timed out", "failed", "unanswered"}[f]
}

// Frame is one frame under way. Its path ends it, from any goroutine.
type Frame struct {
	Stream   int
	Sequence uint32
	// Arrived is when it was to arrive, which its sending follows closely. Deadline is when its result must be there.
	Arrived, Deadline time.Time

	state atomic.Uint32 // Fate
	// Valid once the state is not Open.
	ended time.Time
	batch int
	// again counts ends beyond the first.
	again *atomic.Uint32
	open  *atomic.Int64
}

// End ends the frame. batch is the size of the batch that answered it, 0 if that is not known. Only the first end counts; others are a defect of the path or of what it leads to, and
// fail the run.
func (f *Frame) End(fate Fate, at time.Time, batch int) {
	if !f.state.CompareAndSwap(uint32(Open), uint32(fates)) { // taken, not readable yet
		f.again.Add(1)
		return
	}
	f.ended, f.batch = at, batch
	f.state.Store(uint32(fate))
	f.open.Add(-1)
}

// headBytes is what a frame begins with, and its answer too: by it answers are known to be the frame's own.
const headBytes = 8

// Head gives what the frame begins with, as a little-endian number.
func (f *Frame) Head() uint64 { return uint64(f.Stream)<<32 | uint64(f.Sequence) }

// fill writes the frame's bytes.
func (f *Frame) fill(data []byte) { binary.LittleEndian.PutUint64(data, f.Head()) }

// owns tells whether an answer is the frame's.
func (f *Frame) owns(answer []byte) bool {
	return len(answer) >= headBytes && binary.LittleEndian.Uint64(answer) == f.Head()
}
