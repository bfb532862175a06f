package queue

import "testing"

func TestReturn(t *testing.T) {
	t.Parallel()
	slots := func() *Queue[string, int] { return New[string, int](4) }
	lines := func() *Queue[string, int] { return NewOrdered[string, int](4, 2) }
	for _, c := range []struct {
		name  string
		queue func() *Queue[string, int]
		since func(q *Queue[string, int]) // what happens between the taking and the return
		want  bool
		next  int // what is served next
	}{
		{"nothing since", slots, func(*Queue[string, int]) {}, true, 1},
		{"others since", slots, func(q *Queue[string, int]) { q.Push(entry("b", 9, 100)); q.Take("b") }, true, 1},
		{"a newer one waits", slots, func(q *Queue[string, int]) { q.Push(entry("a", 2, 100)) }, false, 2},
		{"a newer one was taken", slots, func(q *Queue[string, int]) { q.Push(entry("a", 2, 100)); q.Take("a") }, false, 0},
		{"a newer one expired", slots, func(q *Queue[string, int]) { q.Push(entry("a", 2, 100)); q.Drop("a") }, true, 1},
		{"forgotten", slots, func(q *Queue[string, int]) { q.Remove("a") }, false, 0},
		{"forgotten and begun anew", slots, func(q *Queue[string, int]) { q.Remove("a"); q.Push(entry("a", 2, 100)) }, false, 2},
		{"in a line", lines, func(q *Queue[string, int]) { q.Push(entry("a", 2, 100)) }, true, 1},
		{"in a full line", lines, func(q *Queue[string, int]) { q.Push(entry("a", 2, 100)); q.Push(entry("a", 3, 100)) }, false, 2},
		{"of a forgotten line", lines, func(q *Queue[string, int]) { q.Remove("a") }, false, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			q := c.queue()
			q.Push(entry("a", 1, 100))
			e, _ := q.Take("a")
			before, offered := q.Len(), q.Offered()
			c.since(q)
			waiting := q.Len()
			if got := q.Return(e); got != c.want {
				t.Fatalf("returned: %v, want %v", got, c.want)
			}
			if c.want && q.Len() != waiting+1 || !c.want && q.Len() != waiting || before+offered != 0 {
				t.Errorf("%d wait, %d before", q.Len(), waiting)
			}
			q.Done("a")
			if got, _ := q.Take("a"); got.Value != c.next {
				t.Errorf("served next: %d, want %d", got.Value, c.next)
			}
		})
	}
}

// TestReturnGivesTheTurnBack serves a stream in vain and then another: the first has had nothing.
func TestReturnGivesTheTurnBack(t *testing.T) {
	t.Parallel()
	q := New[string, int](4)
	q.Push(entry("a", 1, 100))
	q.Push(entry("b", 1, 100))
	e, _ := q.Take("a")
	q.Return(e)
	if a, b := q.At(0), q.At(1); a.Turn != b.Turn {
		t.Errorf("turns %d and %d, want the same", a.Turn, b.Turn)
	}
}
