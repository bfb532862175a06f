package front

import (
	"context"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"
)

// dialInMemory opens a WebSocket inside a bubble, reads its welcome, and gives the connection below it too.
func dialInMemory(t *testing.T, f *Front) (conn *websocket.Conn, below net.Conn, stop func() error) {
	t.Helper()
	listener := newPipes()
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- f.Serve(ctx, listener, nil) }()
	client, closeIdle := clientOver(func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := listener.dial(ctx, network, address)
		below = c
		return c, err
	})
	conn, _, err := websocket.Dial(ctx, "ws://edge.example/ws", &websocket.DialOptions{HTTPClient: client}) //nolint:bodyclose // it is the socket's
	if err != nil {
		t.Fatal(err)
	}
	hear(t, conn)
	return conn, below, func() error {
		cancel()
		err := <-served
		_ = conn.CloseNow()
		closeIdle()
		return err
	}
}

func TestSocketWithoutAnOffer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f, _ := fixture(t, nil)
		conn, _, stop := dialInMemory(t, f)
		start := time.Now()
		_, _, err := conn.Read(context.Background()) // answers pings meanwhile
		if websocket.CloseStatus(err) != websocket.StatusPolicyViolation || time.Since(start) != offerTimeout {
			t.Errorf("closed with %v after %v, want 1008 after %v", err, time.Since(start), offerTimeout)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

// A client that is connected but dead is found by its missing pong.
func TestSocketOfADeadClient(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f, sessions := fixture(t, nil)
		conn, below, stop := dialInMemory(t, f)
		say(t, conn, offerMessage(offerSDP))
		expect(t, conn, "answer", "sdp", "v=0 answer to session1")
		for range 3 {
			hear(t, conn)
		}
		session := sessions.get(t, "session1")
		start := time.Now()
		f.sockets.Wait() // nobody reads at the client's end from here on
		if took := time.Since(start); took > pingEvery+sendTimeout {
			t.Errorf("the socket ended after %v, want at most %v", took, pingEvery+sendTimeout)
		}
		if session.closed == "" {
			t.Error("the session goes on")
		}
		_ = below.Close()
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

// Results keep a socket busy; pings go through nevertheless, and a socket with a session has no offer to be late with.
func TestSocketStaysWhileItIsAlive(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f, sessions := fixture(t, nil)
		conn, _, stop := dialInMemory(t, f)
		say(t, conn, offerMessage(offerSDP))
		expect(t, conn, "answer", "sdp", "v=0 answer to session1")
		for range 3 {
			hear(t, conn)
		}
		session := sessions.get(t, "session1")
		for i := range 2 * int(offerTimeout/time.Second) {
			session.publish(t, uint32(i+1))
			expect(t, conn, "outcome", "sequence", float64(i+1))
			<-time.After(time.Second) // a bubble's clock
		}
		go func() {
			for {
				if _, _, err := conn.Read(context.Background()); err != nil {
					return
				}
			}
		}()
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}
