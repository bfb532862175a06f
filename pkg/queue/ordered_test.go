package queue

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func values(entries []Entry[string, int]) []int {
	var list []int
	for _, e := range entries {
		list = append(list, e.Value)
	}
	return list
}

// offers gives what a queue offers of a stream, 0 for nothing.
func offers(q *Queue[string, int], key string) int {
	for i := range q.Offered() {
		if e := q.At(i); e.Key == key {
			return e.Value
		}
	}
	return 0
}

func TestOrderedLaneIsServedOneByOne(t *testing.T) {
	t.Parallel()
	q := NewOrdered[string, int](2, 3)
	q.Push(entry("a", 1, 100))
	q.Push(entry("a", 2, 110))
	q.Push(entry("b", 7, 105))
	if q.Len() != 3 || q.Offered() != 2 || offers(q, "a") != 1 || offers(q, "b") != 7 {
		t.Fatalf("%d wait, %d are offered, of a %d, of b %d; want the first of each", q.Len(), q.Offered(), offers(q, "a"), offers(q, "b"))
	}
	for i := range q.Offered() {
		if e := q.At(i); e.Key == "a" && !e.Latest.Equal(at(110)) || e.Key == "b" && !e.Latest.IsZero() {
			t.Errorf("behind entry %d of %s the latest deadline is %v", e.Value, e.Key, e.Latest)
		}
	}
	if e, ok := q.Take("a"); !ok || e.Value != 1 {
		t.Fatalf("take: %+v, %v, want entry 1", e, ok)
	}
	if e, ok := q.Take("a"); ok || offers(q, "a") != 0 {
		t.Fatalf("entry %+v was offered while the one before is being served", e)
	}
	q.Push(entry("a", 3, 120))
	if offers(q, "a") != 0 {
		t.Error("a new entry was offered while an older one is being served")
	}
	q.Done("a")
	if offers(q, "a") != 2 {
		t.Errorf("after the first was served, %d is offered, want entry 2", offers(q, "a"))
	}
}

func TestOrderedLaneGivesUpItsOldest(t *testing.T) {
	t.Parallel()
	q := NewOrdered[string, int](1, 2)
	q.Push(entry("a", 1, 100))
	q.Push(entry("a", 2, 110))
	if gone, v := q.Push(entry("a", 3, 120)); v != Overflowed || gone.Value != 1 {
		t.Fatalf("push onto a full lane: %+v, %v, want entry 1 to overflow", gone, v)
	}
	if next, ok := q.NextDeadline(); !ok || !next.Equal(at(110)) {
		t.Errorf("next deadline %v, %v, want that of entry 2", next, ok)
	}
	if left := values(q.Remove("a")); !slices.Equal(left, []int{2, 3}) {
		t.Errorf("removed %v, want [2 3]", left)
	}
}

// TestOrderedLaneExpiresBehindWhatIsServed lets entries expire behind one that is being served, and one whose deadline is before that of an older one.
func TestOrderedLaneExpiresBehindWhatIsServed(t *testing.T) {
	t.Parallel()
	q := NewOrdered[string, int](1, 4)
	q.Push(entry("a", 1, 100))
	q.Take("a")
	q.Push(entry("a", 2, 90))
	q.Push(entry("a", 3, 60))
	q.Push(entry("a", 4, 130))
	var expired []int
	for e, ok := q.Expire(at(95)); ok; e, ok = q.Expire(at(95)) {
		expired = append(expired, e.Value)
	}
	if !slices.Equal(expired, []int{3, 2}) {
		t.Errorf("expired %v, want [3 2]: the earliest deadline first, wherever it waits", expired)
	}
	q.Done("a")
	if offers(q, "a") != 4 {
		t.Errorf("%d is offered, want entry 4", offers(q, "a"))
	}
}

// TestRemovedWhileServed forgets a stream whose entry is being served: one of the same name waits until that is over.
func TestRemovedWhileServed(t *testing.T) {
	t.Parallel()
	q := NewOrdered[string, int](1, 2)
	q.Push(entry("a", 1, 100))
	q.Take("a")
	q.Push(entry("a", 2, 110))
	if left := values(q.Remove("a")); !slices.Equal(left, []int{2}) || q.Streams() != 1 {
		t.Fatalf("removed %v, %d streams; want entry 2 and the stream until it is served", left, q.Streams())
	}
	if _, v := q.Push(entry("b", 9, 100)); v != Full {
		t.Errorf("push beyond the limit: %v, want Full", v)
	}
	q.Push(entry("a", 3, 120))
	if offers(q, "a") != 0 {
		t.Error("the new stream is served beside the old one")
	}
	q.Done("a")
	if offers(q, "a") != 3 {
		t.Errorf("%d is offered, want entry 3", offers(q, "a"))
	}
	q.Take("a")
	q.Remove("a")
	q.Done("a")
	if q.Streams() != 0 || q.Len() != 0 {
		t.Errorf("%d streams, %d entries are left", q.Streams(), q.Len())
	}
}

