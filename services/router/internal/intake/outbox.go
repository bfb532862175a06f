package intake

import (
	"context"
	"sync"
	"time"

	"github.com/sluice-dev/sluice/pkg/media"
)

// creditKey names what a credit is for.
type creditKey struct {
	stream string
	input  uint32
}

// demandKey names what a demand is of.
type demandKey struct{ stream, model string }

// maxDemands bounds the demands that wait. A call has fewer streams and models by far.
const maxDemands = 1024

// maxCredits bounds the credits that wait. No edge that keeps to its windows gets near it: what it has not been given back, it cannot spend.
const maxCredits = 1024

// letter is one message for the edge: exactly one of the fields is set.
type letter struct {
	drain   bool
	within  float64 // of drain: seconds that the router goes on for
	opened  bool
	outcome *media.Outcome
	credit  *credit
	demand  *media.Demand
}

type credit struct {
	creditKey
	frames uint32
}

// outbox holds what waits to be sent on one call. It is bounded: outcomes by limit, the oldest lost first, credits by the number of (stream, input)
// pairs, as they add up, and demands by that of (stream, model) pairs, of which the newest counts. It is safe for concurrent use; putting something in never blocks.
type outbox struct {
	lose  func(n int) // counts outcomes that nobody will be told of
	limit int
	ready chan struct{} // holds one token when next should look again

	mu                              sync.Mutex
	toldDrain, drains, last, closed bool
	end                             time.Time // of the router, when it drains
	reopens                         bool
	outcomes                        []media.Outcome // a ring once it has grown to limit
	first                           int             // of outcomes: the oldest
	waiting                         int
	credits                         map[creditKey]uint32
	order                           []creditKey // of credits: first come, first sent
	demands                         map[demandKey]media.Demand
}

func newOutbox(limit int, lose func(n int)) *outbox {
	return &outbox{lose: lose, limit: limit, ready: make(chan struct{}, 1), credits: make(map[creditKey]uint32), demands: make(map[demandKey]media.Demand)}
}

// add puts an outcome in.
func (b *outbox) add(o media.Outcome) {
	b.mu.Lock()
	lost := 0
	switch {
	case b.closed:
		lost = 1
	case b.waiting == b.limit:
		lost = 1
		b.outcomes[b.first] = o
		b.first = (b.first + 1) % b.limit
	default:
		if len(b.outcomes) < b.limit && b.waiting == len(b.outcomes) {
			b.grow()
		}
		b.outcomes[(b.first+b.waiting)%len(b.outcomes)] = o
		b.waiting++
	}
	b.mu.Unlock()
	if lost > 0 {
		b.lose(lost)
	}
	b.signal()
}

// grow doubles the ring, up to the limit, oldest first. Most calls never need much of it. The caller holds the lock.
func (b *outbox) grow() {
	larger := make([]media.Outcome, min(b.limit, max(8, 2*len(b.outcomes))))
	for i := range b.waiting {
		larger[i] = b.outcomes[(b.first+i)%len(b.outcomes)]
	}
	b.outcomes, b.first = larger, 0
}

// credit returns one frame's credit, behind the outcomes that are in already.
func (b *outbox) credit(key creditKey) {
	b.mu.Lock()
	if n := b.credits[key]; n > 0 {
		b.credits[key] = n + 1
	} else if !b.closed && len(b.credits) < maxCredits {
		b.credits[key] = 1
		b.order = append(b.order, key)
	}
	b.mu.Unlock()
	b.signal()
}

// demand puts a demand in, in place of an older one of the same model and stream.
func (b *outbox) demand(d media.Demand) {
	key := demandKey{d.Stream, d.Model}
	b.mu.Lock()
	if _, waits := b.demands[key]; !b.closed && (waits || len(b.demands) < maxDemands) {
		b.demands[key] = d
	}
	b.mu.Unlock()
	b.signal()
}

// drain lets the edge know that the router is shutting down, and how long it still goes on.
func (b *outbox) drain(end time.Time) {
	b.mu.Lock()
	b.drains, b.end = true, end
	b.mu.Unlock()
	b.signal()
}

// reopen lets the edge know what the models need now.
func (b *outbox) reopen() {
	b.mu.Lock()
	b.reopens = true
	b.mu.Unlock()
	b.signal()
}

// finish lets next return false once everything that is in has been taken.
func (b *outbox) finish() {
	b.mu.Lock()
	b.last = true
	b.mu.Unlock()
	b.signal()
}

// close loses everything that waits or will be put in. next returns false.
func (b *outbox) close() {
	b.mu.Lock()
	lost := b.waiting
	b.closed, b.outcomes, b.first, b.waiting, b.credits, b.order, b.demands = true, nil, 0, 0, nil, nil, nil
	b.mu.Unlock()
	b.lose(lost)
	b.signal()
}

// next takes the next message out, waiting for one until ctx ends. It returns false when no more will come.
func (b *outbox) next(ctx context.Context) (letter, bool) {
	for {
		l, found, more := b.take()
		if found || !more {
			return l, found
		}
		select {
		case <-ctx.Done():
			return letter{}, false
		case <-b.ready:
		}
	}
}

// take takes the next message out if there is one, and tells whether more may come.
func (b *outbox) take() (l letter, found, more bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.closed:
		return letter{}, false, false
	case b.drains && !b.toldDrain:
		b.toldDrain = true
		return letter{drain: true, within: max(0, time.Until(b.end).Seconds())}, true, true
	case b.reopens:
		b.reopens = false
		return letter{opened: true}, true, true
	case len(b.demands) > 0: // before the outcomes, of which there may be too many for want of it
		return letter{demand: b.anyDemand()}, true, true
	case b.waiting > 0:
		o := b.outcomes[b.first]
		b.outcomes[b.first] = media.Outcome{}
		b.first, b.waiting = (b.first+1)%len(b.outcomes), b.waiting-1
		return letter{outcome: &o}, true, true
	case len(b.order) > 0:
		key := b.order[0]
		b.order = b.order[1:]
		frames := b.credits[key]
		delete(b.credits, key)
		return letter{credit: &credit{key, frames}}, true, true
	}
	return letter{}, false, !b.last
}

// anyDemand takes a demand out; nil when there is none. The caller holds the lock.
func (b *outbox) anyDemand() *media.Demand {
	for key, d := range b.demands {
		delete(b.demands, key)
		return &d
	}
	return nil
}

func (b *outbox) signal() {
	select {
	case b.ready <- struct{}{}:
	default:
	}
}
