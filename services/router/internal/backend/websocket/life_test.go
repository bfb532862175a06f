package websocket_test

import (
	"bytes"
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	coder "github.com/coder/websocket"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/services/router/internal/backend/websocket"
)

// TestAnyOrder has several batches under way and answers the last one first.
func TestAnyOrder(t *testing.T) {
	t.Parallel()
	const several = 5
	synctest.Test(t, func(t *testing.T) {
		h, d := start(t, func(ctx context.Context, socket *coder.Conn, _ net.Conn) {
			for {
				var batches []asked
				for range several {
					batch, err := hear(ctx, socket)
					if err != nil {
						return
					}
					batches = append([]asked{batch}, batches...)
				}
				for _, batch := range batches {
					if err := say(ctx, socket, batch); err != nil {
						return
					}
				}
			}
		})
		for round := range 3 {
			var all sync.WaitGroup
			for i := range several {
				all.Go(func() {
					if err := ask(t.Context(), d, byte(1+round*several+i)); err != nil {
						t.Error(err)
					}
				})
			}
			all.Wait()
		}
		if n := len(h.dialled()); n != 1 {
			t.Errorf("%d connections, want one for all", n)
		}
	})
}

// TestDeadline lets a batch run out of time: it ends then, its answer is thrown away when it comes, and the connection is as good as before.
func TestDeadline(t *testing.T) {
	t.Parallel()
	const limit, late = 200 * time.Millisecond, 500 * time.Millisecond
	told := make(chan float64, 1)
	synctest.Test(t, func(t *testing.T) {
		h, d := start(t, func(ctx context.Context, socket *coder.Conn, _ net.Conn) {
			first, err := hear(ctx, socket)
			if err != nil {
				t.Error(err)
				return
			}
			told <- first.Timeout
			<-time.After(late) // the bubble's clock
			for range 2 {      // twice is as good as once
				if err := say(ctx, socket, first); err != nil {
					t.Error(err)
				}
			}
			answerAll(ctx, socket, nil)
		})
		if err := d.Ready(t.Context()); err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		defer cancel()
		expect(t, ask(ctx, d, 1), media.BackendTimeout)
		if took := time.Since(begin); took != limit {
			t.Errorf("it ended after %v, want %v", took, limit)
		}
		if timeout := <-told; timeout != limit.Seconds() {
			t.Errorf("the server was told of %g s, want %v", timeout, limit)
		}
		mustAsk(t, d, 2)
		if n := len(h.dialled()); n != 1 {
			t.Errorf("%d connections, want one", n)
		}
	})
}

// TestGivenUp cancels a batch.
func TestGivenUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		_, d := start(t, silent)
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		err := ask(ctx, d, 1)
		expect(t, err, media.BackendUnavailable)
		if !errors.Is(err, context.Canceled) {
			t.Errorf("error = %v, want the context's", err)
		}
	})
}

// TestGivenUpWhileItIsSent gives a batch up when the server has read a part of it: the rest goes as zeros, and not as what the memory holds by then. A batch behind it that was
// given up too is not sent at all.
func TestGivenUpWhileItIsSent(t *testing.T) {
	t.Parallel()
	const size = 4 << 20
	got := make(chan asked, 2)
	synctest.Test(t, func(t *testing.T) {
		_, d := start(t, func(ctx context.Context, socket *coder.Conn, _ net.Conn) {
			<-time.After(time.Second) // reads nothing until then
			for {
				batch, err := hear(ctx, socket)
				if err != nil {
					return
				}
				if len(batch.Frames) > 1 {
					got <- batch
					continue
				}
				got <- batch
				if err := say(ctx, socket, batch); err != nil {
					return
				}
			}
		})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second/2)
		defer cancel()
		var behind sync.WaitGroup
		batch := batchOf(2, "first")
		data := bytes.Repeat([]byte{1}, size)
		batch.Inputs[0].Data = data
		behind.Go(func() {
			synctest.Wait() // the first one is on its way
			expect(t, ask(ctx, d, 3), media.BackendTimeout)
		})
		_, err := d.Infer(ctx, batch)
		expect(t, err, media.BackendTimeout)
		copy(data, bytes.Repeat([]byte{0xee}, len(data)))
		behind.Wait()
		mustAsk(t, d, 2)
		begun := <-got
		sent := bytes.IndexByte(begun.payload, 0)
		if len(begun.payload) != size || sent < 1 || sent > 1<<20 || bytes.Count(begun.payload, []byte{0}) != len(begun.payload)-sent {
			t.Errorf("of %d bytes the first zero is at %d, and %d are zeros", len(begun.payload), sent, bytes.Count(begun.payload, []byte{0}))
		}
		if next := <-got; next.ID != 3 || next.payload[0] != 2 {
			t.Errorf("the next request is %d, want that which nobody has given up", next.ID)
		}
	})
}

// TestLostConnection cuts the connection while batches are in the server's hands: they end at once, and the next one goes over a new connection.
func TestLostConnection(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		end  func(socket *coder.Conn, below net.Conn)
		want string
	}{
		"cut":           {func(_ *coder.Conn, below net.Conn) { _ = below.Close() }, "the connection was lost"},
		"closed":        {func(s *coder.Conn, _ net.Conn) { _ = s.Close(coder.StatusGoingAway, secret) }, "closed the connection with status 1001"},
		"too big":       {func(s *coder.Conn, _ net.Conn) { _ = s.Close(coder.StatusMessageTooBig, secret) }, "limit for messages is too low"},
		"invalid frame": {func(_ *coder.Conn, below net.Conn) { _, _ = below.Write([]byte{0xff, 0xff}) }, "the connection was lost"},
		"no frame":      {func(_ *coder.Conn, below net.Conn) { _, _ = below.Write([]byte("HTTP/1.1 200 OK\r\n\r\n")) }, "the connection was lost"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var met sync.Once
			synctest.Test(t, func(t *testing.T) {
				h, d := start(t, func(ctx context.Context, socket *coder.Conn, below net.Conn) {
					first := false
					met.Do(func() { first = true })
					if !first {
						answerAll(ctx, socket, below)
						return
					}
					for range 2 {
						if _, err := hear(ctx, socket); err != nil {
							t.Error(err)
						}
					}
					<-time.After(time.Second)
					c.end(socket, below)
				})
				if err := d.Ready(t.Context()); err != nil {
					t.Fatal(err)
				}
				begin := time.Now()
				var hands sync.WaitGroup
				for i := range 2 {
					hands.Go(func() {
						err := ask(t.Context(), d, byte(i))
						expect(t, err, media.BackendUnavailable)
						if took := time.Since(begin); took != time.Second || !strings.Contains(err.Error(), c.want) {
							t.Errorf("after %v: %v, want %q after a second", took, err, c.want)
						}
					})
				}
				hands.Wait()
				expect(t, ask(t.Context(), d, 3), media.BackendUnavailable) // nobody is there yet
				<-time.After(2 * websocket.LeastPause)
				mustAsk(t, d, 4)
				if n := len(h.dialled()); n != 2 {
					t.Errorf("%d connections, want two", n)
				}
			})
		})
	}
}
