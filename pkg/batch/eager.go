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
	// judges is the number of the last batches that bound the next one's size.
	judges = 4
	// margin is how many times a batch of several frames must fit into the time that is left. On a model that gains nothing by batching, the frames that
	// are just missed by a batch then still make the next; with 1, half of all frames were late in simulations of a busy machine.
	margin = 2
)

// Eager is the size-and-deadline rule: as soon as a slot is free, the largest batch goes of which every frame can be answered well before its deadline. It
// never waits for more frames. When more frames could go than fit, the streams whose turn it is go first, so that cameras that run in
// step share the model evenly.
//
// What a batch takes is judged by the last batches. A batch costs more the larger it is, though less than in proportion, so each of them bounds the time of
// every other size from both sides: one of b frames that took d says that n frames take at least d·min(1, n/b) and at most d·max(1, n/b). What
// is hopeless is judged by the least of the lower bounds, for in doubt a frame is tried; how large a batch may be is judged by the last few
// upper bounds, but for the worst, which may be a hiccup.
//
// A stream whose frames wait in order offers its oldest, but is judged by its newest: when its turn has come and the oldest has too little time left for
// the batch, that gives way to the next. Without it, streams that had to wait would offer old frames for ever, and those that were served fresh ones: the
// batches would be small, and theirs alone.
//
// Eager is not safe for concurrent use. Its zero value is ready.
type Eager struct {
	recent [remembered]Completion
	next   int // in recent
	// Scratch of Decide.
	eligible, send, expire []int
}

// Arrived does nothing: an Eager goes by what waits.
func (e *Eager) Arrived(time.Time, int) {}

// Load says that nothing is known.
func (e *Eager) Load(time.Time) Load { return Load{} }

// Observe remembers what a batch took. One that was given up would have taken even longer.
func (e *Eager) Observe(c Completion) {
	if c.Size <= 0 || c.End == Refused || c.End == Unreachable || c.End == Broken {
		return
	}
	e.recent[e.next] = c
	e.next = (e.next + 1) % remembered
}

// Decide implements Policy.
func (e *Eager) Decide(waiting []Item, s State) Decision {
	e.eligible, e.send, e.expire = e.eligible[:0], e.send[:0], e.expire[:0]
	least := e.least(s.Now)
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
	if d.Instance = vacant(s); d.Instance == NoInstance || len(e.eligible) == 0 {
		return d
	}
	size, latest := e.size(waiting, s)
	for _, i := range e.eligible {
		if !waiting[i].latest().Before(latest) {
			e.send = append(e.send, i)
		}
	}
	slices.SortStableFunc(e.send, func(i, j int) int {
		return cmp.Or(cmp.Compare(waiting[i].Turn, waiting[j].Turn), waiting[i].Deadline.Compare(waiting[j].Deadline))
	})
	d.Send = e.send[:size]
	for _, i := range d.Send {
		if waiting[i].Deadline.Before(latest) {
			e.expire = append(e.expire, i) // what is behind it has time enough
		}
	}
	if len(e.expire) > len(d.Expire) {
		d.Expire, d.Send = e.expire, nil
	}
	return d
}

// vacant gives the instance that has the fewest batches in flight, NoInstance when no ready one has room for another.
func vacant(s State) int {
	best := NoInstance
	for i, instance := range s.Instances {
		if n := len(instance.Flights); instance.Ready && n < s.Slots && (best == NoInstance || n < len(s.Instances[best].Flights)) {
			best = i
		}
	}
	return best
}

// latest gives the latest deadline of an item's stream.
func (i *Item) latest() time.Time {
	if i.Latest.After(i.Deadline) {
		return i.Latest
	}
	return i.Deadline
}

// size gives the number of frames of the next batch and the earliest deadline that such a batch meets; at least so many eligible streams have a frame with it or a
// later one. The eligible are left sorted, latest deadline first.
func (e *Eager) size(waiting []Item, s State) (int, time.Time) {
	slices.SortStableFunc(e.eligible, func(i, j int) int { return waiting[j].latest().Compare(waiting[i].latest()) })
	for n := min(s.Max, len(e.eligible)); n > 1; n-- {
		done := s.Now.Add(margin * e.most(n, s.Now))
		if !waiting[e.eligible[n-1]].latest().Before(done) {
			return n, done
		}
	}
	// Nothing larger is known to hold. One frame is tried in any case, if it must be the one with the most time left.
	freshest := waiting[e.eligible[0]].latest()
	return 1, earlier(s.Now.Add(e.most(1, s.Now)), freshest)
}

// least gives the time that one frame takes at least, 0 when too little is known.
func (e *Eager) least(now time.Time) time.Duration {
	var least time.Duration
	known := 0
	for _, c := range e.recent {
		if !c.believed(now) {
			continue
		}
		low := c.Done.Sub(c.Sent) / time.Duration(c.Size)
		if known++; known == 1 || low < least {
			least = low
		}
	}
	if known < evidence {
		return 0
	}
	return least
}

// most gives the time that a batch of n frames takes at most, by the last few batches without the worst; 0 when nothing is known.
func (e *Eager) most(n int, now time.Time) time.Duration {
	var worst, second time.Duration
	known := 0
	for back := 1; back <= remembered && known < judges; back++ {
		c := e.recent[(e.next+remembered-back)%remembered]
		if !c.believed(now) {
			continue
		}
		known++
		high := time.Duration(float64(c.Done.Sub(c.Sent)) * max(1, float64(n)/float64(c.Size)))
		if high > worst {
			worst, second = high, worst
		} else if high > second {
			second = high
		}
	}
	if known == 1 {
		return worst
	}
	return second
}

// believed tells whether a completion, which may be the zero one, says something about now.
func (c Completion) believed(now time.Time) bool { return c.Size > 0 && now.Sub(c.Done) <= memory }

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
