//go:build e2e

package e2e

import (
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
)

// relay carries UDP between one client and the edge, over the loopback address, for as long as its cable is in.
type relay struct {
	// address is where the client has to send to, clientAddress where the edge has to.
	address, clientAddress netip.AddrPort

	cut atomic.Bool
	// loss is the share of the datagrams, each way, that are lost: a number of lossUnit. Which ones is the same in every run.
	loss        atomic.Uint32
	front, back *net.UDPConn
	client      atomic.Pointer[netip.AddrPort] // who sent last, or was named
}

// lossUnit is all datagrams, in relay.loss.
const lossUnit = 1000

// newRelay starts a relay to an edge's media address; it ends with the test.
func newRelay(t *testing.T, edge netip.AddrPort) *relay {
	t.Helper()
	front, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	back, err := net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(edge))
	if err != nil {
		t.Fatal(err)
	}
	address := func(c *net.UDPConn) netip.AddrPort { return c.LocalAddr().(*net.UDPAddr).AddrPort() }
	r := &relay{address: address(front), clientAddress: address(back), front: front, back: back}
	var ways sync.WaitGroup
	ways.Go(r.toEdge)
	ways.Go(r.toClient)
	t.Cleanup(func() {
		_, _ = front.Close(), back.Close()
		ways.Wait()
	})
	return r
}

func (r *relay) toEdge() {
	random := rand.New(rand.NewPCG(1, 0))
	b := make([]byte, 2048)
	for {
		n, from, err := r.front.ReadFromUDPAddrPort(b)
		if err != nil {
			return
		}
		r.client.Store(&from)
		if r.passes(random) {
			_, _ = r.back.Write(b[:n]) // An edge that is gone is the test's own business.
		}
	}
}

func (r *relay) toClient() {
	random := rand.New(rand.NewPCG(2, 0))
	b := make([]byte, 2048)
	for {
		n, err := r.back.Read(b)
		if err != nil {
			return
		}
		if to := r.client.Load(); to != nil && r.passes(random) {
			_, _ = r.front.WriteToUDPAddrPort(b[:n], *to)
		}
	}
}

// passes tells whether a datagram gets through.
func (r *relay) passes(random *rand.Rand) bool {
	return !r.cut.Load() && random.Uint32N(lossUnit) >= r.loss.Load()
}
