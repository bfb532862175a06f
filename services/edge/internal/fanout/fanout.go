// Package fanout hands each value to many readers through one bounded ring. A reader that is slow loses its oldest values, never the
// newest, and learns how many it lost; nobody ever waits for a reader. There are no goroutines in it.
package fanout

import (
	"context"
	"errors"
	"io"
	"sync"
)

// Live, given to Subscribe, asks for values from now on.
const Live = ^uint64(0)

var (
	// ErrTooManyReaders is given by Subscribe at the limit of readers.
	ErrTooManyReaders = errors.New("too many readers")
	// ErrClosed is given by Publish after Close.
	ErrClosed = errors.New("closed")
)

// Limits bound a Ring. All fields are required.
type Limits struct {
	// Items and Bytes are how much is kept for slow readers and later ones. The newest value is always kept.
	Items, Bytes int
	// Readers is how many there may be at a time, besides those of Attach.
	Readers int
}

// Item is a value as a reader gets it.
type Item[T any] struct {
	// ID counts the values from 1.
	ID    uint64
	Value T
	// Skipped is how many values of the reader's choice were lost right before this one.
	Skipped uint64
}

// Ring keeps the newest values. It is safe for concurrent use. Its zero value is not usable.
type Ring[T any] struct {
	limits Limits
	size   func(T) int

	mu      sync.Mutex
	kept    []entry[T] // oldest first, ids without gaps
	bytes   int
	newest  uint64
	closed  bool
	readers map[*Reader[T]]struct{}
	counted int // readers that count against the limit
}

type entry[T any] struct {
	id    uint64
	bytes int
	value T
}

// New makes a ring of values whose sizes in bytes the function tells.
func New[T any](limits Limits, size func(T) int) *Ring[T] {
	return &Ring[T]{limits: limits, size: size, readers: make(map[*Reader[T]]struct{})}
}

// Publish adds the newest value, and never blocks. It fails with ErrClosed only.
func (r *Ring[T]) Publish(v T) error {
	bytes := r.size(v)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return ErrClosed
	}
	r.newest++
	r.kept = append(r.kept, entry[T]{id: r.newest, bytes: bytes, value: v})
	r.bytes += bytes
	for len(r.kept) > 1 && (len(r.kept) > r.limits.Items || r.bytes > r.limits.Bytes) {
		r.evict()
	}
	for reader := range r.readers {
		reader.wake()
	}
	return nil
}

// evict gives up the oldest value and counts it for the readers that had not come to it.
func (r *Ring[T]) evict() {
	oldest := r.kept[0]
	for reader := range r.readers {
		if reader.next > oldest.id {
			continue
		}
		reader.next = oldest.id + 1
		if reader.counts(oldest.value) {
			reader.skipped++
		}
	}
	r.kept[0] = entry[T]{}
	r.kept = r.kept[1:]
	r.bytes -= oldest.bytes
}

// Choice tells which values a reader wants. Its functions must be pure and must not block; nil means all.
type Choice[T any] struct {
	// Wants picks the values that the reader gets.
	Wants func(T) bool
	// Counts picks, of those, the values whose loss is counted in Item.Skipped.
	Counts func(T) bool
	// Perishes picks, of those, the values that Freshen passes over. Those that count must be among them.
	Perishes func(T) bool
}

// Subscribe makes a reader of the values after the id given: 0 for all that are kept, Live for those to come. Ids that are no longer kept
// count as lost, wanted or not, since it cannot be known what they were. After Close, the reader gets what is kept.
func (r *Ring[T]) Subscribe(after uint64, choice Choice[T]) (*Reader[T], error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.counted >= r.limits.Readers {
		return nil, ErrTooManyReaders
	}
	r.counted++
	reader := r.attach(after, choice)
	reader.counted = true
	return reader, nil
}

// Attach makes a reader like Subscribe that always finds a place, whoever else reads: the caller bounds their number.
func (r *Ring[T]) Attach(after uint64, choice Choice[T]) *Reader[T] {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.attach(after, choice)
}