func TestRemoveAll(t *testing.T) {
	t.Parallel()
	q := NewOrdered[string, int](3, 2)
	q.Push(entry("a", 1, 100))
	q.Push(entry("a", 2, 100))
	q.Push(entry("b", 3, 100))
	q.Take("b")
	q.Push(entry("b", 4, 100))
	left := values(q.RemoveAll())
	slices.Sort(left)
	if !slices.Equal(left, []int{1, 2, 4}) || q.Len() != 0 || q.Offered() != 0 {
		t.Errorf("removed %v, %d left, %d offered; want all that waited", left, q.Len(), q.Offered())
	}
}

// TestOrder drives an ordered queue: of each stream entries are taken in the order in which they came, never two at once, and every entry leaves once.
func TestOrder(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		const streams, depth = 3, 4
		q := NewOrdered[int, int](streams, depth)
		waiting, serving := map[int][]Entry[int, int]{}, map[int]bool{}
		now, pushed := 0, 0
		leave := func(key, value int) {
			at := slices.IndexFunc(waiting[key], func(e Entry[int, int]) bool { return e.Value == value })
			if at < 0 {
				t.Fatalf("entry %d of stream %d left, but %v wait", value, key, waiting[key])
			}
			waiting[key] = slices.Delete(waiting[key], at, at+1)
		}
		key := rapid.IntRange(0, streams-1)
		t.Repeat(map[string]func(*rapid.T){
			"push": func(t *rapid.T) {
				pushed++
				e := Entry[int, int]{Key: key.Draw(t, "key"), Value: pushed, Deadline: at(now + rapid.IntRange(0, 50).Draw(t, "remaining"))}
				gone, v := q.Push(e)
				if full := len(waiting[e.Key]) == depth; full != (v == Overflowed) || full && gone.Value != waiting[e.Key][0].Value {
					t.Fatalf("push onto %v: %+v, %v", waiting[e.Key], gone, v)
				}
				if v == Overflowed {
					leave(e.Key, gone.Value)
				}
				waiting[e.Key] = append(waiting[e.Key], e)
			},
			"take": func(t *rapid.T) {
				key := key.Draw(t, "key")
				e, ok := q.Take(key)
				if ok != (len(waiting[key]) > 0 && !serving[key]) || ok && e.Value != waiting[key][0].Value {
					t.Fatalf("take of %v, served %v: %+v, %v", waiting[key], serving[key], e, ok)
				}
				if ok {
					serving[key] = true
					leave(key, e.Value)
				}
			},
			"done": func(t *rapid.T) {
				key := key.Draw(t, "key")
				q.Done(key)
				serving[key] = false
			},
			"time passes": func(t *rapid.T) {
				now += rapid.IntRange(0, 30).Draw(t, "ms")
				for e, ok := q.Expire(at(now)); ok; e, ok = q.Expire(at(now)) {
					leave(e.Key, e.Value)
				}
			},
			"": func(t *rapid.T) {
				total, offered := 0, 0
				for key, list := range waiting {
					total += len(list)
					if len(list) > 0 && !serving[key] {
						offered++
					}
					for _, e := range list {
						if next, ok := q.NextDeadline(); !ok || e.Deadline.Before(next) {
							t.Fatalf("next deadline %v, %v, but %+v waits", next, ok, e)
						}
					}
				}
				if q.Len() != total || q.Offered() != offered {
					t.Fatalf("%d wait, %d offered, want %d and %d", q.Len(), q.Offered(), total, offered)
				}
			},
		})
	})
}

func TestOrderedDoesNotAllocate(t *testing.T) {
	q := NewOrdered[int, int](8, 8)
	for i := range 32 {
		q.Push(Entry[int, int]{Key: i % 8, Deadline: at(i)})
	}
	if n := testing.AllocsPerRun(100, func() {
		for key := range 8 {
			q.Take(key)
			q.Push(Entry[int, int]{Key: key, Deadline: at(1000)})
			q.Done(key)
		}
	}); n > 0 {
		t.Errorf("%v allocations, want none", n)
	}
}
