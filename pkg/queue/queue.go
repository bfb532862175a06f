// Package queue holds the frames that wait for one model: one slot for each stream, in which the newest frame wins. It decides nothing about batches;
// it answers what waits, what was superseded and what expired, so that every frame that leaves has a reason.
//
// A Queue is a single-threaded value without a clock: time comes in as an argument, and the owner serialises the calls.
package queue

import (
	"container/heap"
	"time"
)

// Entry is one frame that waits.
type Entry[K comparable, V any] struct {
	// Key names the stream. One entry of a key waits at a time.
	Key K
	// Value is the frame. The queue never looks into it.
	Value V
	// Arrived is when the frame came to the queue's owner.
	Arrived time.Time
	// Deadline is when the frame is worth nothing any more.
	Deadline time.Time
	// Turn orders the streams fairly: the one whose turn is lower has had less service. The queue sets it.
	Turn uint64
}

// Verdict says what Push did with an entry.
type Verdict uint8

const (
	// Waiting means that the entry took a free slot.
	Waiting Verdict = iota + 1
	// Replaced means that the entry took the slot of an older one, which Push returned.
	Replaced
	// Full means that the entry's stream is new and that the queue holds as many streams as it may; Push returned the entry itself.
	Full
)

// Queue holds at most one entry for each key, for at most a fixed number of keys. Push, Take, Expire and Remove cost O(log n).
//
// Turns are start-time fair queueing (Goyal, Vin, Cheng 1996): each service moves a stream's turn on by one, and a stream that had nothing to serve for
// a while continues at the turn that is being served. So it neither saves up service nor waits behind those who had more.
type Queue[K comparable, V any] struct {
	limit int
	lanes map[K]*lane[K, V]
	order byDeadline[K, V]
	turn  uint64 // the highest that was served
}

// lane is what the queue knows of one stream. It outlives the entry, so that the turn of the next one is known.
type lane[K comparable, V any] struct {
	entry Entry[K, V]
	turn  uint64
	index int // in Queue.order, or absent
}

const absent = -1

// New makes a queue for at most limit streams, waiting or remembered. A stream is remembered until Remove.
func New[K comparable, V any](limit int) *Queue[K, V] {
	return &Queue[K, V]{limit: limit, lanes: make(map[K]*lane[K, V])}
}

// Len gives the number of entries that wait.
func (q *Queue[K, V]) Len() int { return len(q.order) }

// Streams gives the number of streams that the queue knows, waiting or not.
func (q *Queue[K, V]) Streams() int { return len(q.lanes) }

// Push lets an entry wait. The entry returned is the one that will not: the superseded one for Replaced, e itself for Full, the zero entry for Waiting.
func (q *Queue[K, V]) Push(e Entry[K, V]) (Entry[K, V], Verdict) {
	l, known := q.lanes[e.Key]
	if !known {
		if len(q.lanes) >= q.limit {
			return e, Full
		}
		l = &lane[K, V]{index: absent}
		q.lanes[e.Key] = l
	}
	if l.index == absent {
		l.turn = max(l.turn, q.turn)
	}
	old := l.entry
	e.Turn = l.turn
	l.entry = e
	if l.index == absent {
		heap.Push(&q.order, l)
		return Entry[K, V]{}, Waiting
	}
	heap.Fix(&q.order, l.index)
	return old, Replaced
}

// At gives the i-th waiting entry, 0 ≤ i < Len, in no particular order; it stays valid until the queue changes. The caller may read it only.
func (q *Queue[K, V]) At(i int) *Entry[K, V] { return &q.order[i].entry }

// Take removes a stream's waiting entry to serve it, which ends the stream's turn. It returns false if none waits.
func (q *Queue[K, V]) Take(key K) (Entry[K, V], bool) {
	l := q.lanes[key]
	if l == nil || l.index == absent {
		return Entry[K, V]{}, false
	}
	q.turn = max(q.turn, l.turn)
	l.turn++
	return q.leave(l), true
}

// Drop removes a stream's waiting entry without serving it. It returns false if none waits.
func (q *Queue[K, V]) Drop(key K) (Entry[K, V], bool) {
	l := q.lanes[key]
	if l == nil || l.index == absent {
		return Entry[K, V]{}, false
	}
	return q.leave(l), true
}

// Expire removes the entry with the earliest deadline if that deadline is not after now. Call it until it returns false.
func (q *Queue[K, V]) Expire(now time.Time) (Entry[K, V], bool) {
	if len(q.order) == 0 || q.order[0].entry.Deadline.After(now) {
		return Entry[K, V]{}, false
	}
	return q.leave(q.order[0]), true
}

// NextDeadline gives the earliest deadline that waits.
func (q *Queue[K, V]) NextDeadline() (time.Time, bool) {
	if len(q.order) == 0 {
		return time.Time{}, false
	}
	return q.order[0].entry.Deadline, true
}

// Remove forgets a stream and returns its entry if one waited.
func (q *Queue[K, V]) Remove(key K) (Entry[K, V], bool) {
	e, waited := q.Drop(key)
	delete(q.lanes, key)
	return e, waited
}

// leave takes a lane's entry out of the order.
func (q *Queue[K, V]) leave(l *lane[K, V]) Entry[K, V] {
	heap.Remove(&q.order, l.index)
	e := l.entry
	l.entry = Entry[K, V]{} // holds no frame that the caller believes gone
	return e
}

// byDeadline is a heap of the lanes that have an entry, earliest deadline first; lanes know their place in it.
type byDeadline[K comparable, V any] []*lane[K, V]

func (h byDeadline[K, V]) Len() int           { return len(h) }
func (h byDeadline[K, V]) Less(i, j int) bool { return h[i].entry.Deadline.Before(h[j].entry.Deadline) }
func (h byDeadline[K, V]) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

// Push is heap.Interface's.
func (h *byDeadline[K, V]) Push(x any) {
	l := x.(*lane[K, V])
	l.index = len(*h)
	*h = append(*h, l)
}

// Pop is heap.Interface's.
func (h *byDeadline[K, V]) Pop() any {
	last := len(*h) - 1
	l := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	l.index = absent
	return l
}
