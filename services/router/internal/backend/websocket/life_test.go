package websocket_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	coder "github.com/coder/websocket"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/services/router/internal/backend"
	"github.com/sluice-dev/sluice/services/router/internal/backend/websocket"
)

// host is a server in memory, inside a synctest bubble. Each connection is served by talk until it returns.
type host struct {
	talk func(ctx context.Context, socket *coder.Conn, below net.Conn)

	mu          sync.Mutex
	refusing    bool
	dials       []time.Time
	connections sync.WaitGroup
}

// dial makes a connection to the host: a pipe, whose other end is served as HTTP.
func (h *host) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.dials = append(h.dials, time.Now())
	if h.refusing {
		return nil, errors.New("nobody listens")
	}
	near, far := net.Pipe()
	only := &once{conn: far}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.connections.Add(1)
		defer h.connections.Done()
		socket, err := coder.Accept(w, r, &coder.AcceptOptions{Subprotocols: []string{"sluice.infer.v1"}})
		if err != nil {
			return
		}
		socket.SetReadLimit(-1)
		h.talk(context.WithoutCancel(ctx), socket, far)
		_ = socket.CloseNow()
		_ = far.Close()
	})}
	h.connections.Go(func() { _ = server.Serve(only) })
	return near, nil
}

func (h *host) refuse(refusing bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.refusing = refusing
}

// dialled gives the times of the attempts to connect.
func (h *host) dialled() []time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.dials
}

// once is a listener with a single connection.
type once struct {
	conn net.Conn
	done bool
}

func (o *once) Accept() (net.Conn, error) {
	if o.done {
		return nil, net.ErrClosed
	}
	o.done = true
	return o.conn, nil
}
func (*once) Close() error   { return nil }
func (*once) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "pipe"} }

// start makes a host that talks like this and a driver for it, whose outputs are configured, inside a bubble. Whatever is left running when the test ends fails it.
func start(t *testing.T, talk func(ctx context.Context, socket *coder.Conn, below net.Conn)) (*host, *websocket.Driver) {
	t.Helper()
	h := &host{talk: talk}
	d, err := websocket.OpenOver(websocket.Config{URL: "ws://model.example", Model: "model", Described: described()}, h.dial)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
		h.connections.Wait()
	})
	return h, d
}

func described() backend.Description {
	return backend.Description{
		Inputs:  []media.TensorSpec{{Name: "pictures", Datatype: media.FP32, Shape: []int{-1, 2, 2, 3}}},
		Outputs: []media.TensorSpec{{Name: "first", Datatype: media.FP32, Shape: []int{-1, 1}}},
	}
}

// hear reads the next batch.
func hear(ctx context.Context, socket *coder.Conn) (asked, error) {
	_, message, err := socket.Read(ctx)
	if err != nil {
		return asked{}, err
	}
	return readBatch(message)
}

// say answers a batch with the first element of each frame.
func say(ctx context.Context, socket *coder.Conn, batch asked) error {
	var first []byte
	frames := batch.Inputs[0].Shape[0]
	for i := range frames {
		at := i * len(batch.payload) / frames
		first = append(first, batch.payload[at:at+4]...)
	}
	return socket.Write(ctx, coder.MessageBinary, parts(batch.ID, []media.RawTensor{{Name: "first", Datatype: media.FP32, Shape: []int{frames, 1}, Data: first}}))
}

// answerAll talks as a good server does.
func answerAll(ctx context.Context, socket *coder.Conn, _ net.Conn) {
	for {
		batch, err := hear(ctx, socket)
		if err == nil {
			err = say(ctx, socket, batch)
		}
		if err != nil {
			return
		}
	}
}

// silent talks as a server that takes everything and says nothing.
func silent(ctx context.Context, socket *coder.Conn, _ net.Conn) {
	for {
		if _, _, err := socket.Read(ctx); err != nil {
			return
		}
	}
}

