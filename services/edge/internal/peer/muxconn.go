package peer

import (
	"io"
	"net"
	"net/netip"
	"sync"
	"time"
)

// laneConn is a connection of a session on a shared socket, as an ICE agent wants one for each of its candidates. Several of one session share what arrives.
type laneConn struct {
	lane   *lane
	once   sync.Once
	closed chan struct{}
}

// ReadFrom implements net.PacketConn.
func (c *laneConn) ReadFrom(b []byte) (int, net.Addr, error) {
	n, from, err := c.ReadFromAddrPort(b)
	if err != nil {
		return 0, nil, err
	}
	return n, net.UDPAddrFromAddrPort(from), nil
}

// ReadFromAddrPort reads the next datagram. One that is longer than b is an error.
func (c *laneConn) ReadFromAddrPort(b []byte) (int, netip.AddrPort, error) {
	for {
		d, ended := c.lane.pop()
		switch {
		case ended:
			return 0, netip.AddrPort{}, io.EOF
		case d != nil:
			n, from := copy(b, d.bytes[:d.length]), d.from
			short := n < d.length
			c.lane.mux.buffers.Put(d)
			if short {
				return 0, netip.AddrPort{}, io.ErrShortBuffer
			}
			return n, from, nil
		}
		select {
		case <-c.lane.ready: // or ended, which pop tells
		case <-c.closed:
			return 0, netip.AddrPort{}, io.EOF
		}
	}
}

// WriteTo implements net.PacketConn.
func (c *laneConn) WriteTo(b []byte, to net.Addr) (int, error) {
	address, ok := to.(*net.UDPAddr)
	if !ok {
		return 0, net.InvalidAddrError("not a UDP address")
	}
	return c.WriteToAddrPort(b, address.AddrPort())
}

// WriteToAddrPort sends a datagram.
func (c *laneConn) WriteToAddrPort(b []byte, to netip.AddrPort) (int, error) {
	select {
	case <-c.closed:
		return 0, io.ErrClosedPipe
	default:
		return c.lane.mux.send(c.lane, b, to)
	}
}

// Close implements net.PacketConn.
func (c *laneConn) Close() error {
	c.once.Do(func() {
		close(c.closed)
		c.lane.release()
	})
	return nil
}

// LocalAddr implements net.PacketConn.
func (c *laneConn) LocalAddr() net.Addr { return c.lane.mux.socket.LocalAddr() }

// SetDeadline implements net.PacketConn. Deadlines are not kept: reading ends with Close, and the socket, which is shared, must not get one.
func (c *laneConn) SetDeadline(time.Time) error { return nil }

// SetReadDeadline implements net.PacketConn; see SetDeadline.
func (c *laneConn) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline implements net.PacketConn; see SetDeadline.
func (c *laneConn) SetWriteDeadline(time.Time) error { return nil }
