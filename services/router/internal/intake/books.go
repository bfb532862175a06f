package intake

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/sluice-dev/sluice/pkg/activity"
	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/services/router/internal/dispatch"
)

// books keep one call's account: what each stream may send, what is outstanding, and what became of the rest. They are safe for concurrent use.
type books struct {
	limit int // of streams

	mu      sync.Mutex
	streams map[string]*streamBook
	pulse   activity.Board
	open    map[*dispatch.Frame]int // models without an outcome
	age     uint64                  // rises with every frame; tells which stream is idle longest
	settled chan struct{}           // closed when open is empty, if somebody waits for that
}

type streamBook struct {
	counts media.StreamCounts
	inputs map[uint32]*inputBook
	age    uint64
}

type inputBook struct {
	last        uint32 // sequence
	outstanding int    // frames whose credit has not been returned
}

// errBreach is wrapped by errors about frames that break the rules of the protocol.
var errBreach = errors.New("breach of protocol")

func breach(format string, args ...any) error {
	return fmt.Errorf("%w: %s", errBreach, fmt.Sprintf(format, args...))
}

func newBooks(limit int) *books {
	return &books{limit: limit, streams: make(map[string]*streamBook), open: make(map[*dispatch.Frame]int)}
}

// receive enters a frame. idle names a stream that was forgotten to make room for this one's, full tells that there was none to forget: the frame is entered, but
// its stream is not. window is how many frames of the stream may be outstanding for the input; for 0, which is an input that the call does not have, neither order nor
// window is kept.
func (b *books) receive(f *dispatch.Frame, window int) (idle string, full bool, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.streams[f.Stream]
	if s == nil && len(b.streams) >= b.limit {
		if idle, full = b.evict(); full {
			b.open[f] = len(f.Due)
			return "", true, nil
		}
	}
	if s == nil {
		s = &streamBook{counts: media.StreamCounts{Stream: f.Stream}, inputs: make(map[uint32]*inputBook)}
		b.streams[f.Stream] = s
	}
	if window > 0 {
		in := s.inputs[f.InputID]
		if in == nil {
			in = &inputBook{}
			s.inputs[f.InputID] = in
		}
		if f.Sequence <= in.last {
			return idle, false, breach("stream %q, input %d: sequence %d after %d, but it must rise", f.Stream, f.InputID, f.Sequence, in.last)
		}
		if in.outstanding >= window {
			return idle, false, breach("stream %q, input %d: more frames outstanding than the window of %d", f.Stream, f.InputID, window)
		}
		in.last = f.Sequence
		in.outstanding++
	}
	b.age++
	s.age = b.age
	b.pulse.Unit(f.Stream, f.Arrived)
	s.counts.Received++
	s.counts.Accepted++
	for _, due := range f.Due {
		m := s.model(due.Model)
		m.Accepted++
		m.InFlight++
	}
	b.open[f] = len(f.Due)
	return idle, false, nil
}

// evict forgets the stream that is idle longest. The caller holds the lock.
func (b *books) evict() (name string, none bool) {
	var oldest *streamBook
	for _, s := range b.streams {
		busy := slices.ContainsFunc(s.counts.Models, func(m media.ModelCounts) bool { return m.InFlight > 0 })
		for _, in := range s.inputs {
			busy = busy || in.outstanding > 0
		}
		if !busy && (oldest == nil || s.age < oldest.age) {
			oldest = s
		}
	}
	if oldest == nil {
		return "", true
	}
	delete(b.streams, oldest.counts.Stream)
	b.pulse.Forget(oldest.counts.Stream)
	return oldest.counts.Stream, false
}

// ended enters an outcome that is there now and tells whether it was the frame's last.
func (b *books) ended(f *dispatch.Frame, o media.Outcome, now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.pulse.Outcome(&o, now.Sub(f.Arrived), now)
	if s := b.streams[f.Stream]; s != nil {
		m := s.model(o.Model)
		m.InFlight--
		switch {
		case o.Drop != media.NotDropped:
			m.Drops[o.Drop]++
		case o.Error != media.NoError:
			m.Errors[o.Error]++
		default:
			m.Results++
		}
	}
	if b.open[f]--; b.open[f] > 0 {
		return false
	}
	delete(b.open, f)
	if len(b.open) == 0 && b.settled != nil {
		close(b.settled)
		b.settled = nil
	}
	return true
}

// credited enters that credits go out: from now on the edge may use them.
func (b *books) credited(c credit) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if s := b.streams[c.stream]; s != nil {
		if in := s.inputs[c.input]; in != nil {
			in.outstanding -= int(c.frames)
		}
	}
}

// refit forgets what is outstanding for inputs that the call does not have any more: the edge, too, begins anew with an input that comes back.
func (b *books) refit(inputs map[uint32]media.Input) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, s := range b.streams {
		for id := range s.inputs {
			if _, stays := inputs[id]; !stays {
				delete(s.inputs, id)
			}
		}
	}
}

// allSettled gives a channel that is closed when no frame is without its outcomes. No frame must be received after that.
func (b *books) allSettled() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	settled := make(chan struct{})
	if len(b.open) == 0 {
		close(settled)
	} else {
		b.settled = settled
	}
	return settled
}

// names gives the streams.
func (b *books) names() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	names := make([]string, 0, len(b.streams))
	for name := range b.streams {
		names = append(names, name)
	}
	return names
}

// state gives the counts of the streams, by name, and how busy each is, in the same order.
func (b *books) state(now time.Time) (counts []media.StreamCounts, busy []media.StreamActivity) {
	b.mu.Lock()
	defer b.mu.Unlock()
	counts = make([]media.StreamCounts, 0, len(b.streams))
	for _, s := range b.streams {
		c := s.counts
		c.Models = slices.Clone(c.Models)
		slices.SortFunc(c.Models, func(a, b media.ModelCounts) int { return cmp.Compare(a.Model, b.Model) })
		counts = append(counts, c)
	}
	slices.SortFunc(counts, func(a, b media.StreamCounts) int { return cmp.Compare(a.Stream, b.Stream) })
	for _, c := range counts {
		busy = append(busy, b.pulse.Stream(c.Stream, now))
	}
	return counts, busy
}

// model gives the counts of a model.
func (s *streamBook) model(name string) *media.ModelCounts {
	i := slices.IndexFunc(s.counts.Models, func(m media.ModelCounts) bool { return m.Model == name })
	if i < 0 {
		i = len(s.counts.Models)
		s.counts.Models = append(s.counts.Models, media.ModelCounts{Model: name})
	}
	return &s.counts.Models[i]
}
