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

// slots holds the frames that wait to be sent, one for each (stream, input). It is a single-threaded value: no clock, no locks. Frames
// that it returns belong to the caller.
type slots struct {
	waiting map[slot]media.Frame
	turn    []slot          // those with a waiting frame; who came first is first
	newest  map[slot]uint32 // highest sequence that ever waited
}

func newSlots() slots {
	return slots{waiting: make(map[slot]media.Frame), newest: make(map[slot]uint32)}
}

// put lets a frame wait. It takes the place, and the turn, of an older one.
func (s *slots) put(f media.Frame, now time.Time) (drops []drop) {
	f, late := part(f, func(d media.Due) bool { return now.Before(d.Deadline) })
	if len(late.Due) > 0 {
		drops = append(drops, drop{late, media.Expired})
	}
	if len(f.Due) == 0 {
		return drops
	}
	at := slot{f.Stream, f.InputID}
	if f.Sequence <= s.newest[at] {
		return append(drops, drop{f, media.Superseded})
	}
	if older, ok := s.waiting[at]; ok {
		drops = append(drops, drop{older, media.Superseded})
	} else {
		s.turn = append(s.turn, at)
	}
	s.waiting[at], s.newest[at] = f, f.Sequence
	return drops
}

// take gives the frame whose turn it is, of those whose slot may be emptied now.
func (s *slots) take(may func(slot) bool) (media.Frame, bool) {
	i := slices.IndexFunc(s.turn, may)
	if i < 0 {
		return media.Frame{}, false
	}
	at := s.turn[i]
	s.turn = slices.Delete(s.turn, i, i+1)
	f := s.waiting[at]
	delete(s.waiting, at)
	return f, true
}

// expire gives up what waits for models whose deadline has come.
func (s *slots) expire(now time.Time) (drops []drop) {
	if at := s.next(); at.IsZero() || now.Before(at) {
		return nil
	}
	for _, at := range slices.Clone(s.turn) {
		f, late := part(s.waiting[at], func(d media.Due) bool { return now.Before(d.Deadline) })
		if len(late.Due) > 0 {
			drops = append(drops, drop{late, media.Expired})
		}
		s.keep(at, f)
	}
	return drops
}

// next is when expire has something to do, zero for never.
func (s *slots) next() (at time.Time) {
	for _, f := range s.waiting {
		for _, d := range f.Due {
			at = earlier(at, d.Deadline)
		}
	}
	return at
}

// refit gives up, as EXPIRED, what waits for models that no longer take the input it was made for.
func (s *slots) refit(n *needs) (drops []drop) {
	for _, at := range slices.Clone(s.turn) {
		f, stale := part(s.waiting[at], n.wants(at.input))
		if len(stale.Due) > 0 {
			drops = append(drops, drop{stale, media.Expired})
		}
		s.keep(at, f)
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
			drops = append(drops, drop{s.waiting[at], reason})
			s.keep(at, media.Frame{})
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
	for _, at := range s.turn {
		drops = append(drops, drop{s.waiting[at], reason})
	}
	clear(s.waiting)
	s.turn = s.turn[:0]
	return drops
}

// keep puts back what is left of a waiting frame, or empties its slot when no model is left.
func (s *slots) keep(at slot, f media.Frame) {
	if len(f.Due) > 0 {
		s.waiting[at] = f
		return
	}
	delete(s.waiting, at)
	s.turn = slices.DeleteFunc(s.turn, func(other slot) bool { return other == at })
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
