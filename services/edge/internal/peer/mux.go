package peer

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"

	"github.com/pion/stun/v4"
	"github.com/pion/transport/v5"
)

const (
	// maxDatagram is larger than anything a client sends in one piece; what is longer was not meant for us.
	maxDatagram = 2048
	// maxWaiting bounds the datagrams that wait for one session: a key frame of some megabytes. A session that does not read for longer loses what comes then, as it
	// would behind a full socket.
	maxWaiting = 2048
	// maxAddresses bounds the client addresses of one session; the one known for longest is forgotten first.
	maxAddresses = 32
)

// mux shares one UDP socket among sessions (ice.UDPMux). Who sends an ICE connectivity check (RFC 8445 section 7.3) names its session, so a check decides whose its address is
// from then on, and nothing else takes an address from a session. So a client that gets the port of one that has died, as happens behind a NAT and on one machine, is heard at
// once, while the dead one's session is still kept and still sends: pion's own mux lets each of the two take the address from the other with every packet that it sends.
type mux struct {
	socket  transport.UDPConn
	logger  *slog.Logger
	buffers sync.Pool     // *datagram
	done    chan struct{} // closed when the read loop has ended

	mu       sync.RWMutex
	closed   bool
	sessions map[string]*lane         // by the edge's ICE user name fragment
	owners   map[netip.AddrPort]*lane // by client address
}

// lane is one session's part of the socket. What it waits for is guarded by mu, the rest by the mux's.
type lane struct {
	mux       *mux
	ufrag     string
	handles   int
	addresses []netip.AddrPort // the one known for longest first

	ready chan struct{} // holds a token when datagrams may wait

	mu      sync.Mutex
	waiting []*datagram // oldest first
	lost    uint64
	ended   bool
}

type datagram struct {
	from   netip.AddrPort
	length int
	bytes  [maxDatagram]byte
}

// newMux starts to read the socket, which it owns.
func newMux(socket transport.UDPConn, logger *slog.Logger) *mux {
	m := &mux{
		socket: socket, logger: logger, done: make(chan struct{}), buffers: sync.Pool{New: func() any { return new(datagram) }},
		sessions: make(map[string]*lane), owners: make(map[netip.AddrPort]*lane),
	}
	go m.read() // joined by Close
	return m
}

// GetListenAddresses implements ice.UDPMux.
func (m *mux) GetListenAddresses() []net.Addr { return []net.Addr{m.socket.LocalAddr()} }

// GetConn implements ice.UDPMux: it gives a connection of the session whose checks carry the user name fragment. Each one must be closed.
func (m *mux) GetConn(ufrag string, _ net.Addr) (net.PacketConn, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil, io.ErrClosedPipe
	}
	l := m.sessions[ufrag]
	if l == nil {
		l = &lane{mux: m, ufrag: ufrag, ready: make(chan struct{}, 1)}
		m.sessions[ufrag] = l
	}
	l.handles++
	return &laneConn{lane: l, closed: make(chan struct{})}, nil
}

// RemoveConnByUfrag implements ice.UDPMux: nothing is delivered to the session any more.
func (m *mux) RemoveConnByUfrag(ufrag string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if l := m.sessions[ufrag]; l != nil {
		m.remove(l)
	}
}

// remove takes a session out. The caller holds the lock.
func (m *mux) remove(l *lane) {
	if m.sessions[l.ufrag] == l {
		delete(m.sessions, l.ufrag)
	}
	for _, a := range l.addresses {
		delete(m.owners, a)
	}
	l.addresses = nil
}

// Close closes the socket and everything on it.
func (m *mux) Close() error {
	m.mu.Lock()
	m.closed = true
	lanes := make([]*lane, 0, len(m.sessions))
	for _, l := range m.sessions {
		lanes = append(lanes, l)
	}
	m.mu.Unlock()
	err := m.socket.Close()
	<-m.done
	for _, l := range lanes {
		l.end()
	}
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// read hands out what arrives until the socket is closed.
func (m *mux) read() {
	defer close(m.done)
	for {
		d, _ := m.buffers.Get().(*datagram)
		n, from, err := m.receive(d.bytes[:])
		if errors.Is(err, net.ErrClosed) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrClosedPipe) {
			return
		}
		if err != nil { // of one datagram, an ICMP message for instance
			m.logger.Debug("a datagram cannot be read", slog.String("error", err.Error()))
			if m.isClosed() {
				return
			}
			continue
		}
		d.length, d.from = n, netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
		if l := m.route(d.bytes[:n], d.from); l == nil || !l.push(d) {
			m.buffers.Put(d)
		}
	}
}

func (m *mux) isClosed() bool {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.closed
}

