package client

import (
	"net"
	"sync/atomic"
)

// socket is a UDP socket that can fall silent: from then on nothing that is written leaves, and nothing that arrives is heard, as if the machine's cable had been cut.
type socket struct {
	*net.UDPConn
	silent atomic.Bool
}

// listen opens a socket on the loopback address; port 0 takes any.
func listen(port int) (*socket, error) {
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
	if err != nil {
		return nil, err
	}
	return &socket{UDPConn: conn}, nil
}

// port gives the number of the local port.
func (s *socket) port() int {
	address, _ := s.LocalAddr().(*net.UDPAddr)
	return address.Port
}

// ReadFrom implements net.PacketConn.
func (s *socket) ReadFrom(p []byte) (int, net.Addr, error) {
	for {
		n, from, err := s.UDPConn.ReadFrom(p)
		if err != nil || !s.silent.Load() {
			return n, from, err
		}
	}
}

// WriteTo implements net.PacketConn.
func (s *socket) WriteTo(p []byte, to net.Addr) (int, error) {
	if s.silent.Load() {
		return len(p), nil
	}
	return s.UDPConn.WriteTo(p, to)
}
