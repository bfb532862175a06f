package websocket_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"testing"
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
