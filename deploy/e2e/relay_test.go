//go:build e2e

package e2e

import (
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
)

// relay carries UDP between one client and the edge, over the loopback address, for as long as its cable is in.
type relay struct {
	// address is where the client has to send to.
	address netip.AddrPort

	cut         atomic.Bool
	front, back *net.UDPConn
	client      atomic.Pointer[netip.AddrPort]
}

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
	r := &relay{address: front.LocalAddr().(*net.UDPAddr).AddrPort(), front: front, back: back}
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
	b := make([]byte, 2048)
	for {
		n, from, err := r.front.ReadFromUDPAddrPort(b)
		if err != nil {
			return
		}
		r.client.Store(&from)
		if !r.cut.Load() {
			_, _ = r.back.Write(b[:n]) // An edge that is gone is the test's own business.
		}
	}
}

func (r *relay) toClient() {
	b := make([]byte, 2048)
	for {
		n, err := r.back.Read(b)
		if err != nil {
			return
		}
		if to := r.client.Load(); to != nil && !r.cut.Load() {
			_, _ = r.front.WriteToUDPAddrPort(b[:n], *to)
		}
	}
}
