package peer

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/stun/v4"
)

// openMux makes a mux on a loopback socket.
func openMux(t *testing.T) *mux {
	t.Helper()
	socket, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	m := newMux(socket, quiet())
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return m
}

func session(t *testing.T, m *mux, ufrag string) *laneConn {
	t.Helper()
	conn, err := m.GetConn(ufrag, m.GetListenAddresses()[0])
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	c, ok := conn.(*laneConn)
	if _, fast := conn.(ice.AddrPortReaderWriter); !ok || !fast {
		t.Fatalf("%T is not what pion uses without allocations", conn)
	}
	return c
}

// check is a connectivity check for a session.
func check(ufrag string) []byte {
	return stun.MustBuild(stun.TransactionID, stun.BindingRequest, stun.NewSoftware("a client"), stun.NewUsername(ufrag+":client"), stun.Fingerprint).Raw
}

// response is what a client answers to the edge's own check.
func response() []byte { return stun.MustBuild(stun.TransactionID, stun.BindingSuccess).Raw }

func TestMuxRoutesByChecks(t *testing.T) {
	here, there := netip.MustParseAddrPort("192.0.2.1:1000"), netip.MustParseAddrPort("192.0.2.2:1000")
	media := []byte{0x80, 96, 0, 1}
	for _, c := range []struct {
		name string
		do   func(m *mux, old, young *lane)
		data []byte
		from netip.AddrPort
		want string // the session that gets it, empty for none
	}{
		{"of an address that never sent a check", func(*mux, *lane, *lane) {}, media, here, ""},
		{"after a check", func(m *mux, _, _ *lane) { m.route(check("old"), here) }, media, here, "old"},
		{"from another address than the check", func(m *mux, _, _ *lane) { m.route(check("old"), here) }, media, there, ""},
		{"a check itself", func(*mux, *lane, *lane) {}, check("young"), here, "young"},
		{"another session's check takes the address", func(m *mux, _, _ *lane) { m.route(check("old"), here); m.route(check("young"), here) }, media, here, "young"},
		{"and a packet of the one before does not take it back", func(m *mux, old, _ *lane) {
			m.route(check("old"), here)
			m.route(check("young"), here)
			m.assign(here, old, false)
		}, media, here, "young"},
		{"nor does its end", func(m *mux, _, _ *lane) {
			m.route(check("old"), here)
			m.route(check("young"), here)
			m.RemoveConnByUfrag("old")
		}, media, here, "young"},
		{"a check for nobody is not the owner's", func(m *mux, _, _ *lane) { m.route(check("old"), here) }, check("stranger"), here, ""},
		{"nor does it take the address", func(m *mux, _, _ *lane) { m.route(check("old"), here); m.route(check("stranger"), here) }, media, here, "old"},
		{"an answer to a check of ours", func(m *mux, old, _ *lane) { m.assign(here, old, false) }, response(), here, "old"},
		{"to a session that has been removed", func(m *mux, _, _ *lane) { m.route(check("old"), here); m.RemoveConnByUfrag("old") }, media, here, ""},
		{"more addresses than are kept", func(m *mux, _, _ *lane) {
			m.route(check("old"), here)
			for port := range uint16(maxAddresses) {
				m.route(check("old"), netip.AddrPortFrom(there.Addr(), port+1))
			}
		}, media, here, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := openMux(t)
			old, young := session(t, m, "old").lane, session(t, m, "young").lane
			c.do(m, old, young)
			got := ""
			if l := m.route(c.data, c.from); l != nil {
				got = l.ufrag
			}
			if got != c.want {
				t.Errorf("it goes to %q, want %q", got, c.want)
			}
			if n := len(old.addresses) + len(young.addresses); n != len(m.owners) || n > 2*maxAddresses {
				t.Errorf("the sessions hold %d addresses, the table %d", n, len(m.owners))
			}
		})
	}
}

