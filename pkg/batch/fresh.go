package batch

import (
	"slices"
	"time"
)

// Options are what a Fresh begins with. What it learns takes their place.
type Options struct {
	// NetworkDelay is the time that a batch needs to an instance, and its answer back, each. It is learnt when instances tell how long they computed.
	NetworkDelay time.Duration
	// Base and Each are a guess of what a batch takes, Base + n·Each for n frames; zero means a small model's on a GPU. It matters little after a
	// few batches, and not at all when the model was warmed up.
	Base, Each time.Duration
}

// Fresh is the policy for live frames: eager, fresh, fair. As soon as an instance can take a batch, or will be able to when it gets there, the batch goes that
// the load needs; no frame is waited for. What cannot be answered in time is not sent. When more comes than can be answered, those streams go first that have
// had the least for their weight, each with its newest frame.
//
// What a batch takes is learnt from the batches, see profile; an instance that is slower than the others gets smaller batches, and one that does not answer is
// left alone for a while and then tried with one frame.
//
// The size of a batch is a compromise. The frame with the least time bounds it, for a larger batch takes longer. But while the load needs larger batches than
// that, such frames are left behind: else each batch would be too small, the next frames would wait longer, and the batches would become smaller still.
//
// Deadlines, weights and classes come with the items, so models and streams may differ in them. Fresh is not safe for concurrent use.
type Fresh struct {
	profile   profile
	demand    demand
	instances []instance
	// net is the time of a batch to an instance, and of its answer back, each; delays is the number of times that it was measured.
	net    time.Duration
	delays int
	load   Load
	// peakRate is the best throughput of one instance for the frames that were seen last, 0 before any.
	peakRate float64

	// What the last survey found: the number of instances that are well, and the earliest time that a frame can be answered by one of them, from now.
	well    int
	soonest time.Duration
	// Scratch of Decide.
	places       []place
	giveUp       []Overdue
	candidates   []candidate
	send, expire []int
}

// NewFresh makes a policy that knows nothing but its options.
func NewFresh(o Options) *Fresh {
	if o.Base <= 0 && o.Each <= 0 {
		o.Base, o.Each = 10*time.Millisecond, 2*time.Millisecond
	}
	return &Fresh{profile: newProfile(o.Base, o.Each), net: max(0, o.NetworkDelay)}
}

// Arrived implements Policy.
func (f *Fresh) Arrived(now time.Time, n int) {
	f.demand.arrived(now, n)
	f.weigh(now)
}

// Decide implements Policy.
func (f *Fresh) Decide(waiting []Item, s State) Decision {
	f.demand.advance(s.Now)
	d := Decision{Instance: NoInstance}
	f.survey(s, &d)
	f.load.Capacity = f.peakRate * float64(f.well)
	if len(f.places) == 0 {
		return d
	}
	d.Instance = f.places[0].index
	if len(waiting) == 0 {
		return d
	}
	f.send = f.send[:0]
	budget, early := f.gather(waiting, s.Now)
	if early {
		d.Expire = f.expire
		return d
	}
	plan := f.plan(budget, len(waiting), s.Max)
	f.peakRate = plan.peak
	for _, p := range f.places {
		switch {
		case len(f.candidates) > 0:
			f.fill(p, plan, s)
		case p.trial:
			f.revive(waiting, s.Now)
		}
		if d.Instance = p.index; len(f.send) > 0 || len(f.expire) > 0 {
			break
		}
	}
	d.Send, d.Expire = f.send, f.expire
	return d
}

// fill chooses what a place gets.
func (f *Fresh) fill(p place, plan plan, s State) {
	if p.probe {
		f.probe()
		return
	}
	expired := len(f.expire)
	f.choose(p, plan, s)
	if p.trial && len(f.send) == 0 && len(f.expire) == expired {
		f.try()
	}
}

// Load implements Policy.
func (f *Fresh) Load(now time.Time) Load {
	f.demand.advance(now)
	f.weigh(now)
	f.load.Offered = f.demand.slow
	return f.load
}

// Predicted gives the time that a batch of a size is expected to take at an instance of usual speed.
func (f *Fresh) Predicted(size int) time.Duration { return f.profile.took(size, 1) }

// weigh compares what comes with what can be answered. It takes less to stay overloaded than to become so.
func (f *Fresh) weigh(now time.Time) {
	share := overloadShare
	if f.load.Overloaded {
		share = overloadSoon
	}
	over := f.peakRate > 0 && f.demand.slow > share*f.load.Capacity
	if over != f.load.Overloaded || f.load.Since.IsZero() {
		f.load.Overloaded, f.load.Since = over, now
	}
}

// wake has the decision's owner ask again at a time.
func (d *Decision) wake(at time.Time) {
	if d.Wake.IsZero() || at.Before(d.Wake) {
		d.Wake = at
	}
}

// lead moves the first k candidates by an order to the front, in that order. What is behind them is in no order.
func lead(list []candidate, k int, order func(a, b candidate) int) {
	const few = 16 // a list that is not worth dividing
	low, high := 0, len(list)
	for high-low > few {
		pivot, i, j := list[(low+high)/2], low, high-1
		for i <= j {
			for order(list[i], pivot) < 0 {
				i++
			}
			for order(list[j], pivot) > 0 {
				j--
			}
			if i <= j {
				list[i], list[j] = list[j], list[i]
				i, j = i+1, j-1
			}
		}
		switch {
		case k <= j:
			high = j + 1
		case k > i:
			low = i
		default:
			low, high = k, k // the first k are in front of the others
		}
	}
	slices.SortFunc(list[:max(k, high)], order)
}
