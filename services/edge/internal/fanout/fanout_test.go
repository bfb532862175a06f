package fanout

import (
	"context"
	"errors"
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func even(v int) bool { return v%2 == 0 }

func newRing(items, bytes, readers int) *Ring[int] {
	return New(Limits{Items: items, Bytes: bytes, Readers: readers}, func(v int) int { return v })
}

func publish(t testing.TB, r *Ring[int], values ...int) {
	t.Helper()
	for _, v := range values {
		if err := r.Publish(v); err != nil {
			t.Fatalf("Publish(%d): %v", v, err)
		}
	}
}

func subscribe(t testing.TB, r *Ring[int], after uint64, c Choice[int]) *Reader[int] {
	t.Helper()
	reader, err := r.Subscribe(after, c)
	if err != nil {
		t.Fatalf("Subscribe: %v", err)
	}
	return reader
}

// rest reads a closed ring to its end.
func rest(t testing.TB, reader *Reader[int]) (items []Item[int]) {
	t.Helper()
	for {
		item, err := reader.Next(t.Context())
		if errors.Is(err, io.EOF) {
			return items
		}
		if err != nil {
			t.Fatalf("Next: %v", err)
		}
		items = append(items, item)
	}
}

func TestSubscribeAfter(t *testing.T) {
	t.Parallel()
	// Ten values are published and the newest four, 7 to 10, are kept.
	for _, c := range []struct {
		name    string
		after   uint64
		choice  Choice[int]
		first   int
		skipped uint64
		n       int
	}{
		{"all that are kept", 0, Choice[int]{}, 7, 0, 4},
		{"within what is kept", 8, Choice[int]{}, 9, 0, 2},
		{"the last one that is not kept", 6, Choice[int]{}, 7, 0, 4},
		{"no longer kept", 3, Choice[int]{}, 7, 3, 4},
		{"the newest", 10, Choice[int]{}, 0, 0, 0},
		{"from now on", Live, Choice[int]{}, 0, 0, 0},
		{"an id of the future", 99, Choice[int]{}, 0, 0, 0},
		{"only some", 0, Choice[int]{Wants: even}, 8, 0, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := newRing(4, 1000, 1)
			publish(t, r, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10)
			reader := subscribe(t, r, c.after, c.choice)
			r.Close()
			got := rest(t, reader)
			if len(got) != c.n {
				t.Fatalf("got %+v, want %d items", got, c.n)
			}
			if c.n > 0 && (got[0].Value != c.first || got[0].ID != uint64(c.first) || got[0].Skipped != c.skipped) {
				t.Errorf("first item %+v, want value and id %d, skipped %d", got[0], c.first, c.skipped)
			}
		})
	}
}

func TestBytesAreBoundedButTheNewestIsKept(t *testing.T) {
	t.Parallel()
	r := newRing(100, 10, 1)
	reader := subscribe(t, r, 0, Choice[int]{})
	publish(t, r, 4, 4, 4, 50)
	r.Close()
	if got := rest(t, reader); len(got) != 1 || got[0].Value != 50 || got[0].Skipped != 3 {
		t.Errorf("got %+v, want 50 alone after 3 skipped", got)
	}
}

func TestReadersAreLimited(t *testing.T) {
	t.Parallel()
	r := newRing(4, 100, 1)
	first := subscribe(t, r, 0, Choice[int]{})
	if _, err := r.Subscribe(0, Choice[int]{}); !errors.Is(err, ErrTooManyReaders) {
		t.Errorf("second reader: error %v, want ErrTooManyReaders", err)
	}
	first.Close()
	first.Close()
	if _, err := first.Next(t.Context()); !errors.Is(err, io.EOF) {
		t.Errorf("Next after Close: %v, want io.EOF", err)
	}
	subscribe(t, r, 0, Choice[int]{}).Close()
	if n := r.Readers(); n != 0 {
		t.Errorf("%d readers left, want 0", n)
	}
}

func TestPublishAfterClose(t *testing.T) {
	t.Parallel()
	r := newRing(4, 100, 1)
	r.Close()
	r.Close()
	if err := r.Publish(1); !errors.Is(err, ErrClosed) {
		t.Errorf("error %v, want ErrClosed", err)
	}
}

func TestNextWaits(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]struct {
		act  func(*Ring[int], *Reader[int], context.CancelFunc)
		want error
	}{
		"for a value":      {func(r *Ring[int], _ *Reader[int], _ context.CancelFunc) { _ = r.Publish(7) }, nil},
		"until Close":      {func(r *Ring[int], _ *Reader[int], _ context.CancelFunc) { r.Close() }, io.EOF},
		"until given up":   {func(_ *Ring[int], rd *Reader[int], _ context.CancelFunc) { rd.Close() }, io.EOF},
		"until ctx's end":  {func(_ *Ring[int], _ *Reader[int], cancel context.CancelFunc) { cancel() }, context.Canceled},
		"past others' own": {func(r *Ring[int], _ *Reader[int], _ context.CancelFunc) { _ = r.Publish(3); _ = r.Publish(8) }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRing(4, 100, 1)
				reader := subscribe(t, r, Live, Choice[int]{Wants: func(v int) bool { return v > 5 }})
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				start := time.Now()
				time.AfterFunc(time.Second, func() { end.act(r, reader, cancel) })
				_, err := reader.Next(ctx)
				if !errors.Is(err, end.want) || time.Since(start) != time.Second {
					t.Errorf("Next gave %v after %s, want %v after 1s", err, time.Since(start), end.want)
				}
			})
		})
	}
}

