package batch

import (
	"cmp"
	"time"
)

// candidate is an item that a batch could take.
type candidate struct {
	index int
	class uint8
	turn  uint64
	// left is the time that the frame has, and last is what its stream's last one has: the stream can make a batch that is done by then, if need be by giving
	// up what is older.
	left, last time.Duration
}

// gather finds out which items are worth a batch. It gives the time that the frames had when they arrived, and whether there may be better ones behind those that
// are not: then it is too early to choose, for a stream whose turn it is would be passed over.
func (f *Fresh) gather(waiting []Item, now time.Time) (budget time.Duration, early bool) {
	f.candidates, f.expire = f.candidates[:0], f.expire[:0]
	for i := range waiting {
		item := &waiting[i]
		budget += item.Deadline.Sub(item.Arrived)
		left := item.Deadline.Sub(now)
		if left < f.soonest || left <= 0 {
			f.expire = append(f.expire, i)
			early = early || item.Latest.Sub(now) >= max(f.soonest, 1)
			continue
		}
		last := left
		if !item.Latest.IsZero() {
			last = max(left, item.Latest.Sub(now))
		}
		f.candidates = append(f.candidates, candidate{index: i, class: item.Class, turn: item.Turn, left: left, last: last})
	}
	return budget / time.Duration(len(waiting)), early
}

// size gives the number of frames of the next batch on a place and the time by which it is done; 0 when not even one frame makes it.
func (f *Fresh) size(p place, plan plan, largest int) (int, time.Duration) {
	most := min(largest, len(f.candidates))
	lead(f.candidates, most, latestFirst)
	earliest := f.candidates[0].left
	for _, c := range f.candidates {
		earliest = min(earliest, c.left)
	}
	all := 0 // frames with which even the one with the least time makes it
	for all < most && earliest >= f.done(p, all+1) {
		all++
	}
	best := 0 // frames that make it if it is those with the most time
	for best < most && f.candidates[best].last >= f.done(p, best+1) {
		best++
	}
	size := min(best, max(all, plan.required))
	if plan.overloaded {
		size = min(size, plan.knee)
	}
	return size, f.done(p, size)
}

// done gives the time from now by which nearly every batch of a size is answered.
func (f *Fresh) done(p place, size int) time.Duration {
	return p.start + f.profile.atMost(size, p.scale) + f.net
}

// choose fills f.send with the next batch on a place. When streams have to give up a frame first, so that they can take part with a later one, it fills f.expire
// instead.
func (f *Fresh) choose(p place, plan plan, s State) {
	size, done := f.size(p, plan, s.Max)
	if size == 0 {
		return
	}
	eligible := 0
	for i := range f.candidates {
		if f.candidates[i].last >= done {
			f.candidates[i], f.candidates[eligible] = f.candidates[eligible], f.candidates[i]
			eligible++
		}
	}
	chosen, order := f.candidates[:eligible], earliestFirst
	if plan.overloaded {
		order = leastServedFirst
	}
	for class := 1; class < len(s.Owed); class++ {
		favour(chosen, uint8(class), s.Owed[class], order)
	}
	lead(chosen, size, order)
	expired := len(f.expire)
	for _, c := range chosen[:size] {
		f.send = append(f.send, c.index)
		if c.left < done {
			f.expire = append(f.expire, c.index) // what is behind it has time enough
		}
	}
	if len(f.expire) > expired {
		f.send = f.send[:0]
	}
}

// favour lets the first so many of a class go before all others.
func favour(chosen []candidate, class uint8, owed int, order func(a, b candidate) int) {
	for range owed {
		first := -1
		for i, c := range chosen {
			if c.class == class && (first < 0 || order(c, chosen[first]) < 0) {
				first = i
			}
		}
		if first < 0 {
			return
		}
		chosen[first].class = 0
	}
}

// probe chooses the one frame that may be lost: of the stream that had the most, the one with the most time.
func (f *Fresh) probe() {
	best := f.candidates[0]
	for _, c := range f.candidates {
		if cmp.Or(cmp.Compare(c.turn, best.turn), cmp.Compare(c.left, best.left)) > 0 {
			best = c
		}
	}
	f.send = append(f.send, best.index)
}

// try chooses the frame with the most time for a place that seems to be too slow for all.
func (f *Fresh) try() {
	best := f.candidates[0]
	for _, c := range f.candidates {
		if latestFirst(c, best) < 0 {
			best = c
		}
	}
	if best.last > best.left {
		f.expire = append(f.expire, best.index) // what is behind it has more
		return
	}
	f.send = append(f.send, best.index)
}

// revive chooses the frame with the most time of those that seem to be hopeless, if it has any.
func (f *Fresh) revive(waiting []Item, now time.Time) {
	best := 0
	for k, i := range f.expire {
		if waiting[i].Deadline.After(waiting[f.expire[best]].Deadline) {
			best = k
		}
	}
	if i := f.expire[best]; waiting[i].Deadline.After(now) {
		f.send = append(f.send, i)
		f.expire = append(f.expire[:best], f.expire[best+1:]...)
	}
}

// The orders are total, so that a choice does not depend on how the items came.

func latestFirst(a, b candidate) int {
	if a.last != b.last {
		return cmp.Compare(b.last, a.last)
	}
	return cmp.Compare(a.index, b.index)
}

func earliestFirst(a, b candidate) int {
	switch {
	case a.class != b.class:
		return cmp.Compare(a.class, b.class)
	case a.left != b.left:
		return cmp.Compare(a.left, b.left)
	case a.turn != b.turn:
		return cmp.Compare(a.turn, b.turn)
	}
	return cmp.Compare(a.index, b.index)
}

func leastServedFirst(a, b candidate) int {
	switch {
	case a.class != b.class:
		return cmp.Compare(a.class, b.class)
	case a.turn != b.turn:
		return cmp.Compare(a.turn, b.turn)
	}
	return latestFirst(a, b)
}