// ask runs a batch of one frame of which each byte has a value, and checks that the answer is its own.
func ask(ctx context.Context, d *websocket.Driver, value byte) error {
	batch := batchOf(1, "first")
	copy(batch.Inputs[0].Data, bytes.Repeat([]byte{value}, 48))
	output, err := d.Infer(ctx, batch)
	if err != nil {
		return err
	}
	defer output.Release()
	if got := output.Tensors[0].Data; !bytes.Equal(got, bytes.Repeat([]byte{value}, 4)) {
		return fmt.Errorf("the answer % x is of another batch than %x", got, value)
	}
	return nil
}

func mustAsk(t *testing.T, d *websocket.Driver, value byte) {
	t.Helper()
	if err := ask(t.Context(), d, value); err != nil {
		t.Fatal(err)
	}
}

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

// TestPauses has nobody listen, then somebody, then nobody again.
func TestPauses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h, d := start(t, answerAll)
		expect := func(from int, pauses ...time.Duration) {
			t.Helper()
			dials := h.dialled()[from:]
			for i, want := range pauses {
				if got := dials[i+1].Sub(dials[i]); got < want*3/4 || got > want*5/4 {
					t.Errorf("attempt %d came after %v, want about %v", from+i+1, got, want)
				}
			}
		}
		least := websocket.LeastPause
		h.refuse(true)
		<-time.After(time.Minute)
		expect(1, 2*least, 4*least, 8*least, 16*least, websocket.MostPause, websocket.MostPause)
		h.refuse(false)
		<-time.After(2 * websocket.MostPause)
		mustAsk(t, d, 1)
	})
}

// TestPausesAfterAGoodConnection begins with short pauses again, but not after a connection that ends as soon as it has begun.
func TestPausesAfterAGoodConnection(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		lasts time.Duration
		want  func(i int) time.Duration
	}{
		"good":  {time.Minute, func(int) time.Duration { return websocket.LeastPause }},
		"short": {time.Millisecond, func(i int) time.Duration { return min(websocket.LeastPause<<i, websocket.MostPause) }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				h, _ := start(t, func(ctx context.Context, socket *coder.Conn, below net.Conn) {
					time.AfterFunc(c.lasts, func() { _ = below.Close() })
					silent(ctx, socket, below)
				})
				<-time.After(8 * (c.lasts + websocket.MostPause))
				dials := h.dialled()
				for i, at := range dials[1:] {
					if got, want := at.Sub(dials[i])-c.lasts, c.want(i); got < want*3/4 || got > want*5/4 {
						t.Errorf("attempt %d came %v after the end, want about %v", i+2, got, want)
					}
				}
			})
		})
	}
}

// TestPings keeps a connection that is alive, however quiet, and finds one that is dead.
func TestPings(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h, d := start(t, silent)
		<-time.After(time.Hour)
		if err := d.Ready(t.Context()); err != nil || len(h.dialled()) != 1 {
			t.Errorf("after a quiet hour: %v, %d connections", err, len(h.dialled()))
		}
	})
	synctest.Test(t, func(t *testing.T) {
		h, d := start(t, func(_ context.Context, _ *coder.Conn, below net.Conn) {
			_, _ = below.Write(nil)
			<-time.After(time.Minute) // reads nothing
		})
		if err := d.Ready(t.Context()); err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		h.refuse(true)
		expect(t, ask(t.Context(), d, 1), media.BackendUnavailable)
		if took := time.Since(begin); took > websocket.PingEvery+websocket.PongTimeout {
			t.Errorf("a dead server was found after %v, want %v at most", took, websocket.PingEvery+websocket.PongTimeout)
		}
	})
}

