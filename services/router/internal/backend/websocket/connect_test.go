package websocket_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	coder "github.com/coder/websocket"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/services/router/internal/backend"
	"github.com/sluice-dev/sluice/services/router/internal/backend/websocket"
)

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