// TestMuxCarriesDatagrams goes through the socket: to the edge and back, for two connections of one session.
func TestMuxCarriesDatagrams(t *testing.T) {
	m := openMux(t)
	c := session(t, m, "edge")
	second := session(t, m, "edge")
	if c.lane != second.lane {
		t.Fatal("two connections of one session do not share what arrives")
	}
	client, err := net.DialUDP("udp4", nil, m.socket.LocalAddr().(*net.UDPAddr))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	b := make([]byte, maxDatagram)
	for i, data := range [][]byte{check("edge"), []byte("media")} {
		if _, err := client.Write(data); err != nil {
			t.Fatal(err)
		}
		n, from, err := c.ReadFrom(b)
		if err != nil || string(b[:n]) != string(data) || from.String() != client.LocalAddr().String() {
			t.Errorf("datagram %d: %q from %v, %v", i, b[:n], from, err)
		}
	}
	if n, err := c.WriteTo([]byte("answer"), client.LocalAddr()); n != 6 || err != nil {
		t.Fatal(n, err)
	}
	if err := client.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if n, err := client.Read(b); string(b[:n]) != "answer" {
		t.Errorf("the client got %q, %v", b[:n], err)
	}
	if _, err := client.Write([]byte("too long for its reader")); err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.ReadFrom(make([]byte, 4)); !errors.Is(err, io.ErrShortBuffer) {
		t.Errorf("a datagram that does not fit: %v", err)
	}
}

// TestMuxEndsItsReaders closes one connection of a session, then the mux: whoever reads is told.
func TestMuxEndsItsReaders(t *testing.T) {
	m := openMux(t)
	first, second := session(t, m, "edge"), session(t, m, "edge")
	read := func(c *laneConn) <-chan error {
		ended := make(chan error, 1)
		go func() {
			_, _, err := c.ReadFrom(make([]byte, 10))
			ended <- err
		}()
		return ended
	}
	one, other := read(first), read(second)
	_ = first.Close()
	_ = first.Close()
	if err := <-one; !errors.Is(err, io.EOF) {
		t.Errorf("the reader of a closed connection got %v", err)
	}
	if _, err := first.WriteTo([]byte("x"), m.socket.LocalAddr()); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("a closed connection writes: %v", err)
	}
	if m.sessions["edge"] == nil {
		t.Error("the session went with one of its connections")
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	if err := <-other; !errors.Is(err, io.EOF) {
		t.Errorf("the reader of a closed mux got %v", err)
	}
	if _, err := m.GetConn("late", nil); err == nil {
		t.Error("a closed mux gives connections")
	}
	_ = second.Close()
	if len(m.sessions) != 0 {
		t.Errorf("%d sessions left", len(m.sessions))
	}
}

// TestMuxQueueIsBounded sends to a session that does not read.
func TestMuxQueueIsBounded(t *testing.T) {
	m := openMux(t)
	c := session(t, m, "edge")
	for i := range maxWaiting + 10 {
		d := &datagram{length: 4}
		copy(d.bytes[:], fmt.Sprintf("%04d", i))
		if taken := c.lane.push(d); taken != (i < maxWaiting) {
			t.Fatalf("datagram %d: taken %v", i, taken)
		}
	}
	b := make([]byte, 4)
	for i := range maxWaiting {
		if n, _, err := c.ReadFromAddrPort(b); err != nil || string(b[:n]) != fmt.Sprintf("%04d", i) {
			t.Fatalf("datagram %d: %q, %v", i, b[:n], err)
		}
	}
	if c.lane.lost != 10 {
		t.Errorf("%d lost, want 10", c.lane.lost)
	}
}

func FuzzCheckFor(f *testing.F) {
	f.Add(check("edge"))
	f.Add(response())
	f.Add(check("edge")[:30])
	f.Add([]byte{0x80, 96, 0, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		ufrag, ok := checkFor(b)
		if !ok {
			return
		}
		// What pion's parser reads as well must be read the same way.
		m := &stun.Message{Raw: b}
		if m.Decode() != nil {
			return
		}
		var name stun.Username
		if err := name.GetFrom(m); err != nil || len(name) <= len(ufrag) || string(name[:len(ufrag)+1]) != string(ufrag)+":" {
			t.Errorf("read %q, pion reads %q (%v)", ufrag, name, err)
		}
	})
}
