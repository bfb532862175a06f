package wire

import (
	"context"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
)

// DialOptions make a client's connections such that messages whose memory the Lender has lent are written whole, by one call of the kernel from where they lie. gRPC itself
// copies them into a buffer, 32 KiB at a time: on loopback and within a machine that is a quarter of what sending a picture costs. The connections are plain text, for
// what is encrypted has to be written anew anyway.
func (k *Lender) DialOptions() []grpc.DialOption {
	return []grpc.DialOption{
		grpc.WithTransportCredentials(gathering{insecure.NewCredentials(), k}),
		grpc.WithWriteBufferSize(0), // so that Write is given the memory itself
	}
}

// gathering are the credentials of plain text, on connections that gather. That is where gRPC lets a connection be replaced once it is set up.
type gathering struct {
	credentials.TransportCredentials
	lender *Lender
}

func (g gathering) ClientHandshake(ctx context.Context, authority string, raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	conn, info, err := g.TransportCredentials.ClientHandshake(ctx, authority, raw)
	if err != nil {
		return conn, info, err
	}
	return newGatherer(conn, g.lender), info, nil
}

func (g gathering) Clone() credentials.TransportCredentials {
	return gathering{g.TransportCredentials.Clone(), g.lender}
}

const (
	// frameHeader is the size of an HTTP/2 frame's header (RFC 9113, section 4.1). gRPC writes it by itself for a frame of data, and then the data in pieces; any other
	// frame it writes whole.
	frameHeader = 9
	// fullFrame is the most data that gRPC puts in a frame. What has less is the end of a message, or all that the peer lets it send for now.
	fullFrame = 16 << 10
	// mostHeld is the number of bytes that are held at most before they are written.
	mostHeld = 1 << 20
	// mostCopied is the number of bytes up to which what is not lent is copied to be written later, and staging the room for that.
	mostCopied, staging = 4 << 10, 32 << 10
	// longestHeld is how long something may be held when gRPC writes nothing more. It writes a message in less.
	longestHeld = 100 * time.Microsecond
)

// The types and flags of HTTP/2 frames that matter here (RFC 9113, section 6).
const (
	typeData    = 0
	typeHeaders = 1
	endStream   = 1
)

// gatherer is a connection that holds back what gRPC writes of a message until it has all of it, or as much as there will be for now. What it holds is copied, unless it is lent: then
// the lease waits for it to be written. It is safe for concurrent use.
type gatherer struct {
	net.Conn
	lender *Lender
	late   *time.Timer // flushes what was held for longestHeld

	mu   sync.Mutex
	data int         // bytes of the current frame of data that are still to come
	full bool        // it is a full frame
	held net.Buffers // to be written, in this order
	size int         // of what is held, in bytes
	// room has the copies of what is held and not lent; copied is true when the last of held is the end of it.
	room   []byte
	copied bool
	leases []*lease // that held is from: they must not be lost while it is to be read
	over   *lease   // the first of those that gRPC has freed and that are not held any more, for unlock to end
	out    net.Buffers
	err    error // of a write; there is none after it
}

func newGatherer(conn net.Conn, lender *Lender) *gatherer {
	c := &gatherer{Conn: conn, lender: lender, room: make([]byte, 0, staging)}
	c.late = time.AfterFunc(longestHeld, c.flush)
	c.late.Stop()
	return c
}

// Write implements net.Conn. What it holds of p beyond its return is a copy, or is lent. An error may be of what was written before.
func (c *gatherer) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.unlock()
	if c.err != nil {
		return 0, c.err
	}
	var more bool
	switch {
	case len(p) == 0:
		return 0, nil
	case c.data > 0:
		c.data -= min(c.data, len(p))
		more = (c.borrow(p) || c.copy(p)) && (c.data > 0 || c.full)
	case len(p) == frameHeader && p[3] == typeData:
		c.data = int(p[0])<<16 | int(p[1])<<8 | int(p[2])
		c.full = c.data >= fullFrame
		more = c.copy(p) && c.data > 0
	default: // a call's headers are held for its first message
		call := len(p) > frameHeader && p[3] == typeHeaders && p[4]&endStream == 0
		more = c.copy(p) && call
	}
	switch {
	case !more || c.size >= mostHeld:
		c.write()
	case c.size == len(p): // the first that is held
		c.late.Reset(longestHeld)
	}
	if c.err != nil {
		return 0, c.err
	}
	return len(p), nil
}

// borrow holds p where it lies, if it is lent.
func (c *gatherer) borrow(p []byte) bool {
	l := c.lender.find(p, c)
	if l == nil {
		return false
	}
	c.held, c.copied, c.size = append(c.held, p), false, c.size+len(p)
	if n := len(c.leases); n == 0 || c.leases[n-1] != l {
		c.leases = append(c.leases, l)
	}
	return true
}

// copy holds a copy of p. Where there is no room for one it holds p itself and is false: it has to be written before p may change.
func (c *gatherer) copy(p []byte) bool {
	c.size += len(p)
	at := len(c.room)
	if len(p) > min(mostCopied, cap(c.room)-at) {
		c.held, c.copied = append(c.held, p), false
		return false
	}
	c.room = append(c.room, p...)
	if n := len(c.held) - 1; c.copied {
		c.held[n] = c.room[at-len(c.held[n]):]
	} else {
		c.held, c.copied = append(c.held, c.room[at:]), true
	}
	return true
}

// flush writes what is held.
func (c *gatherer) flush() {
	c.mu.Lock()
	defer c.unlock()
	c.write()
}

// tryFlush writes what is held, unless the connection is in use: then whoever uses it writes that, or the timer that was set for it.
func (c *gatherer) tryFlush() {
	if c.mu.TryLock() {
		defer c.unlock()
		c.write()
	}
}

// unlock gives the lock back, and then ends the leases that are over: whose memory it is has locks of their own.
func (c *gatherer) unlock() {
	over := c.over
	c.over = nil
	c.mu.Unlock()
	for over != nil {
		l := over
		over, l.next = l.next, nil
		l.end()
	}
}

// write writes what is held. The caller holds the lock.
func (c *gatherer) write() {
	if len(c.held) == 0 {
		return
	}
	c.late.Stop()
	if c.err == nil {
		c.out = c.held // WriteTo empties it
		_, c.err = c.out.WriteTo(c.Conn)
	}
	clear(c.held)
	for _, l := range c.leases {
		if c.lender.written(l, c) {
			l.next, c.over = c.over, l
		}
	}
	clear(c.leases)
	c.held, c.leases, c.out, c.room, c.size, c.copied = c.held[:0], c.leases[:0], nil, c.room[:0], 0, false
}

// Close implements net.Conn. What is held is lost.
func (c *gatherer) Close() error {
	err := c.Conn.Close() // which ends a write
	c.mu.Lock()
	defer c.unlock()
	if c.err == nil {
		c.err = net.ErrClosed
	}
	c.write()
	return err
}
