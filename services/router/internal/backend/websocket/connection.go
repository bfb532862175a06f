package websocket

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/coder/websocket"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/services/router/internal/backend"
)

const (
	// maxQueue is the number of requests that may wait to be written to a server that reads too slowly.
	maxQueue = 64
	// chunk is the size of the parts in which a message is written, in bytes.
	chunk = 64 << 10
	// maxControl bounds messages that answer no batch.
	maxControl = 1 << 20
	// pingEvery and pongTimeout say how a server is found that is gone without a word.
	pingEvery   = 5 * time.Second
	pongTimeout = 15 * time.Second
	// goodbyeTimeout bounds the closing handshake.
	goodbyeTimeout = time.Second
)

// connection is a WebSocket to a server, from its opening to its end.
type connection struct {
	socket *websocket.Conn
	cut    func() // cuts the connection below the socket: whoever reads or writes gets an error
	queue  chan *call
	spaces *sync.Pool // of *message
	gone   chan struct{}

	mu      sync.Mutex
	err     error // why it ended; nil before
	last    uint64
	limit   int // largest message that is read
	pending map[uint64]*call
	// description is what the server said last on this connection; nil before. handed is true once it was handed out.
	description *backend.Description
	handed      bool
}

func newConnection(socket *websocket.Conn, cut func(), spaces *sync.Pool) *connection {
	socket.SetReadLimit(maxControl)
	return &connection{
		socket: socket, cut: cut, queue: make(chan *call, maxQueue), spaces: spaces, gone: make(chan struct{}), limit: maxControl, pending: map[uint64]*call{},
	}
}

// serve runs the connection until it is lost or ctx ends, and says why. All its goroutines are started and joined here.
func (c *connection) serve(ctx context.Context) error {
	var own sync.WaitGroup
	own.Go(func() { c.write(context.WithoutCancel(ctx)) })
	own.Go(func() { c.supervise(ctx) })
	err := c.read(context.WithoutCancel(ctx)) // ends with the socket
	c.fail(err)
	var broken *violation
	if errors.As(err, &broken) {
		c.goodbye(broken.status, broken.reason)
	}
	_ = c.socket.CloseNow() // for good, whatever was said before
	own.Wait()
	return c.lost()
}

// lost gives the reason why the connection ended, nil while it lives.
func (c *connection) lost() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// fail ends all that is under way: the first reason counts.
func (c *connection) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return
	}
	c.err = lossOf(err)
	close(c.gone)
	for id, call := range c.pending {
		delete(c.pending, id)
		call.reply <- reply{err: c.err}
	}
}

// lossOf makes an error of what ended a connection.
func lossOf(err error) error {
	var ours *backend.Error
	var broken *violation
	var closed websocket.CloseError
	switch {
	case errors.As(err, &ours):
		return ours
	case errors.As(err, &broken):
		return &backend.Error{Code: media.BackendProtocol, Reason: "the server broke the protocol: " + broken.reason}
	case errors.As(err, &closed) && closed.Code == websocket.StatusMessageTooBig:
		return backend.Fail(media.BackendUnavailable, "the server closed the connection with status 1009: its limit for messages is too low for a batch", closed.Reason)
	case errors.As(err, &closed):
		return backend.Fail(media.BackendUnavailable, fmt.Sprintf("the server closed the connection with status %d", closed.Code), closed.Reason)
	default:
		return backend.Fail(media.BackendUnavailable, "the connection was lost", err.Error())
	}
}

// read takes the server's messages until the socket ends, and says why it did.
func (c *connection) read(ctx context.Context) error {
	for {
		kind, from, err := c.socket.Reader(ctx)
		if err != nil {
			return err
		}
		space := c.spaces.Get().(*message)
		if space.data, err = readAll(from, space.data[:0]); err == nil {
			err = c.take(kind, space)
		}
		if errors.Is(err, websocket.ErrMessageTooBig) {
			err = &violation{websocket.StatusMessageTooBig, fmt.Sprintf("an answer of more than %d bytes", c.readLimit())}
		}
		if err != nil {
			return err
		}
	}
}

// readAll reads to the end into memory that grows where it has to.
func readAll(from io.Reader, data []byte) ([]byte, error) {
	for {
		if len(data) == cap(data) {
			data = append(data, 0)[:len(data)]
		}
		n, err := from.Read(data[len(data):cap(data)])
		data = data[:len(data)+n]
		if errors.Is(err, io.EOF) {
			return data, nil
		}
		if err != nil {
			return data, err
		}
	}
}

