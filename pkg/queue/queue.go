// Package queue holds the frames that wait for one model, a lane for each stream. It decides nothing about batches; it answers what waits, what was
// superseded and what expired, so that every frame that leaves has a reason.
//
// A lane is one of two things. Pictures wait in one slot, in which the newest wins. Sound waits in order: a lane is a bounded queue that gives up its oldest
// entry when it is full, and its next entry is not offered while the one before is being served.
//
// A Queue is a single-threaded value without a clock: time comes in as an argument, and the owner serialises the calls.
package queue

import (
	"container/heap"
	"slices"
	"time"
)

// Entry is one frame that waits.
type Entry[K comparable, V any] struct {
	// Key names the stream.
	Key K
	// Value is the frame. The queue never looks into it.
	Value V
	// Arrived is when the frame came to the queue's owner.
	Arrived time.Time
	// Deadline is when the frame is worth nothing any more.
	Deadline time.Time
	// Turn orders the streams fairly: the one whose turn is lower has had less service for its weight. The queue sets it.
	Turn uint64
	// Weight is how many times the service of a stream of weight 1 its stream gets when there is not enough for all; 0 means 1. Class is its stream's class, which
	// the queue counts and otherwise only passes on; see Owed. Both are the owner's to give, from what it knows of the session, and the stream's last entry decides.
	Weight uint16
	Class  uint8
	// Latest is the deadline of the stream's last entry that waits behind this one, zero when none does. The queue sets it where it offers an entry.
	Latest time.Time
	// Serial numbers what is taken of the stream. Take sets it, and Return wants it back.
	Serial uint32
}

// Verdict says what Push did with an entry.
type Verdict uint8

const (
	// Waiting means that the entry waits and that nothing had to give way.
	Waiting Verdict = iota + 1
	// Replaced means that the entry took the slot of an older one, which Push returned.
	Replaced
	// Overflowed means that the lane was full and gave up its oldest entry, which Push returned.
	Overflowed
	// Full means that the entry's stream is new and that the queue holds as many streams as it may; Push returned the entry itself.
	Full
)

// Queue holds a lane for each key, for at most a fixed number of keys. Calls cost O(log n) in the number of lanes and O(n) in the entries of one.
//
// Turns are start-time fair queueing (Goyal, Vin, Cheng 1996): each service moves a stream's turn on, by less the more it weighs, and a stream that had nothing to
// serve for a while continues just before the turns that are being served. So it does not save up service, and one that asks for less than its share never waits
// behind those that ask for more. One whose entries left unserved several times in a row continues further before them each time, up to a bound: of streams in step
// whose turns are equal, the same ones would else be passed over for ever, because theirs are always a little older.
type Queue[K comparable, V any] struct {
	limit   int
	depth   int  // entries of a lane
	ordered bool // a lane keeps its order, else its newest entry wins
	lanes   map[K]*lane[K, V]
	// offered are the lanes whose first entry may be served now, in no order.
	offered []*lane[K, V]
	due     byDeadline[K, V]
	len     int
	shares  shares
}

// lane is what the queue knows of one stream. It outlives its entries, so that the turn of the next one is known.
type lane[K comparable, V any] struct {
	key     K
	entries []Entry[K, V] // oldest first
	turn    uint64
	step    uint64 // by which a service moves turn on
	class   uint8
	taken   uint32 // number of entries that were taken
	denied  uint64 // number of entries that expired since one was taken, up to mostDenied
	// serving is true from Take to Done in an ordered queue.
	serving bool
	// removed is true when the stream was removed while it was served: the lane goes with Done.
	removed bool
	// first is the earliest deadline of the entries.
	first   time.Time
	due     int // index in Queue.due, or absent
	offered int // index in Queue.offered, or absent
}

const absent = -1

// New makes a queue of slots for at most limit streams, waiting or remembered. A stream is remembered until Remove.
func New[K comparable, V any](limit int) *Queue[K, V] {
	return &Queue[K, V]{limit: limit, depth: 1, lanes: make(map[K]*lane[K, V])}
}

// NewOrdered makes a queue of ordered lanes, each of at most depth entries, for at most limit streams.
func NewOrdered[K comparable, V any](limit, depth int) *Queue[K, V] {
	return &Queue[K, V]{limit: limit, depth: depth, ordered: true, lanes: make(map[K]*lane[K, V])}
}

