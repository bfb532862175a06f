package batch

import (
	"cmp"
	"slices"
	"time"
)

const (
	// remembered is the number of completed batches that an Eager looks back on.
	remembered = 16
	// memory is how long it believes them. After that it tries again what seemed hopeless: a model that was slow for a while is found out to be well
	// again within about a second.
	memory = time.Second
	// evidence is the number of batches without which nothing is hopeless: one batch may be slow for reasons of its own.
	evidence = 3
)

// Eager is the size-and-deadline rule: as soon as a slot is free, the largest batch goes of which every frame can still be answered by its deadline.
// It never waits for more frames. When more frames could go than fit, the streams whose turn it is go first, so that cameras that run
// in step share the model evenly.
//
// What a batch takes is judged by the last batches. A batch costs more the larger it is, though less than in proportion, so each of them bounds the time of
// every other size from both sides: one of b frames that took d says that n frames take at least d·min(1, n/b) and at most d·max(1, n/b). The
// least of the lower bounds decides what is hopeless, the least of the upper bounds how large a batch may be: in doubt a frame is tried.
//
// Eager is not safe for concurrent use. Its zero value is ready.
type Eager struct {
	recent [remembered]Completion
	next   int
	// Scratch of Decide.
	eligible, send, expire []int
}

// Observe remembers what a batch took.
func (e *Eager) Observe(c Completion) {
	if c.Size <= 0 {
		return
	}
	e.recent[e.next%remembered] = c
	e.next++
}

// Decide implements Policy.
func (e *Eager) Decide(waiting []Item, s State) Decision {
	e.eligible, e.send, e.expire = e.eligible[:0], e.send[:0], e.expire[:0]
	least, _ := e.bounds(1, s.Now)
	var d Decision
	for i, item := range waiting {
		if hopeless := item.Deadline.Add(-least); s.Now.Before(hopeless) {
			e.eligible = append(e.eligible, i)
			if d.Wake.IsZero() || hopeless.Before(d.Wake) {
				d.Wake = hopeless
			}
		} else {
			e.expire = append(e.expire, i)
		}
	}
	d.Expire = e.expire
	if len(e.eligible) == 0 || len(s.Flights) >= s.Slots {
		return d
	}
	size, latest := e.size(waiting, s)
	for _, i := range e.eligible {
		if !waiting[i].Deadline.Before(latest) {
			e.send = append(e.send, i)
		}
	}
	slices.SortStableFunc(e.send, func(i, j int) int {
		return cmp.Or(cmp.Compare(waiting[i].Turn, waiting[j].Turn), waiting[i].Deadline.Compare(waiting[j].Deadline))
	})
	d.Send = e.send[:size]
	return d
}

// size gives the number of frames of the next batch and the earliest deadline that such a batch meets; at least so many eligible frames have it or a
// later one. The eligible are left sorted, latest deadline first.
func (e *Eager) size(waiting []Item, s State) (int, time.Time) {
	slices.SortStableFunc(e.eligible, func(i, j int) int { return waiting[j].Deadline.Compare(waiting[i].Deadline) })
	for n := min(s.Max, len(e.eligible)); n > 1; n-- {
		_, most := e.bounds(n, s.Now)
		if done := s.Now.Add(most); !waiting[e.eligible[n-1]].Deadline.Before(done) {
			return n, done
		}
	}
	// Nothing is known to hold: the frame with the most time left is tried alone, if one frame alone may fail to hold too.
	_, most := e.bounds(1, s.Now)
	freshest := waiting[e.eligible[0]].Deadline
	return 1, earlier(s.Now.Add(most), freshest)
}

// bounds gives the least and the most time that a batch of n frames is believed to take; zeros when nothing is known.
func (e *Eager) bounds(n int, now time.Time) (least, most time.Duration) {
	known := 0
	for _, c := range e.recent {
		if c.Size == 0 || now.Sub(c.Done) > memory {
			continue
		}
		took, ratio := c.Done.Sub(c.Sent), float64(n)/float64(c.Size)
		low, high := time.Duration(float64(took)*min(1, ratio)), time.Duration(float64(took)*max(1, ratio))
		if known++; known == 1 {
			least, most = low, high
		}
		least, most = min(least, low), min(most, high)
	}
	if known < evidence {
		least = 0
	}
	return least, most
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
