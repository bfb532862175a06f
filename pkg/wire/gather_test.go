package wire

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"net"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/mem"
)

// recorder is the connection below a gatherer: it takes what is written, and fails when it is to.
type recorder struct {
	net.Conn
	written []byte
	firsts  []*byte // of each piece that was written
	fail    error
	closed  bool
}

func (r *recorder) Write(p []byte) (int, error) {
	if r.fail != nil {
		return 0, r.fail
	}
	r.written = append(r.written, p...)
	r.firsts = append(r.firsts, &p[0])
	return len(p), nil
}

func (r *recorder) Close() error { r.closed = true; return nil }

// header makes the header of a frame.
func header(kind, flags byte, length int) []byte {
	return []byte{byte(length >> 16), byte(length >> 8), byte(length), kind, flags, 0, 0, 0, 1}
}

// wired is a gatherer as gRPC writes to it.
type wired struct {
	*gatherer
	t    *testing.T
	to   *recorder
	want []byte
}

func newWired(t *testing.T) *wired {
	t.Helper()
	to := &recorder{}
	return &wired{newGatherer(to, &Lender{}), t, to, nil}
}

// put writes p as gRPC does, which uses memory of its own again.
func (w *wired) put(p []byte) {
	w.t.Helper()
	own := bytes.Clone(p)
	w.lent(own)
	clear(own)
}

// lent writes p, which may be held.
func (w *wired) lent(p []byte) {
	w.t.Helper()
	w.want = append(w.want, p...)
	if n, err := w.Write(p); n != len(p) || err != nil {
		w.t.Fatalf("%d of %d bytes, %v", n, len(p), err)
	}
}

// message writes a message, cut into frames as gRPC does it.
func (w *wired) message(prefix []byte, payload []byte) {
	w.t.Helper()
	for len(prefix)+len(payload) > 0 {
		n := min(len(payload), fullFrame-len(prefix))
		w.put(header(typeData, 0, len(prefix)+n))
		if len(prefix) > 0 {
			w.put(prefix)
		}
		if n > 0 {
			w.lent(payload[:n])
		}
		prefix, payload = nil, payload[n:]
	}
}

// check compares what was written with what was given to be written, and the rest with what should be held.
func (w *wired) check(held int) {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if unwritten, right := len(w.want)-len(w.to.written), bytes.HasPrefix(w.want, w.to.written); unwritten != held || !right {
		w.t.Errorf("%d bytes are held, want %d; all that was written is right: %v", unwritten, held, right)
	}
}

func TestMessagesAreHeldUntilTheyAreWhole(t *testing.T) {
	t.Parallel()
	memory := picture(3 * mostHeld)[0]
	prefix := []byte("\x00\x00\x00\x10\x00 and what goes before the payload")
	for _, c := range []struct {
		name  string
		write func(w *wired)
		held  int
	}{
		{"a short message", func(w *wired) { w.message(prefix, nil) }, 0},
		{"one that ends in a short frame", func(w *wired) { w.message(prefix, memory[:100_000]) }, 0},
		{"one of full frames only", func(w *wired) { w.message(nil, memory[:2*fullFrame]) }, 2 * (fullFrame + frameHeader)},
		{"what a window leaves room for", func(w *wired) {
			w.message(nil, memory[:2*fullFrame])
			w.message(nil, memory[2*fullFrame:2*fullFrame+100])
		}, 0},
		{"a header", func(w *wired) { w.put(header(typeData, 0, 100)) }, frameHeader},
		{"an empty frame, the end of a call", func(w *wired) { w.put(header(typeData, endStream, 0)) }, 0},
		{"another frame behind full ones", func(w *wired) { w.message(nil, memory[:fullFrame]); w.put(append(header(8, 0, 4), 0, 0, 1, 0)) }, 0},
		{"a call's headers", func(w *wired) { w.put(append(header(typeHeaders, 4, 30), make([]byte, 30)...)) }, 39},
		{"the headers of a call without messages", func(w *wired) { w.put(append(header(typeHeaders, 5, 30), make([]byte, 30)...)) }, 0},
		{"nothing", func(w *wired) { w.put(nil) }, 0},
		{"more than is held", func(w *wired) { w.message(nil, memory[:65*fullFrame]) }, fullFrame + frameHeader},
		{"the preface", func(w *wired) { w.put([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")) }, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWired(t)
				buffer := w.lender.Lease(memory, nil, nil)
				c.write(w)
				w.check(c.held)
				<-time.After(longestHeld)
				synctest.Wait()
				w.check(0)
				buffer.Free()
			})
		})
	}
}