// TestQueue fills the queue to a server that does not read.
func TestQueue(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		_, d := start(t, func(context.Context, *coder.Conn, net.Conn) { <-time.After(2 * time.Second) })
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := d.Ready(ctx); err != nil {
			t.Fatal(err)
		}
		codes := map[media.ErrorCode]int{}
		var mu sync.Mutex
		var all sync.WaitGroup
		begin := time.Now()
		for range websocket.MaxQueue + 10 {
			all.Go(func() {
				code := backend.CodeOf(ask(ctx, d, 1))
				if code == media.BackendUnavailable && time.Since(begin) != 0 {
					t.Errorf("refused after %v, want at once", time.Since(begin))
				}
				mu.Lock()
				defer mu.Unlock()
				codes[code]++
			})
			synctest.Wait() // the first of them is with the writer
		}
		all.Wait()
		if codes[media.BackendTimeout] != websocket.MaxQueue+1 || codes[media.BackendUnavailable] != 9 {
			t.Errorf("%v, want %d that wait, with the one that is being sent, and the others refused", codes, websocket.MaxQueue+1)
		}
	})
}

// TestClose says goodbye to a server that listens, and does not wait long for one that does not.
func TestClose(t *testing.T) {
	t.Parallel()
	ended := make(chan error, 1)
	synctest.Test(t, func(t *testing.T) {
		_, d := start(t, func(ctx context.Context, socket *coder.Conn, _ net.Conn) {
			_, _, err := socket.Read(ctx)
			ended <- err
		})
		if err := d.Ready(t.Context()); err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		if err := d.Close(); err != nil || time.Since(begin) != 0 {
			t.Errorf("Close: %v after %v", err, time.Since(begin))
		}
		if err := <-ended; coder.CloseStatus(err) != coder.StatusNormalClosure {
			t.Errorf("the server sees %v, want a normal end", err)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		_, d := start(t, func(context.Context, *coder.Conn, net.Conn) { <-time.After(time.Minute) })
		if err := d.Ready(t.Context()); err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		if err := d.Close(); err != nil || time.Since(begin) > websocket.GoodbyeTimeout {
			t.Errorf("Close: %v after %v", err, time.Since(begin))
		}
	})
}

// TestDescriptions asks once for each description, and tells when the server has come back with another model.
func TestDescriptions(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		questions, width, down := 0, 2, make(chan struct{})
		h := &host{}
		h.talk = func(ctx context.Context, socket *coder.Conn, below net.Conn) {
			mu.Lock()
			down := down
			mu.Unlock()
			go func() {
				<-down
				_ = below.Close()
			}()
			for {
				_, message, err := socket.Read(ctx)
				if err != nil {
					return
				}
				var q struct{ ID uint64 }
				if err := json.Unmarshal(message, &q); err != nil {
					t.Error(err)
				}
				mu.Lock()
				questions++
				answer := fmt.Sprintf(`{"id": %d, "inputs": [], "outputs": [{"name": "x", "dtype": "FP32", "shape": [-1, %d]}]}`, q.ID, width)
				mu.Unlock()
				if err := socket.Write(ctx, coder.MessageText, []byte(answer)); err != nil {
					return
				}
			}
		}
		restart := func(other int) {
			mu.Lock()
			close(down)
			down, width = make(chan struct{}), other
			mu.Unlock()
			<-time.After(websocket.MostPause)
		}
		d, err := websocket.OpenOver(websocket.Config{URL: "ws://model.example", Model: "model"}, h.dial)
		if err != nil {
			t.Fatal(err)
		}
		describe := func(want int) {
			t.Helper()
			if err := d.Ready(t.Context()); err != nil {
				t.Fatal(err)
			}
			got, err := d.Describe(t.Context())
			if err != nil || got.Outputs[0].Shape[1] != want {
				t.Fatalf("described as %+v, %v; want a width of %d", got, err, want)
			}
		}
		describe(2)
		describe(2)
		if questions != 2 {
			t.Errorf("%d questions, want one for each description", questions)
		}
		mu.Lock()
		width = 4 // another model on the same connection
		mu.Unlock()
		describe(4)
		restart(4)
		describe(4) // the same model: nothing to tell
		restart(3)
		expect(t, d.Ready(t.Context()), media.BackendUnavailable)
		describe(3)
		if questions != 5 {
			t.Errorf("%d questions, want one for each description", questions)
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
		close(down)
		h.connections.Wait()
	})
}