// take hands a message to the call that it answers. One that nobody waits for any more is thrown away.
func (c *connection) take(kind websocket.MessageType, space *message) error {
	a, err := parse(kind, space.data)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if a.ID > c.last {
		return &violation{websocket.StatusProtocolError, fmt.Sprintf("an answer to request %d, and the last one was %d", a.ID, c.last)}
	}
	call, waits := c.pending[a.ID]
	if !waits || !a.binary {
		c.spaces.Put(space) // text was copied
		space = nil
	}
	if waits {
		delete(c.pending, a.ID)
		call.reply <- reply{answer: a, message: space}
	}
	return nil
}

func (c *connection) readLimit() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.limit
}

// ask sends a message and waits for its answer, which may have up to limit bytes. encode writes the message's first part, for the id that it gets; the inputs follow,
// and are read until ask returns and not after. Whoever gets the reply frees it.
func (c *connection) ask(ctx context.Context, limit int, encode func(id uint64) (websocket.MessageType, []byte, error), inputs []media.RawTensor) (reply, error) {
	call, err := c.enter(limit, encode, inputs)
	if err != nil {
		return reply{}, err
	}
	defer call.leave()
	select {
	case r := <-call.reply:
		return r, r.err
	case <-ctx.Done():
	}
	c.mu.Lock()
	delete(c.pending, call.id)
	c.mu.Unlock()
	select {
	case r := <-call.reply: // it came at the same moment
		c.free(r)
	default:
	}
	return reply{}, backend.ContextError(ctx)
}

// enter gives a request its id and puts it into the queue.
func (c *connection) enter(limit int, encode func(id uint64) (websocket.MessageType, []byte, error), inputs []media.RawTensor) (*call, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return nil, unsent(c.err)
	}
	kind, head, err := encode(c.last + 1)
	if err != nil {
		return nil, err
	}
	if limit > c.limit {
		c.limit = limit
		c.socket.SetReadLimit(int64(limit)) // never less again: an answer may be late
	}
	call := newCall(c.last+1, kind, head, inputs)
	select {
	case c.queue <- call:
	default:
		return nil, &backend.Error{Code: media.BackendUnavailable, Reason: fmt.Sprintf("the server reads too slowly: %d requests wait to be sent", maxQueue)}
	}
	c.last++
	c.pending[call.id] = call
	return call, nil
}

// free gives a reply's memory back.
func (c *connection) free(r reply) {
	if r.message != nil {
		c.spaces.Put(r.message)
	}
}

// write sends what is in the queue until the connection ends.
func (c *connection) write(ctx context.Context) {
	staging := make([]byte, chunk)
	for {
		select {
		case <-c.gone:
			return
		case call := <-c.queue:
			if err := c.send(ctx, call, staging); err != nil {
				c.fail(err)
				c.cut() // the reader's end too
				return
			}
		}
	}
}

// send writes one message; in parts, if it is longer than one.
func (c *connection) send(ctx context.Context, call *call, staging []byte) error {
	size, wanted := call.begin()
	if !wanted {
		return nil
	}
	if size <= len(staging) {
		return c.socket.Write(ctx, call.kind, staging[:call.next(staging)])
	}
	w, err := c.socket.Writer(ctx, call.kind)
	if err != nil {
		return err
	}
	for {
		n := call.next(staging)
		if n == 0 {
			return w.Close()
		}
		if _, err := w.Write(staging[:n]); err != nil {
			return err
		}
	}
}

// supervise finds a server that is gone without a word, and says goodbye when ctx ends.
func (c *connection) supervise(ctx context.Context) {
	ping := time.NewTicker(pingEvery)
	defer ping.Stop()
	for {
		select {
		case <-c.gone:
			return
		case <-ctx.Done():
			c.goodbye(websocket.StatusNormalClosure, "")
			return
		case <-ping.C:
		}
		if err := c.ping(ctx); err != nil && ctx.Err() == nil {
			if errors.Is(err, context.DeadlineExceeded) {
				c.fail(&backend.Error{Code: media.BackendUnavailable, Reason: fmt.Sprintf("the server did not answer a ping for %v", pongTimeout)})
			}
			c.cut() // the reader sees it, and says why if nobody did
			return
		}
	}
}

// ping waits for the answer to a ping.
func (c *connection) ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, pongTimeout)
	defer cancel()
	for {
		err := c.socket.Ping(ctx)
		if !errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil {
			return err
		}
		// The library gives up earlier where a message is being written to a server that does not read.
	}
}

// goodbye closes the socket with a status and waits a moment for the server to do so too.
func (c *connection) goodbye(status websocket.StatusCode, reason string) {
	late := time.AfterFunc(goodbyeTimeout, c.cut)
	defer late.Stop()
	_ = c.socket.Close(status, reason)
}