// TestWhatIsLentIsNotCopied is of a message in several pieces, which frames cut elsewhere.
func TestWhatIsLentIsNotCopied(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { // nothing is written for being held too long
		pieces := [][]byte{picture(20_000)[0], {}, picture(100)[0], picture(40_000)[0]}
		released := 0
		w := newWired(t)
		last := len(pieces) - 1
		buffer := w.lender.Lease(pieces[last], func() { released++; w.check(0) }, nil, pieces[:last]...)
		data := mem.BufferSlice{}
		for _, p := range pieces[:last] {
			data = append(data, mem.SliceBuffer(p))
		}
		data = append(data, buffer)
		reader := data.Reader()
		data.Free()
		for reader.Remaining() > 0 {
			n := min(reader.Remaining(), fullFrame)
			w.put(header(typeData, 0, fullFrame)) // so that nothing looks like the end
			parts, err := reader.Peek(n, nil)
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range parts {
				w.lent(p)
			}
			if rest := fullFrame - n; rest > 0 {
				w.put(make([]byte, rest/4))
			}
			if _, err := reader.Discard(n); err != nil {
				t.Fatal(err)
			}
		}
		if released != 1 {
			t.Errorf("released %d times, want once", released)
		}
		for i, p := range pieces {
			if len(p) > 0 && !slices.Contains(w.to.firsts, &p[0]) {
				t.Errorf("piece %d was copied", i)
			}
		}
		if n := w.lender.lent(); n > 0 {
			t.Errorf("%d leases are remembered after their end", n)
		}
	})
}

// lent gives the number of leases that are remembered.
func (k *Lender) lent() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.next)
}

// TestWhatIsWrittenIsWhatWasGiven writes messages of all kinds, lent and not, and uses their memory again as soon as that is allowed.
func TestWhatIsWrittenIsWhatWasGiven(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { // nothing is written for being held too long
		for seed := range uint64(30) {
			random := rand.New(rand.NewPCG(seed, 1))
			w := newWired(t)
			for range 20 {
				size := 1 + random.IntN(6*fullFrame)
				if random.IntN(3) == 0 {
					size = fullFrame * (1 + random.IntN(4)) // ends with a full frame
				}
				memory := make([]byte, size)
				for i := range memory {
					memory[i] = byte(random.Uint32())
				}
				switch {
				case random.IntN(3) == 0: // by the plain codec
					own := bytes.Clone(memory)
					w.message(nil, own)
					if size > mostCopied {
						w.flush() // the last of what is not lent may be held as a copy, but its memory is free
					}
					clear(own)
				case size > leastCounted:
					b := w.lender.Lease(memory, func() { clear(memory) }, nil)
					part := random.IntN(2) == 0 // its call ends before all is written
					if part {
						w.message([]byte("prefix"), memory[:1+random.IntN(size)])
					} else {
						w.message([]byte("prefix"), memory)
					}
					b.Free()
				}
				if random.IntN(4) == 0 {
					w.put(append(header(6, 0, 8), "12345678"...))
				}
			}
			w.flush()
			w.check(0)
		}
	})
}

// leastCounted is the size up to which gRPC does not count the references to a buffer.
const leastCounted = 1 << 10

// TestBrokenConnection ends a connection that holds something lent.
func TestBrokenConnection(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(w *wired) error{
		"a write fails": func(w *wired) error {
			w.to.fail = errors.New("reset by peer")
			w.flush()
			return w.to.fail
		},
		"it is closed": func(w *wired) error { _ = w.Close(); return net.ErrClosed },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { // nothing is written for being held too long
				w := newWired(t)
				released := 0
				memory := make([]byte, 2*fullFrame)
				b := w.lender.Lease(memory, func() { released++ }, nil)
				w.message(nil, memory)
				want := end(w)
				if n, err := w.Write([]byte("more")); n != 0 || !errors.Is(err, want) {
					t.Errorf("then %d bytes are written, %v", n, err)
				}
				if b.Free(); released != 1 || len(w.to.written) != 0 {
					t.Errorf("released %d times, want once; %d bytes were written", released, len(w.to.written))
				}
				if err := w.Close(); err != nil || !w.to.closed {
					t.Errorf("closed: %v, %v", w.to.closed, err)
				}
			})
		})
	}
}

