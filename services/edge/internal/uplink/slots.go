package uplink

import (
	"slices"
	"time"

	"github.com/sluice-dev/sluice/pkg/media"
)

// slot names the place where one frame of a stream may wait for one input.
type slot struct {
	stream string
	input  uint32
}

// drop is a frame that is given up for all models in its Due. Where other models keep the frame, it has no payload.
type drop struct {
	frame  media.Frame
	reason media.DropReason
}

// newestWins, in place of a line's length, says that of all frames only the newest waits.
const newestWins = 0

// slots holds the frames that wait to be sent: for each (stream, input) the newest one, or, where every frame counts and their order matters,
// a line of them. It is a single-threaded value: no clock, no locks. Frames that it returns belong to the caller.
type slots struct {
	waiting map[slot][]media.Frame // oldest first, never empty
	turn    []slot                 // those with a waiting frame; who came first is first
	newest  map[slot]uint32        // highest sequence that ever waited
}

func newSlots() slots {
	return slots{waiting: make(map[slot][]media.Frame), newest: make(map[slot]uint32)}
}

// put lets a frame wait. With newestWins it takes the place, and the turn, of an older one. With the length of a line it waits behind the
// older ones, the oldest of which expires when the line is full; a frame that comes out of order would have to be sent so, and expires too.
func (s *slots) put(f media.Frame, length int, now time.Time) (drops []drop) {
	f, late := part(f, func(d media.Due) bool { return now.Before(d.Deadline) })
	if len(late.Due) > 0 {
		drops = append(drops, drop{late, media.Expired})
	}
	if len(f.Due) == 0 {
		return drops
	}
	reason := media.Expired
	if length == newestWins {
		reason, length = media.Superseded, 1
	}
	at := slot{f.Stream, f.InputID}
	if f.Sequence <= s.newest[at] {
		return append(drops, drop{f, reason})
	}
	line := s.waiting[at]
	if len(line) == 0 {
		s.turn = append(s.turn, at)
	}
	for len(line) >= length {
		drops = append(drops, drop{line[0], reason})
		line = slices.Delete(line, 0, 1)
	}
	s.waiting[at], s.newest[at] = append(line, f), f.Sequence
	return drops
}

// take gives the frame whose turn it is, of those whose slot may be emptied now. The next one of its line has its turn after all others.
func (s *slots) take(may func(slot) bool) (media.Frame, bool) {
	i := slices.IndexFunc(s.turn, may)
	if i < 0 {
		return media.Frame{}, false
	}
	at := s.turn[i]
	s.turn = slices.Delete(s.turn, i, i+1)
	line := s.waiting[at]
	f := line[0]
	if len(line) == 1 {
		delete(s.waiting, at)
	} else {
		s.waiting[at] = slices.Delete(line, 0, 1)
		s.turn = append(s.turn, at)
	}
	return f, true
}

// expire gives up what waits for models whose deadline has come.
func (s *slots) expire(now time.Time) (drops []drop) {
	if at := s.next(); at.IsZero() || now.Before(at) {
		return nil
	}
	for _, at := range slices.Clone(s.turn) {
		drops = s.sift(drops, at, media.Expired, func(d media.Due) bool { return now.Before(d.Deadline) })
	}
	return drops
}

// next is when expire has something to do, zero for never.
func (s *slots) next() (at time.Time) {
	for _, line := range s.waiting {
		for _, f := range line {
			for _, d := range f.Due {
				at = earlier(at, d.Deadline)
			}
		}
	}
	return at
}

// refit gives up, as EXPIRED, what waits for models that no longer take the input it was made for.
func (s *slots) refit(n *needs) (drops []drop) {
	for _, at := range slices.Clone(s.turn) {
		drops = s.sift(drops, at, media.Expired, n.wants(at.input))
	}
	for at := range s.newest {
		if _, ok := n.wire[at.input]; !ok {
			delete(s.newest, at)
		}
	}
	return drops
}

// forget gives up all that is kept of a stream.
func (s *slots) forget(stream string, reason media.DropReason) (drops []drop) {
	for _, at := range slices.Clone(s.turn) {
		if at.stream == stream {
			drops = s.sift(drops, at, reason, func(media.Due) bool { return false })
		}
	}
	for at := range s.newest {
		if at.stream == stream {
			delete(s.newest, at)
		}
	}
	return drops
}

// clear gives up every waiting frame.
func (s *slots) clear(reason media.DropReason) (drops []drop) {
	for _, at := range slices.Clone(s.turn) {
		drops = s.sift(drops, at, reason, func(media.Due) bool { return false })
	}
	return drops
}

// sift gives up what waits in a slot for models that keeps says no to. The slot is gone when nothing is left in it.
func (s *slots) sift(drops []drop, at slot, reason media.DropReason, keeps func(media.Due) bool) []drop {
	line := s.waiting[at]
	left := line[:0]
	for _, f := range line {
		kept, given := part(f, keeps)
		if len(given.Due) > 0 {
			drops = append(drops, drop{given, reason})
		}
		if len(kept.Due) > 0 {
			left = append(left, kept)
		}
	}
	clear(line[len(left):])
	s.waiting[at] = left
	if len(left) == 0 {
		delete(s.waiting, at)
		s.turn = slices.DeleteFunc(s.turn, func(other slot) bool { return other == at })
	}
	return drops
}

// part splits a frame by the models it is due for. The payload goes with what is kept, or with what is given when nothing is kept.
func part(f media.Frame, keeps func(media.Due) bool) (kept, given media.Frame) {
	if !slices.ContainsFunc(f.Due, func(d media.Due) bool { return !keeps(d) }) {
		return f, media.Frame{}
	}
	kept, given = f, f
	kept.Due, given.Due = nil, nil
	for _, d := range f.Due {
		if keeps(d) {
			kept.Due = append(kept.Due, d)
		} else {
			given.Due = append(given.Due, d)
		}
	}
	if len(kept.Due) == 0 {
		return media.Frame{}, given
	}
	given.Payload, given.Release = nil, nil
	return kept, given
}

// earlier gives the earlier of two times, of which zero means never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || (!b.IsZero() && b.Before(a)) {
		return b
	}
	return a
}
