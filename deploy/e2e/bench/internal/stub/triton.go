package stub

import (
	"errors"
	"slices"
	"time"
)

// TritonRules are the rules of Triton Inference Server's dynamic batcher, written anew from its documentation (docs/user_guide/batcher.md and the ModelQueuePolicy of its
// model configuration); this is not Triton. There is one queue for all instances and one priority level; requests are batched in the order in which they came. Not modelled:
// priorities, DELAY as timeout action, timeouts of single requests, custom batching, and the second batch that Triton may have ready for a busy instance.
type TritonRules struct {
	// Max is max_batch_size, at least 1.
	Max int
	// Preferred is preferred_batch_size.
	Preferred []int
	// Delay is max_queue_delay_microseconds: how long the oldest request may wait for a batch of the largest or a preferred size. Zero sends what there is.
	Delay time.Duration
	// Timeout is default_timeout_microseconds with timeout_action REJECT: how long a request may have waited when a batch is formed. Zero is none. It is looked at when an
	// instance is free, and while all are busy only every half second, so that the refusal of an expired request may come late.
	Timeout time.Duration
	// MaxQueue is max_queue_size: requests that wait beyond it are refused. Zero is no limit.
	MaxQueue int
}

// idleLook is how often expired requests are looked for while no instance is free.
const idleLook = 500 * time.Millisecond

var (
	errQueueFull = errors.New("the queue is full")
	errExpired   = errors.New("the request waited longer than the queue's timeout")
)

// triton is a queue under TritonRules.
type triton struct {
	rules  TritonRules
	queue  []*request // oldest first
	looked time.Time  // when expired requests were last looked for
}

func newTriton(rules TritonRules) *triton {
	rules.Preferred = slices.Sorted(slices.Values(rules.Preferred))
	return &triton{rules: rules}
}

func (t *triton) push(r *request) error {
	if t.rules.MaxQueue > 0 && len(t.queue) >= t.rules.MaxQueue {
		return errQueueFull
	}
	if len(t.queue) == 0 {
		t.looked = r.arrived
	}
	t.queue = append(t.queue, r)
	return nil
}

func (t *triton) take(now time.Time, free bool) (run, expired []*request, wake time.Time) {
	if free || !now.Before(t.looked.Add(idleLook)) {
		expired = t.reject(now)
		t.looked = now
	}
	if len(t.queue) == 0 {
		return nil, expired, time.Time{}
	}
	if !free {
		if t.rules.Timeout > 0 {
			wake = t.looked.Add(idleLook)
		}
		return nil, expired, wake
	}
	n, wake := t.form(now)
	run = slices.Clone(t.queue[:n])
	t.drop(n)
	return run, expired, wake
}

// reject takes the requests out that have waited too long. All have the same timeout, so they are the first.
func (t *triton) reject(now time.Time) []*request {
	n := 0
	for t.rules.Timeout > 0 && n < len(t.queue) && now.Sub(t.queue[n].arrived) > t.rules.Timeout {
		n++
	}
	expired := slices.Clone(t.queue[:n])
	t.drop(n)
	return expired
}

func (t *triton) drop(n int) {
	clear(t.queue[:n])
	t.queue = t.queue[n:]
}

// form gives the number of requests of the batch to run now; none before wake.
func (t *triton) form(now time.Time) (n int, wake time.Time) {
	size, preferred, full := 0, 0, false
	for _, r := range t.queue {
		if n > 0 && size+r.size > t.rules.Max {
			full = true
			break
		}
		size += r.size
		n++
		if slices.Contains(t.rules.Preferred, size) {
			preferred = n
		}
	}
	due := t.queue[0].arrived.Add(t.rules.Delay)
	overdue := t.rules.Delay > 0 && !now.Before(due)
	switch {
	case preferred > 0 && !overdue:
		return preferred, time.Time{}
	case full || size >= t.rules.Max || overdue || t.rules.Delay == 0:
		return n, time.Time{}
	default:
		return 0, due
	}
}
