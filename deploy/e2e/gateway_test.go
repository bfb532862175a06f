//go:build e2e

package e2e

import (
	"net"
	"net/netip"
	"sync"
	"testing"
)

// gateway carries UDP from the loopback address to the edge as a home's router does: each of a client's sockets gets one of the gateway's own, by which the edge sees it.
type gateway struct {
	// address is where clients have to send to.
	address netip.AddrPort

	edge  *net.UDPAddr
	front *net.UDPConn
	ways  sync.WaitGroup

	mu sync.Mutex
	// mappings are the gateway's sockets by those of the clients; one that has been forgotten is closed, and stays.
	mappings map[netip.AddrPort]*net.UDPConn
	over     bool
}

// newGateway starts a gateway to an edge's media address; it ends with the test.
func newGateway(t *testing.T, edge string) *gateway {
	t.Helper()
	to, err := net.ResolveUDPAddr("udp4", edge)
	if err != nil {
		t.Fatal(err)
	}
	front, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	g := &gateway{address: front.LocalAddr().(*net.UDPAddr).AddrPort(), edge: to, front: front, mappings: map[netip.AddrPort]*net.UDPConn{}}
	g.ways.Go(g.toEdge)
	t.Cleanup(func() {
		g.mu.Lock()
		g.over = true
		g.mu.Unlock()
		g.forget()
		_ = front.Close()
		g.ways.Wait()
	})
	return g
}

// forget gives up all mappings, as when the network behind the gateway changes: what clients send from the sockets that they have gets nowhere any more, and the edge sees what they send
// from others under other addresses.
func (g *gateway) forget() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, back := range g.mappings {
		_ = back.Close()
	}
}

func (g *gateway) toEdge() {
	b := make([]byte, 2048)
	for {
		n, from, err := g.front.ReadFromUDPAddrPort(b)
		if err != nil {
			return
		}
		if back := g.mapping(from); back != nil {
			_, _ = back.Write(b[:n]) // An edge that is gone is the test's own business.
		}
	}
}

// mapping gives the socket for a client's, a new one for a new client; nil when there can be none any more.
func (g *gateway) mapping(client netip.AddrPort) *net.UDPConn {
	g.mu.Lock()
	defer g.mu.Unlock()
	if back := g.mappings[client]; back != nil || g.over {
		return back
	}
	back, err := net.DialUDP("udp4", nil, g.edge)
	if err != nil {
		return nil
	}
	g.mappings[client] = back
	g.ways.Go(func() { g.toClient(back, client) })
	return back
}

func (g *gateway) toClient(back *net.UDPConn, client netip.AddrPort) {
	b := make([]byte, 2048)
	for {
		n, err := back.Read(b)
		if err != nil {
			return
		}
		_, _ = g.front.WriteToUDPAddrPort(b[:n], client)
	}
}
