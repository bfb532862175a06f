package queue

import (
	"cmp"
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var start = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func at(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }

func entry(key string, value, deadline int) Entry[string, int] {
	return Entry[string, int]{Key: key, Value: value, Arrived: start, Deadline: at(deadline)}
}

func TestNewestWins(t *testing.T) {
	t.Parallel()
	q := New[string, int](2)
	if _, v := q.Push(entry("a", 1, 100)); v != Waiting {
		t.Fatalf("first push: %v, want Waiting", v)
	}
	old, v := q.Push(entry("a", 2, 200))
	if v != Replaced || old.Value != 1 {
		t.Fatalf("second push: %+v, %v, want entry 1 replaced", old, v)
	}
	if got, ok := q.Take("a"); !ok || got.Value != 2 {
		t.Fatalf("take: %+v, %v, want entry 2", got, ok)
	}
	if _, ok := q.Take("a"); ok {
		t.Fatal("the same entry was taken twice")
	}
}

func TestFullRefusesNewStreamsOnly(t *testing.T) {
	t.Parallel()
	q := New[string, int](1)
	q.Push(entry("a", 1, 100))
	if e, v := q.Push(entry("b", 2, 100)); v != Full || e.Value != 2 {
		t.Fatalf("push beyond the limit: %+v, %v, want entry 2 refused", e, v)
	}
	if _, v := q.Push(entry("a", 3, 100)); v != Replaced {
		t.Fatalf("push of a known stream: %v, want Replaced", v)
	}
	if left := q.Remove("a"); len(left) != 1 || left[0].Value != 3 {
		t.Fatalf("remove: %+v, want entry 3", left)
	}
	if _, v := q.Push(entry("b", 4, 100)); v != Waiting {
		t.Fatalf("push after room was made: %v, want Waiting", v)
	}
}

func TestTurns(t *testing.T) {
	t.Parallel()
	q := New[string, int](3)
	turn := func(key string) uint64 {
		q.Push(entry(key, 0, 100))
		e, _ := q.Drop(key)
		return e.Turn
	}
	for range 5 {
		q.Push(entry("busy", 1, 100))
		q.Take("busy")
	}
	if got := turn("busy"); got != 5*service {
		t.Errorf("turn after five services = %d, want %d: dropping is none", got, 5*service)
	}
	if got := turn("newcomer"); got != 3*service {
		t.Errorf("turn of a newcomer = %d, want %d, one before the one that was served last: it saved up nothing", got, 3*service)
	}
	q.Push(entry("newcomer", 2, 100))
	q.Push(entry("newcomer", 3, 100))
	if e, _ := q.Take("newcomer"); e.Turn != 3*service {
		t.Errorf("turn after being superseded = %d, want %d: that is no service", e.Turn, 3*service)
	}
	q.Remove("busy")
	if got := turn("busy"); got != 3*service {
		t.Errorf("turn of a forgotten stream = %d, want %d, as for a newcomer", got, 3*service)
	}
}

// TestSharesAreEven takes 15 of 16 streams a round: each of them must be left out equally often.
func TestSharesAreEven(t *testing.T) {
	t.Parallel()
	const streams, rounds = 16, 160
	q := New[int, int](streams)
	served := make([]int, streams)
	for range rounds {
		for i := range streams {
			q.Push(Entry[int, int]{Key: i, Deadline: start})
		}
		var keys []int
		turns := map[int]uint64{}
		for i := range q.Offered() {
			keys, turns[q.At(i).Key] = append(keys, q.At(i).Key), q.At(i).Turn
		}
		slices.SortFunc(keys, func(a, b int) int { return cmp.Or(cmp.Compare(turns[a], turns[b]), a-b) })
		for _, key := range keys[:streams-1] {
			q.Take(key)
			served[key]++
		}
	}
	if least, most := slices.Min(served), slices.Max(served); most-least > 1 {
		t.Errorf("streams were served %v times", served)
	}
}

func TestExpireInOrder(t *testing.T) {
	t.Parallel()
	q := New[string, int](4)
	q.Push(entry("c", 3, 30))
	q.Push(entry("a", 1, 10))
	q.Push(entry("b", 2, 20))
	if next, ok := q.NextDeadline(); !ok || !next.Equal(at(10)) {
		t.Fatalf("next deadline %v, %v, want %v", next, ok, at(10))
	}
	var got []int
	for e, ok := q.Expire(at(20)); ok; e, ok = q.Expire(at(20)) {
		got = append(got, e.Value)
	}
	if !slices.Equal(got, []int{1, 2}) || q.Len() != 1 {
		t.Errorf("expired %v, %d wait, want [1 2] and 1: a deadline that is now has passed", got, q.Len())
	}
}

// TestConservation drives a queue against a plain map: whatever is done, every entry pushed is waiting or was handed back exactly once.
func TestConservation(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		const limit = 4
		q := New[int, int](limit)
		waiting, known := map[int]Entry[int, int]{}, map[int]bool{}
		now, pushed, left := 0, 0, map[int]bool{}
		gone := func(e Entry[int, int]) {
			if left[e.Value] {
				t.Fatalf("entry %d left twice", e.Value)
			}
			left[e.Value] = true
		}
		expectLeft := func(key int, e Entry[int, int], ok bool) {
			want, waits := waiting[key]
			if ok != waits || ok && e.Value != want.Value {
				t.Fatalf("key %d gave %+v, %v, want %+v, %v", key, e, ok, want, waits)
			}
			if ok {
				gone(e)
				delete(waiting, key)
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"push": func(t *rapid.T) {
				pushed++
				key := rapid.IntRange(0, limit+1).Draw(t, "key")
				e := Entry[int, int]{Key: key, Value: pushed, Deadline: at(now + rapid.IntRange(0, 50).Draw(t, "remaining"))}
				old, v := q.Push(e)
				previous, waits := waiting[key]
				switch {
				case !known[key] && len(known) == limit:
					if v != Full || old.Value != e.Value {
						t.Fatalf("push beyond the limit: %+v, %v", old, v)
					}
					gone(old)
					return
				case waits:
					if v != Replaced || old.Value != previous.Value {
						t.Fatalf("push onto %+v: %+v, %v", previous, old, v)
					}
					gone(old)
				case v != Waiting:
					t.Fatalf("push into a free slot: %v", v)
				}
				known[key], waiting[key] = true, e
			},
			"take": func(t *rapid.T) {
				key := rapid.IntRange(0, limit+1).Draw(t, "key")
				e, ok := q.Take(key)
				expectLeft(key, e, ok)
			},
			"drop": func(t *rapid.T) {
				key := rapid.IntRange(0, limit+1).Draw(t, "key")
				e, ok := q.Drop(key)
				expectLeft(key, e, ok)
			},
			"remove": func(t *rapid.T) {
				key := rapid.IntRange(0, limit+1).Draw(t, "key")
				removed := append(q.Remove(key), Entry[int, int]{})
				expectLeft(key, removed[0], len(removed) > 1)
				delete(known, key)
			},
			"time passes": func(t *rapid.T) {
				now += rapid.IntRange(0, 30).Draw(t, "ms")
				for e, ok := q.Expire(at(now)); ok; e, ok = q.Expire(at(now)) {
					if e.Deadline.After(at(now)) {
						t.Fatalf("expired %+v before its deadline", e)
					}
					expectLeft(e.Key, e, ok)
				}
				for _, e := range waiting {
					if !e.Deadline.After(at(now)) {
						t.Fatalf("%+v still waits after its deadline", e)
					}
				}
			},
			"": func(t *rapid.T) {
				if q.Len() != len(waiting) || q.Streams() != len(known) || len(left)+len(waiting) != pushed {
					t.Fatalf("%d wait, %d streams, %d left of %d; want %d waiting, %d streams", q.Len(), q.Streams(), len(left), pushed, len(waiting), len(known))
				}
				seen := map[int]bool{}
				for i := range q.Offered() {
					seen[q.At(i).Key] = true
				}
				if !maps.EqualFunc(waiting, seen, func(Entry[int, int], bool) bool { return true }) {
					t.Fatalf("At shows %v, want %v", seen, waiting)
				}
				if next, ok := q.NextDeadline(); ok {
					for _, e := range waiting {
						if e.Deadline.Before(next) {
							t.Fatalf("next deadline %v, but %+v waits", next, e)
						}
					}
				}
			},
		})
	})
}

func BenchmarkPushTake(b *testing.B) {
	const streams = 500
	q := New[int, int](streams)
	b.ReportAllocs()
	for i := range b.N {
		q.Push(Entry[int, int]{Key: i % streams, Deadline: at(i)})
		if i%3 == 0 {
			q.Take(i % streams)
		}
	}
}