// Len gives the number of entries that wait.
func (q *Queue[K, V]) Len() int { return q.len }

// Streams gives the number of streams that the queue knows, waiting or not.
func (q *Queue[K, V]) Streams() int { return len(q.lanes) }

// Knows tells whether the queue remembers a stream: since its first entry, until Remove.
func (q *Queue[K, V]) Knows(key K) bool {
	l := q.lanes[key]
	return l != nil && !l.removed
}

// Push lets an entry wait. The entry returned is the one that will not: the superseded one for Replaced, the oldest for Overflowed, e itself for Full, the zero
// entry for Waiting.
func (q *Queue[K, V]) Push(e Entry[K, V]) (Entry[K, V], Verdict) {
	l, known := q.lanes[e.Key]
	if !known {
		if len(q.lanes) >= q.limit {
			return e, Full
		}
		l = &lane[K, V]{key: e.Key, due: absent, offered: absent}
		q.lanes[e.Key] = l
	}
	l.removed = false
	if l.offered != absent && l.class != e.Class {
		q.shares.leaves(l.class)
		q.shares.waits(e.Class)
	}
	l.class, l.step = e.Class, service/max(1, uint64(e.Weight))
	var gone Entry[K, V]
	verdict := Waiting
	if len(l.entries) == q.depth {
		gone, verdict = q.cut(l, 0), Replaced
		if q.ordered {
			verdict = Overflowed
		}
	}
	joins := q.shares.joins(l.class, l.step)
	l.turn = max(l.turn, joins-min(joins, (max(l.denied, borne)-borne)*l.step))
	l.entries = append(l.entries, e)
	q.len++
	q.place(l)
	return gone, verdict
}

// Offered gives the number of entries that may be served now: one of each lane that has any, but for those that are being served.
func (q *Queue[K, V]) Offered() int { return len(q.offered) }

// At gives the i-th offered entry, 0 ≤ i < Offered, in no particular order. It is of another stream than all others.
func (q *Queue[K, V]) At(i int) Entry[K, V] {
	l := q.offered[i]
	e := l.entries[0]
	e.Turn = l.turn
	if last := len(l.entries) - 1; last > 0 {
		e.Latest = l.entries[last].Deadline
	}
	return e
}

// Take removes a stream's offered entry to serve it, which ends the stream's turn. It returns false if none is offered. In an ordered queue, nothing of the stream is
// offered again before Done.
func (q *Queue[K, V]) Take(key K) (Entry[K, V], bool) {
	l := q.lanes[key]
	if l == nil || l.offered == absent {
		return Entry[K, V]{}, false
	}
	e := q.leave(l)
	l.serving = q.ordered
	q.shares.served(l.class, l.turn)
	l.turn += l.step
	l.taken++
	l.denied = 0
	e.Serial = l.taken
	q.place(l)
	return e, true
}

// Return lets what was taken of a stream wait again as if it had not been. It returns false, and does nothing, when that is no use any more: when something newer
// of the stream was taken since, waits in its slot or leaves no room in its line, and when the stream was forgotten. In an ordered queue it comes before Done.
func (q *Queue[K, V]) Return(e Entry[K, V]) bool {
	l := q.lanes[e.Key]
	if l == nil || l.removed || l.taken != e.Serial || len(l.entries) == q.depth {
		return false
	}
	l.turn -= min(l.turn, l.step)
	l.entries = slices.Insert(l.entries, 0, e)
	q.len++
	q.place(l)
	return true
}

// Done says that what was taken of a stream has been served. It does nothing if nothing was, and in a queue of slots.
func (q *Queue[K, V]) Done(key K) {
	l := q.lanes[key]
	switch {
	case l == nil:
	case l.removed:
		delete(q.lanes, key)
	default:
		l.serving = false
		q.place(l)
	}
}

// Drop removes a stream's offered entry without serving it. It returns false if none is offered.
func (q *Queue[K, V]) Drop(key K) (Entry[K, V], bool) {
	l := q.lanes[key]
	if l == nil || l.offered == absent {
		return Entry[K, V]{}, false
	}
	e := q.deny(l, 0)
	e.Turn = l.turn
	q.place(l)
	return e, true
}