func (r *Ring[T]) attach(after uint64, choice Choice[T]) *Reader[T] {
	reader := &Reader[T]{ring: r, choice: choice, signal: make(chan struct{}, 1)}
	oldest := r.newest + 1 - uint64(len(r.kept))
	switch {
	case after >= r.newest:
		reader.next = r.newest + 1
	case after+1 < oldest && after > 0:
		reader.next, reader.skipped = oldest, oldest-after-1
	default:
		reader.next = max(after+1, oldest)
	}
	r.readers[reader] = struct{}{}
	return reader
}

// Readers is the number of readers.
func (r *Ring[T]) Readers() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.readers)
}

// Close ends the values: readers get what is left and then io.EOF. Closing twice is harmless.
func (r *Ring[T]) Close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	for reader := range r.readers {
		reader.wake()
	}
}

// Reader is one reader's place in a Ring. Next is called from one goroutine at a time, Close from any.
type Reader[T any] struct {
	ring   *Ring[T]
	choice Choice[T]
	signal chan struct{} // holds one token when there may be something new

	// Guarded by ring.mu.
	next    uint64 // id of the value to look at next
	fresh   uint64 // perishable values before this id are passed over
	skipped uint64
	closed  bool
	counted bool
}

// Next gives the next value, waiting for it until ctx ends: what is there is given all the same, so that an end is not missed by those who are
// stopped along with it. The error is io.EOF after the ring's Close, when nothing is left, and after
// the reader's own; it is ctx's error otherwise.
func (r *Reader[T]) Next(ctx context.Context) (Item[T], error) {
	for {
		item, ok, err := r.take()
		if ok || err != nil {
			return item, err
		}
		if err := ctx.Err(); err != nil {
			return Item[T]{}, err
		}
		select {
		case <-ctx.Done():
		case <-r.signal:
		}
	}
}

// Ended tells whether Next would give io.EOF at once.
func (r *Reader[T]) Ended() bool {
	r.ring.mu.Lock()
	defer r.ring.mu.Unlock()
	_, more := r.peek()
	return r.closed || r.ring.closed && !more
}

// Freshen is for a reader who could not read for a while and has no use for what went stale meanwhile: of the values that are there it passes
// over those that perish and are older than the newest one that counts. It tells whether there is such a one.
func (r *Reader[T]) Freshen() (counts bool) {
	ring := r.ring
	ring.mu.Lock()
	defer ring.mu.Unlock()
	for i := len(ring.kept) - 1; i >= 0 && ring.kept[i].id >= r.next; i-- {
		if r.counts(ring.kept[i].value) {
			r.fresh = ring.kept[i].id
			return true
		}
	}
	return false
}

// Close gives the reader up. Closing twice is harmless.
func (r *Reader[T]) Close() {
	r.ring.mu.Lock()
	defer r.ring.mu.Unlock()
	if r.counted {
		r.ring.counted--
		r.counted = false
	}
	r.closed = true
	delete(r.ring.readers, r)
	r.wake()
}

func (r *Reader[T]) take() (Item[T], bool, error) {
	ring := r.ring
	ring.mu.Lock()
	defer ring.mu.Unlock()
	if r.closed {
		return Item[T]{}, false, io.EOF
	}
	if e, ok := r.peek(); ok {
		item := Item[T]{ID: e.id, Value: e.value, Skipped: r.skipped}
		r.next, r.skipped = r.next+1, 0
		return item, true, nil
	}
	if ring.closed {
		return Item[T]{}, false, io.EOF
	}
	return Item[T]{}, false, nil
}

// peek moves on to the next value that is wanted; false when there is none yet. The ring is locked.
func (r *Reader[T]) peek() (e entry[T], ok bool) {
	for ring := r.ring; r.next <= ring.newest; r.next++ {
		e := ring.kept[len(ring.kept)-1-int(ring.newest-r.next)]
		switch {
		case r.choice.Wants != nil && !r.choice.Wants(e.value):
		case e.id < r.fresh && (r.choice.Perishes == nil || r.choice.Perishes(e.value)):
			if r.counts(e.value) {
				r.skipped++
			}
		default:
			return e, true
		}
	}
	return e, false
}

func (r *Reader[T]) counts(v T) bool {
	return (r.choice.Wants == nil || r.choice.Wants(v)) && (r.choice.Counts == nil || r.choice.Counts(v))
}

func (r *Reader[T]) wake() {
	select {
	case r.signal <- struct{}{}:
	default:
	}
}