// TestLeaseIsKeptWhileItIsHeld has gRPC forget a buffer of which something has not been written.
func TestLeaseIsKeptWhileItIsHeld(t *testing.T) {
	t.Parallel()
	w := newWired(t)
	released := make(chan struct{}, 1)
	func() {
		memory := make([]byte, 2*fullFrame)
		_ = w.lender.Lease(memory, func() { released <- struct{}{} }, nil)
		w.mu.Lock() // nothing is flushed for being late
		defer w.mu.Unlock()
		if !w.borrow(memory[:fullFrame]) {
			t.Fatal("what is lent is not known")
		}
		for range 3 {
			runtime.GC()
		}
		if len(released) > 0 {
			t.Error("released while it is held")
		}
	}()
	_ = w.Close()
	limit := time.After(10 * time.Second)
	for len(released) == 0 {
		runtime.GC()
		select {
		case <-limit:
			t.Fatal("it was never released")
		default:
			runtime.Gosched()
		}
	}
	if w.lender.lent() > 0 {
		t.Error("the lender remembers it")
	}
}

// jam is a connection that takes nothing for a while.
type jam struct {
	recorder
	begun chan struct{} // receives a token with each write of a payload
	over  chan struct{} // closed when it takes payloads
}

func (j *jam) Write(p []byte) (int, error) {
	if len(p) >= fullFrame { // less may come first, on a busy machine: what was held for too long
		select {
		case j.begun <- struct{}{}:
		default:
		}
		<-j.over
	}
	return j.recorder.Write(p)
}

// TestFreeWaitsForNoConnection frees memory while its connection is stuck: callers free what they sent, and have deadlines.
func TestFreeWaitsForNoConnection(t *testing.T) {
	t.Parallel()
	w := newWired(t)
	first, second := picture(2*fullFrame + 100)[0], picture(3*fullFrame + 100)[0]
	released := make(chan string, 2)
	one := w.lender.Lease(first, func() { released <- "first" }, nil)
	two := w.lender.Lease(second, func() { released <- "second" }, nil)
	w.message(nil, first)
	w.check(0)

	stuck := &jam{begun: make(chan struct{}, 1), over: make(chan struct{})}
	w.mu.Lock()
	w.Conn = stuck
	w.mu.Unlock()
	var sending, freeing sync.WaitGroup
	sending.Go(func() { w.message(nil, second) })
	<-stuck.begun
	freed := make(chan struct{})
	freeing.Go(func() {
		defer close(freed)
		one.Free()
		two.Free()
	})
	select {
	case <-freed:
	case <-time.After(10 * time.Second):
		t.Error("what is freed waits for the connection")
	}
	if len(released) != 1 || <-released != "first" {
		t.Error("what has been written is not released, or what has not been is")
	}
	close(stuck.over)
	sending.Wait()
	freeing.Wait()
	if got := <-released; got != "second" || !bytes.Equal(stuck.written[frameHeader:][:fullFrame], second[:fullFrame]) {
		t.Errorf("released %s; what was written is %d bytes", got, len(stuck.written))
	}
}

// TestSecondConnection sends again what another connection holds, as gRPC does when that one turns out to have gone away: it must not be held twice, for the lease waits for
// one connection only.
func TestSecondConnection(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { // nothing is written for being held too long
		first := newWired(t)
		second := newWired(t)
		second.lender = first.lender
		memory := picture(2 * fullFrame)[0]
		b := first.lender.Lease(memory, func() { clear(memory) }, nil)
		first.message(nil, memory[:fullFrame])
		second.message(nil, memory)
		second.check(0)
		b.Free()
		first.check(0)
	})
}