// Expire removes the entry with the earliest deadline if that deadline is not after now. Call it until it returns false.
func (q *Queue[K, V]) Expire(now time.Time) (Entry[K, V], bool) {
	if len(q.due) == 0 || q.due[0].first.After(now) {
		return Entry[K, V]{}, false
	}
	l := q.due[0]
	e := q.deny(l, slices.IndexFunc(l.entries, func(e Entry[K, V]) bool { return e.Deadline.Equal(l.first) }))
	q.place(l)
	return e, true
}

// NextDeadline gives the earliest deadline that waits.
func (q *Queue[K, V]) NextDeadline() (time.Time, bool) {
	if len(q.due) == 0 {
		return time.Time{}, false
	}
	return q.due[0].first, true
}

// Owed gives, by class, the number of entries that are due to it before any other is served, so that no class is starved by those before it: each but the first
// is due a small share of what is served while it waits. It is nil while all streams are of the first class, and valid until the next call.
func (q *Queue[K, V]) Owed() []int { return q.shares.due() }

// Remove forgets a stream and returns what waited of it, oldest first. One that is being served counts as a stream until Done.
func (q *Queue[K, V]) Remove(key K) []Entry[K, V] {
	l := q.lanes[key]
	if l == nil {
		return nil
	}
	left := l.entries
	q.len -= len(left)
	l.entries, l.removed = nil, true
	q.place(l)
	if !l.serving {
		delete(q.lanes, key)
	}
	return left
}

// RemoveAll forgets all streams and returns what waited.
func (q *Queue[K, V]) RemoveAll() []Entry[K, V] {
	var left []Entry[K, V]
	for key := range q.lanes {
		left = append(left, q.Remove(key)...)
	}
	return left
}

// leave takes a lane's first entry out. The caller places the lane.
func (q *Queue[K, V]) leave(l *lane[K, V]) Entry[K, V] {
	e := q.cut(l, 0)
	e.Turn = l.turn
	return e
}

// deny takes a lane's i-th entry out, which nobody served in time. The caller places the lane.
func (q *Queue[K, V]) deny(l *lane[K, V], i int) Entry[K, V] {
	l.denied = min(l.denied+1, mostDenied)
	return q.cut(l, i)
}

// cut takes a lane's i-th entry out. The caller places the lane.
func (q *Queue[K, V]) cut(l *lane[K, V], i int) Entry[K, V] {
	e := l.entries[i]
	l.entries = slices.Delete(l.entries, i, i+1) // clears what it leaves behind: no frame is held that the caller believes gone
	q.len--
	return e
}

// place puts a lane where it belongs after a change: among those that can expire, and among those that are offered.
func (q *Queue[K, V]) place(l *lane[K, V]) {
	if len(l.entries) > 0 {
		l.first = l.entries[0].Deadline
		for i := range l.entries[1:] {
			if d := l.entries[i+1].Deadline; d.Before(l.first) {
				l.first = d
			}
		}
	}
	switch {
	case len(l.entries) == 0 && l.due != absent:
		heap.Remove(&q.due, l.due)
	case len(l.entries) > 0 && l.due == absent:
		heap.Push(&q.due, l)
	case len(l.entries) > 0:
		heap.Fix(&q.due, l.due)
	}
	q.offer(l, len(l.entries) > 0 && !l.serving)
}

func (q *Queue[K, V]) offer(l *lane[K, V], offered bool) {
	switch {
	case offered == (l.offered != absent):
	case offered:
		q.shares.waits(l.class)
		l.offered = len(q.offered)
		q.offered = append(q.offered, l)
	default:
		q.shares.leaves(l.class)
		last := len(q.offered) - 1
		q.offered[l.offered] = q.offered[last]
		q.offered[l.offered].offered = l.offered
		q.offered[last] = nil
		q.offered = q.offered[:last]
		l.offered = absent
	}
}

// byDeadline is a heap of the lanes that have entries, earliest deadline first; lanes know their place in it.
type byDeadline[K comparable, V any] []*lane[K, V]

func (h byDeadline[K, V]) Len() int           { return len(h) }
func (h byDeadline[K, V]) Less(i, j int) bool { return h[i].first.Before(h[j].first) }
func (h byDeadline[K, V]) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].due, h[j].due = i, j
}

// Push is heap.Interface's.
func (h *byDeadline[K, V]) Push(x any) {
	l := x.(*lane[K, V])
	l.due = len(*h)
	*h = append(*h, l)
}

// Pop is heap.Interface's.
func (h *byDeadline[K, V]) Pop() any {
	last := len(*h) - 1
	l := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	l.due = absent
	return l
}
