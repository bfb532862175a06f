// Package relay is a bad network in one process: a UDP relay on loopback that delays every datagram and loses some.
package relay

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// queue is how many datagrams may be on their way in one direction: a second of a fast stream. More are lost, and told by Stats.
	queue = 4096
	// largest is the largest datagram.
	largest = 1 << 16
)

// Config describes the path between a client and a server.
type Config struct {
	// Server is where the client's datagrams go.
	Server netip.AddrPort
	// Delay is the time that a datagram takes, each way: half of the round-trip time.
	Delay time.Duration
	// Seed makes the losses the same in every run: the nth datagram of a direction after Lose is lost or it is not.
	Seed uint64
}

// Direction counts the datagrams of one direction since Lose.
type Direction struct {
	// Media and Other arrived at the relay, MediaLost and OtherLost of them were lost. Media is RTP, retransmissions included; Other is RTCP, STUN and DTLS.
	Media, MediaLost, Other, OtherLost uint64
	// Nacks and Plis are the requests for packets and for key frames, lost ones included: datagrams that begin with such a message (RFC 4585).
	Nacks, Plis uint64
	// Overflowed were lost because the relay was not fast enough. Anything but zero spoils the measurement.
	Overflowed uint64
}

// Relay stands between one client and a server. It is safe for concurrent use.
type Relay struct {
	cfg          Config
	front, back  *net.UDPConn
	client       atomic.Pointer[netip.AddrPort] // who sent last
	toServer     lane
	toClient     lane
	loops        sync.WaitGroup
	closing      chan struct{}
	closeSockets sync.Once
}

// lane is one direction.
type lane struct {
	mu     sync.Mutex
	loss   float64
	random *rand.Rand
	count  Direction
	wire   chan datagram
}

type datagram struct {
	due  time.Time
	data []byte
}

// Listen opens a relay on a free port of 127.0.0.1. It loses nothing until Lose is called.
func Listen(cfg Config) (*Relay, error) {
	front, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, fmt.Errorf("relay: %w", err)
	}
	back, err := net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(cfg.Server))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("relay: %w", err), front.Close())
	}
	r := &Relay{cfg: cfg, front: front, back: back, closing: make(chan struct{})}
	for i, l := range []*lane{&r.toServer, &r.toClient} {
		l.random = rand.New(rand.NewPCG(cfg.Seed, uint64(i)))
		l.wire = make(chan datagram, queue)
	}
	r.loops.Go(r.readClient)
	r.loops.Go(r.readServer)
	r.loops.Go(func() { r.deliver(&r.toServer, func(b []byte) { _, _ = back.Write(b) }) })
	r.loops.Go(func() {
		r.deliver(&r.toClient, func(b []byte) {
			if to := r.client.Load(); to != nil {
				_, _ = front.WriteToUDPAddrPort(b, *to)
			}
		})
	})
	return r, nil
}

// Address is what the client sends to.
func (r *Relay) Address() netip.AddrPort { return r.front.LocalAddr().(*net.UDPAddr).AddrPort() }

// Lose starts to lose datagrams of both directions, each with a probability, independently of each other, and to count.
func (r *Relay) Lose(probability float64) {
	for _, l := range []*lane{&r.toServer, &r.toClient} {
		l.mu.Lock()
		l.loss, l.count = probability, Direction{}
		l.mu.Unlock()
	}
}

// Stats gives the counts since Lose, towards the server and towards the client.
func (r *Relay) Stats() (toServer, toClient Direction) { return r.toServer.stats(), r.toClient.stats() }

func (l *lane) stats() Direction {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.count
}

// Close closes the relay and joins its goroutines. What is on its way is lost.
func (r *Relay) Close() error {
	var err error
	r.closeSockets.Do(func() {
		close(r.closing)
		err = errors.Join(r.front.Close(), r.back.Close())
	})
	r.loops.Wait()
	return err
}

func (r *Relay) readClient() {
	buffer := make([]byte, largest)
	for {
		n, from, err := r.front.ReadFromUDPAddrPort(buffer)
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil: // an ICMP error of an earlier write
			continue
		}
		r.client.Store(&from)
		r.toServer.take(buffer[:n], time.Now().Add(r.cfg.Delay))
	}
}

func (r *Relay) readServer() {
	buffer := make([]byte, largest)
	for {
		n, err := r.back.Read(buffer)
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil:
			continue
		}
		r.toClient.take(buffer[:n], time.Now().Add(r.cfg.Delay))
	}
}

// take decides a datagram's fate and puts it on the wire.
func (l *lane) take(b []byte, due time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	lost := l.random.Float64() < l.loss
	l.count.note(b, lost)
	if lost {
		return
	}
	select {
	case l.wire <- datagram{due, append([]byte(nil), b...)}:
	default:
		l.count.Overflowed++
	}
}

// The numbers by which RTP, RTCP and its messages are told apart (RFC 5761 section 4, RFC 7983, RFC 4585 sections 6.2 and 6.3). The first header of an SRTCP packet is not encrypted.
const (
	firstRTCP, lastRTCP       = 192, 223
	transportFeedback, nackID = 205, 1
	payloadFeedback, pliID    = 206, 1
)

func (d *Direction) note(b []byte, lost bool) {
	rtp := len(b) >= 12 && b[0]>>6 == 2
	control := rtp && b[1] >= firstRTCP && b[1] <= lastRTCP
	kind, format := byte(0), byte(0)
	if control {
		kind, format = b[1], b[0]&0x1f
	}
	switch {
	case kind == transportFeedback && format == nackID:
		d.Nacks++
	case kind == payloadFeedback && format == pliID:
		d.Plis++
	}
	n := uint64(0)
	if lost {
		n = 1
	}
	if rtp && !control {
		d.Media, d.MediaLost = d.Media+1, d.MediaLost+n
	} else {
		d.Other, d.OtherLost = d.Other+1, d.OtherLost+n
	}
}

// deliver hands datagrams over when they are due. All take equally long, so they stay in order.
func (r *Relay) deliver(l *lane, to func([]byte)) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		select {
		case <-r.closing:
			return
		case d := <-l.wire:
			timer.Reset(time.Until(d.due))
			select {
			case <-r.closing:
				return
			case <-timer.C:
			}
			to(d.data)
		}
	}
}
