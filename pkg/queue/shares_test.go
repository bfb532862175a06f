package queue

import (
	"cmp"
	"slices"
	"testing"
	"time"
)

// weighted makes an entry of a stream, which is its own value.
func weighted(stream, weight, class int) Entry[int, int] {
	return Entry[int, int]{Key: stream, Value: stream, Arrived: start, Deadline: at(100), Weight: uint16(weight), Class: uint8(class)}
}

// serve takes the entries of the streams whose turn it is, as many as size: first those whose classes are owed something, then by class.
func serve(q *Queue[int, int], size int) []int {
	var offered []Entry[int, int]
	for i := range q.Offered() {
		offered = append(offered, q.At(i))
	}
	slices.SortFunc(offered, func(a, b Entry[int, int]) int {
		return cmp.Or(cmp.Compare(a.Class, b.Class), cmp.Compare(a.Turn, b.Turn), cmp.Compare(a.Key, b.Key))
	})
	var first, rest []int
	owed := slices.Clone(q.Owed())
	for _, e := range offered {
		if owed != nil && owed[e.Class] > 0 {
			owed[e.Class]--
			first = append(first, e.Key)
		} else {
			rest = append(rest, e.Key)
		}
	}
	chosen := slices.Concat(first, rest)
	chosen = chosen[:min(size, len(chosen))]
	for _, key := range chosen {
		q.Take(key)
	}
	return chosen
}

func TestWeightsShareByWeight(t *testing.T) {
	t.Parallel()
	weights := []int{1, 1, 2, 4}
	q := New[int, int](len(weights))
	served := make([]int, len(weights))
	for range 800 {
		for stream, weight := range weights {
			q.Push(weighted(stream, weight, 0))
		}
		for _, stream := range serve(q, 1) {
			served[stream]++
		}
	}
	for stream, weight := range weights {
		if want := 100 * weight; served[stream] < want-2 || served[stream] > want+2 {
			t.Errorf("stream %d of weight %d was served %d times of 800, want %d", stream, weight, served[stream], want)
		}
	}
	if q.Owed() != nil {
		t.Error("something is owed, though all streams are of one class")
	}
}

// TestWhoAsksForLittleGetsIt has one stream that comes in every tenth round, among others that always want more than there is.
func TestWhoAsksForLittleGetsIt(t *testing.T) {
	t.Parallel()
	q := New[int, int](9)
	for round := range 200 {
		for stream := range 8 {
			q.Push(weighted(stream, 1, 0))
		}
		if round%10 == 5 {
			q.Push(weighted(8, 1, 0))
		}
		if chosen := serve(q, 2); round%10 == 5 && !slices.Contains(chosen, 8) {
			t.Fatalf("round %d: %v were served; stream 8 asks for less than its share and had to wait", round, chosen)
		}
	}
}

func TestALowerClassKeepsAFloor(t *testing.T) {
	t.Parallel()
	q := New[int, int](40)
	served := map[int]int{}
	const rounds, size = 500, 4
	for range rounds {
		for stream := range 40 {
			q.Push(weighted(stream, 1, stream/20)) // twenty of each class
		}
		for _, stream := range serve(q, size) {
			served[stream]++
		}
	}
	lower := 0
	for stream := 20; stream < 40; stream++ {
		lower += served[stream]
		if served[stream] < rounds*size/20/20-1 {
			t.Errorf("stream %d of the lower class was served %d times", stream, served[stream])
		}
	}
	if want := rounds * size / 20; lower < want-2 || lower > want+2 {
		t.Errorf("the lower class was served %d times of %d, want a twentieth, %d", lower, rounds*size, want)
	}
}

func TestAClassThatDoesNotWaitIsOwedNothing(t *testing.T) {
	t.Parallel()
	q := New[int, int](2)
	q.Push(weighted(1, 1, 1))
	for range 50 {
		q.Push(weighted(0, 1, 0))
		q.Take(0)
	}
	if got := q.Owed(); !slices.Equal(got, []int{0, 2}) {
		t.Fatalf("owed after fifty services of the other class: %v, want 2, the most", got)
	}
	q.Drop(1)
	for range 50 {
		q.Push(weighted(0, 1, 0))
		q.Take(0)
	}
	q.Push(weighted(1, 1, 1))
	if got := q.Owed(); !slices.Equal(got, []int{0, 0}) {
		t.Errorf("owed to a class that had nothing to serve: %v, want nothing", got)
	}
	q.Push(weighted(1, 1, 0))
	if e := q.At(q.Offered() - 1); e.Class != 0 {
		t.Errorf("the stream's last entry is of class 0, and %d is offered", e.Class)
	}
	q.Remove(0)
	q.Remove(1)
	for i, c := range q.shares.classes {
		if c.waiting != 0 {
			t.Errorf("%d streams of class %d wait in an empty queue", c.waiting, i)
		}
	}
}

// TestWhoWaitsInVainGoesFirstInTheEnd has two streams in step, of which one always has the older entry, for a server that takes the newest of those whose turn it is. A
// third one keeps service going, so that both begin anew with each entry.
func TestWhoWaitsInVainGoesFirstInTheEnd(t *testing.T) {
	t.Parallel()
	q := New[string, int](3)
	start := time.Unix(0, 0)
	served := make(map[string]int)
	longest, since := 0, 0
	for n := range 1000 {
		now := start.Add(time.Duration(n) * time.Second)
		for i, key := range []string{"older", "newer"} {
			q.Push(Entry[string, int]{Key: key, Arrived: now.Add(time.Duration(i)), Deadline: now.Add(time.Second / 2)})
		}
		best := q.At(0)
		for i := range q.Offered() {
			if e := q.At(i); e.Turn < best.Turn || e.Turn == best.Turn && e.Arrived.After(best.Arrived) {
				best = e
			}
		}
		q.Take(best.Key)
		served[best.Key]++
		if since++; best.Key == "older" {
			longest, since = max(longest, since), 0
		}
		for {
			if _, expired := q.Expire(now.Add(time.Second / 2)); !expired {
				break
			}
		}
		for range 3 {
			q.Push(Entry[string, int]{Key: "always", Arrived: now, Deadline: now.Add(time.Second)})
			q.Take("always")
		}
	}
	if longest = max(longest, since); longest > borne+2 {
		t.Errorf("%v: one stream was passed over %d times in a row", served, longest)
	}
}