// receive reads one datagram, without an allocation where the socket is the kernel's.
func (m *mux) receive(b []byte) (int, netip.AddrPort, error) {
	if kernel, ok := m.socket.(*net.UDPConn); ok {
		return kernel.ReadFromUDPAddrPort(b)
	}
	n, from, err := m.socket.ReadFrom(b)
	if err != nil {
		return 0, netip.AddrPort{}, err
	}
	address, ok := from.(*net.UDPAddr)
	if !ok {
		return 0, netip.AddrPort{}, fmt.Errorf("a datagram from %T", from)
	}
	return n, address.AddrPort(), nil
}

// route tells whose a datagram is; nil for nobody's. A check for a session that is not there is nobody's, whoever had the address before.
func (m *mux) route(b []byte, from netip.AddrPort) *lane {
	ufrag, check := checkFor(b)
	m.mu.RLock()
	owner := m.owners[from]
	if !check {
		m.mu.RUnlock()
		return owner
	}
	l := m.sessions[string(ufrag)]
	m.mu.RUnlock()
	if l != nil && l != owner {
		m.assign(from, l, true)
	}
	return l
}

// assign makes an address a session's, if it is nobody's or steal is set.
func (m *mux) assign(address netip.AddrPort, l *lane, steal bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	owner := m.owners[address]
	if owner == l || (owner != nil && !steal) || m.sessions[l.ufrag] != l {
		return
	}
	if owner != nil {
		owner.addresses = slices.DeleteFunc(owner.addresses, func(a netip.AddrPort) bool { return a == address })
	}
	if len(l.addresses) == maxAddresses {
		delete(m.owners, l.addresses[0])
		l.addresses = slices.Delete(l.addresses, 0, 1)
	}
	l.addresses = append(l.addresses, address)
	m.owners[address] = l
}

// send sends a datagram of a session. The first one to an address that is nobody's makes it the session's, so that the answer to a check finds its way.
func (m *mux) send(l *lane, b []byte, to netip.AddrPort) (int, error) {
	to = netip.AddrPortFrom(to.Addr().Unmap(), to.Port())
	m.mu.RLock()
	_, owned := m.owners[to]
	m.mu.RUnlock()
	if !owned {
		m.assign(to, l, false)
	}
	if kernel, ok := m.socket.(*net.UDPConn); ok {
		return kernel.WriteToUDPAddrPort(b, to)
	}
	return m.socket.WriteTo(b, net.UDPAddrFromAddrPort(to))
}

// push adds a datagram to those that wait; false when there is no place for it.
func (l *lane) push(d *datagram) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return false
	}
	if len(l.waiting) == maxWaiting {
		if l.lost++; l.lost == 1 {
			l.mux.logger.Warn("a session does not read its packets; what comes now is lost", slog.Int("waiting", maxWaiting))
		}
		return false
	}
	l.waiting = append(l.waiting, d)
	l.wake()
	return true
}

// pop takes the oldest datagram; nil when none waits.
func (l *lane) pop() (d *datagram, ended bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.waiting) == 0 {
		return nil, l.ended
	}
	d = l.waiting[0]
	l.waiting = slices.Delete(l.waiting, 0, 1)
	if len(l.waiting) > 0 {
		l.wake() // another connection of the session may wait
	}
	return d, false
}

// wake lets one reader look.
func (l *lane) wake() {
	select {
	case l.ready <- struct{}{}:
	default:
	}
}

// end gives back what waits.
func (l *lane) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return
	}
	l.ended = true
	for _, d := range l.waiting {
		l.mux.buffers.Put(d)
	}
	l.waiting = nil
	close(l.ready)
}

// release gives one connection of a session back; the last one ends it.
func (l *lane) release() {
	l.mux.mu.Lock()
	l.handles--
	last := l.handles == 0
	if last {
		l.mux.remove(l)
	}
	l.mux.mu.Unlock()
	if last {
		l.end()
	}
}

// checkFor tells whether a datagram is an ICE connectivity check, and for which session: the part of its USERNAME before the colon (RFC 8445 section 7.2.2).
func checkFor(b []byte) (ufrag []byte, ok bool) {
	const header, bindingRequest = 20, 0x0001
	if len(b) < header || !stun.IsMessage(b) || binary.BigEndian.Uint16(b) != bindingRequest {
		return nil, false
	}
	end := header + int(binary.BigEndian.Uint16(b[2:]))
	if end > len(b) {
		return nil, false
	}
	// Attributes: type, length, value, padded to four bytes (RFC 8489 section 5).
	for rest := b[header:end]; len(rest) >= 4; {
		kind, length := stun.AttrType(binary.BigEndian.Uint16(rest)), int(binary.BigEndian.Uint16(rest[2:]))
		if rest = rest[4:]; length > len(rest) {
			return nil, false
		}
		if kind == stun.AttrUsername {
			ufrag, _, ok = bytes.Cut(rest[:length], []byte{':'})
			return ufrag, ok
		}
		rest = rest[min(len(rest), (length+3)&^3):]
	}
	return nil, false
}
