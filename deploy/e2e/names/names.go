// Package names is a DNS server for tests: names that stand for other addresses whenever the test says so, as those of headless services in Kubernetes do.
package names

import (
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

// maxQuery is the largest query that is read, in bytes.
const maxQuery = 512

// Server answers queries for A records over UDP. It is safe for concurrent use.
type Server struct {
	// Address is where it listens, host:port on loopback.
	Address string

	socket net.PacketConn
	mu     sync.Mutex
	hosts  map[string][]netip.Addr // by name, lower case, with the dot at the end
}

// Serve runs a server until the test ends.
func Serve(t testing.TB) *Server {
	t.Helper()
	socket, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{Address: socket.LocalAddr().String(), socket: socket, hosts: map[string][]netip.Addr{}}
	var running sync.WaitGroup
	running.Go(s.run)
	t.Cleanup(func() {
		_ = socket.Close() // ends run
		running.Wait()
	})
	return s
}

// Set has a name stand for addresses from now on; with none it does not exist.
func (s *Server) Set(name string, addresses ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	hosts := make([]netip.Addr, 0, len(addresses))
	for _, a := range addresses {
		hosts = append(hosts, netip.MustParseAddr(a))
	}
	s.hosts[strings.ToLower(name)+"."] = hosts
}

func (s *Server) run() {
	query := make([]byte, maxQuery)
	for {
		n, from, err := s.socket.ReadFrom(query)
		if err != nil {
			return
		}
		if answer, err := s.answer(query[:n]); err == nil {
			_, _ = s.socket.WriteTo(answer, from) // Who did not get it asks again.
		}
	}
}

func (s *Server) answer(query []byte) ([]byte, error) {
	var m dnsmessage.Message
	if err := m.Unpack(query); err != nil || len(m.Questions) != 1 {
		return nil, err
	}
	m.Header = dnsmessage.Header{ID: m.ID, Response: true, Authoritative: true, RecursionDesired: m.RecursionDesired, RecursionAvailable: true}
	m.Answers, m.Authorities, m.Additionals = nil, nil, nil
	question := m.Questions[0]
	s.mu.Lock()
	hosts := s.hosts[strings.ToLower(question.Name.String())]
	s.mu.Unlock()
	if len(hosts) == 0 {
		m.RCode = dnsmessage.RCodeNameError
	}
	for _, h := range hosts {
		if question.Type == dnsmessage.TypeA {
			m.Answers = append(m.Answers, dnsmessage.Resource{
				Header: dnsmessage.ResourceHeader{Name: question.Name, Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET},
				Body:   &dnsmessage.AResource{A: h.As4()},
			})
		}
	}
	return m.Pack()
}