// Whatever the speeds: order is kept, what was read and what was skipped add up, and the newest value arrives.
func TestSkippedAddsUp(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		r := New(Limits{Items: rapid.IntRange(1, 8).Draw(t, "items"), Bytes: 1 << 20, Readers: 1}, func(int) int { return 1 })
		wants := func(v int) bool { return v%3 != 0 }
		reader, err := r.Subscribe(0, Choice[int]{Wants: wants, Counts: even, Perishes: func(v int) bool { return even(v) || v%5 == 0 }})
		if err != nil {
			t.Fatal(err)
		}
		published, read, skipped, last := 0, 0, 0, 0
		take := func() bool {
			item, ok, err := reader.take()
			if err != nil || !ok {
				return false
			}
			if item.Value <= last || !wants(item.Value) || item.ID != uint64(item.Value) {
				t.Fatalf("read %+v after %d", item, last)
			}
			last = item.Value
			skipped += int(item.Skipped)
			if even(item.Value) {
				read++
			}
			return true
		}
		for range rapid.IntRange(0, 60).Draw(t, "steps") {
			switch rapid.IntRange(0, 5).Draw(t, "do") {
			case 0, 1, 2:
				published++
				_ = r.Publish(published)
			case 3, 4:
				take()
			default:
				newest := published
				for newest > 0 && (!even(newest) || !wants(newest)) {
					newest--
				}
				if reader.Freshen() != (newest >= int(reader.next)) {
					t.Fatalf("Freshen is wrong about %d at %d", newest, reader.next)
				}
				if item, ok := reader.peek(); ok && item.value < newest && (even(item.value) || item.value%5 == 0) {
					t.Fatalf("after Freshen %d comes before %d", item.value, newest)
				}
			}
		}
		for done := false; !done; { // the next wanted value brings the last count
			published++
			_ = r.Publish(published)
			done = wants(published)
		}
		for take() {
		}
		want := 0
		for v := 1; v <= published; v++ {
			if wants(v) && even(v) {
				want++
			}
		}
		if read+skipped != want {
			t.Fatalf("read %d + skipped %d = %d, want %d", read, skipped, read+skipped, want)
		}
	})
}

func TestAttachedReadersAlwaysFindAPlace(t *testing.T) {
	t.Parallel()
	r := newRing(8, 1<<30, 1)
	stranger := subscribe(t, r, 0, Choice[int]{})
	own := r.Attach(0, Choice[int]{})
	if _, err := r.Subscribe(0, Choice[int]{}); !errors.Is(err, ErrTooManyReaders) {
		t.Errorf("one too many: %v", err)
	}
	own.Close()
	if _, err := r.Subscribe(0, Choice[int]{}); !errors.Is(err, ErrTooManyReaders) {
		t.Errorf("in an attached reader's place: %v", err)
	}
	stranger.Close()
	stranger.Close()
	subscribe(t, r, 0, Choice[int]{})
	if _, err := r.Subscribe(0, Choice[int]{}); !errors.Is(err, ErrTooManyReaders) {
		t.Errorf("after closing twice: %v", err)
	}
}

func TestNextGivesWhatIsThereThoughItsContextEnded(t *testing.T) {
	t.Parallel()
	r := newRing(8, 1<<30, 8)
	reader := subscribe(t, r, 0, Choice[int]{})
	_ = r.Publish(1)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if item, err := reader.Next(ctx); err != nil || item.Value != 1 {
		t.Errorf("first %+v, %v, want 1", item, err)
	}
	if item, err := reader.Next(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("then %+v, %v, want the context's error", item, err)
	}
	r.Close()
	if _, err := reader.Next(ctx); !errors.Is(err, io.EOF) {
		t.Errorf("at the end %v, want io.EOF", err)
	}
}

func TestEnded(t *testing.T) {
	t.Parallel()
	r := newRing(8, 1<<30, 8)
	odd := subscribe(t, r, 0, Choice[int]{Wants: func(v int) bool { return v%2 == 1 }})
	for v := range 3 {
		_ = r.Publish(v)
	}
	if odd.Ended() {
		t.Error("ended before the ring")
	}
	r.Close()
	for after, want := range map[uint64]bool{0: false, 2: false, 3: true, 9: true, Live: true} {
		if got := subscribe(t, r, after, Choice[int]{}).Ended(); got != want {
			t.Errorf("a reader after %d of 3 has ended: %v", after, got)
		}
	}
	if odd.Ended() {
		t.Error("ended before its last value")
	}
	if item, err := odd.Next(t.Context()); err != nil || item.Value != 1 || !odd.Ended() {
		t.Errorf("read %+v, %v; ended: %v", item, err, odd.Ended())
	}
}

func TestManyGoroutines(t *testing.T) {
	t.Parallel()
	const publishers, each, readers = 4, 500, 4
	r := newRing(64, 1<<30, readers)
	var readings, writings sync.WaitGroup
	for range readers {
		reader := subscribe(t, r, 0, Choice[int]{})
		readings.Go(func() {
			total := uint64(0)
			for {
				item, err := reader.Next(context.Background())
				if err != nil {
					break
				}
				total += 1 + item.Skipped
			}
			if total != publishers*each {
				t.Errorf("read and skipped %d, want %d", total, publishers*each)
			}
		})
	}
	for range publishers {
		writings.Go(func() {
			for i := range each {
				_ = r.Publish(i)
			}
		})
	}
	writings.Wait()
	r.Close()
	readings.Wait()
}
