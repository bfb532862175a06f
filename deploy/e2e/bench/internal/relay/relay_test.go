package relay

import (
	"bytes"
	"math/rand/v2"
	"net"
	"net/netip"
	"runtime"
	"testing"
	"time"
)

func TestDirectionNote(t *testing.T) {
	tests := map[string]struct {
		datagram []byte
		want     Direction
	}{
		"RTP":            {[]byte{0x80, 96, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0}, Direction{Media: 1}},
		"RTP, marked":    {[]byte{0x80, 0x80 | 96, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0}, Direction{Media: 1}},
		"NACK":           {[]byte{0x81, 205, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0}, Direction{Other: 1, Nacks: 1}},
		"PLI":            {[]byte{0x81, 206, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0}, Direction{Other: 1, Plis: 1}},
		"TWCC":           {[]byte{0x8f, 205, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0}, Direction{Other: 1}},
		"REMB":           {[]byte{0x8f, 206, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0}, Direction{Other: 1}},
		"sender report":  {[]byte{0x80, 200, 0, 6, 0, 0, 0, 0, 0, 0, 0, 0}, Direction{Other: 1}},
		"STUN":           {[]byte{0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42, 0, 0, 0, 0}, Direction{Other: 1}},
		"DTLS":           {[]byte{22, 254, 253, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, Direction{Other: 1}},
		"nothing at all": {nil, Direction{Other: 1}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var got Direction
			got.note(test.datagram, false)
			if got != test.want {
				t.Errorf("note: %+v, want %+v", got, test.want)
			}
			var lost Direction
			lost.note(test.datagram, true)
			if lost.MediaLost+lost.OtherLost != 1 {
				t.Errorf("a lost one is not counted: %+v", lost)
			}
		})
	}
}

// The same seed loses the same datagrams, about as many as asked for.
func TestLossIsReproducible(t *testing.T) {
	fates := func() (kept []byte) {
		l := lane{random: rand.New(rand.NewPCG(7, 0)), loss: 0.2, wire: make(chan datagram, 1000)}
		for i := range 1000 {
			l.take([]byte{byte(i)}, time.Time{})
		}
		close(l.wire)
		for d := range l.wire {
			kept = append(kept, d.data...)
		}
		return kept
	}
	first, second := fates(), fates()
	if !bytes.Equal(first, second) {
		t.Error("two runs with one seed lost different datagrams")
	}
	if n := len(first); n < 750 || n > 850 {
		t.Errorf("%d of 1000 datagrams left at 20 %% loss", n)
	}
}

// Datagrams pass both ways in order, to the client that sent last; once everything is lost, nothing does.
func TestRelay(t *testing.T) {
	server := listen(t)
	r, err := Listen(Config{Server: server.LocalAddr().(*net.UDPAddr).AddrPort(), Delay: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	client := listen(t)
	send := func(text string) {
		t.Helper()
		if _, err := client.WriteToUDPAddrPort([]byte(text), r.Address()); err != nil {
			t.Fatal(err)
		}
	}
	send("one")
	send("two")
	expect(t, server, "one")
	from := expect(t, server, "two")
	if _, err := server.WriteToUDPAddrPort([]byte("back"), from); err != nil {
		t.Fatal(err)
	}
	expect(t, client, "back")
	r.Lose(1)
	send("lost")
	for lost := uint64(0); lost == 0; {
		stats, _ := r.Stats()
		lost = stats.OtherLost
		runtime.Gosched()
	}
	r.Lose(0)
	send("after")
	expect(t, server, "after")
}

func listen(t *testing.T) *net.UDPConn {
	t.Helper()
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// expect reads the next datagram and gives who sent it.
func expect(t *testing.T, c *net.UDPConn, want string) netip.AddrPort {
	t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	buffer := make([]byte, 100)
	n, from, err := c.ReadFromUDPAddrPort(buffer)
	if err != nil {
		t.Fatalf("waiting for %q: %v", want, err)
	}
	if got := string(buffer[:n]); got != want {
		t.Fatalf("received %q, want %q", got, want)
	}
	return from
}
