package stub

import (
	"google.golang.org/grpc/codes"
)

// faults are what the server was told to do wrong. The server's lock guards them.
type faults struct {
	ready    bool
	slowness float64
	code     codes.Code
	hanging  chan struct{} // closed when it ends; nil when there is no hang
}

// Slow makes batches that begin from now on take factor times as long; 1 is well again.
func (s *Server) Slow(factor float64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults.slowness = factor
}

// Fail answers every request at once with an error; OK is well again.
func (s *Server) Fail(code codes.Code) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults.code = code
}

// Hang keeps all answers back until it is told that it does not hang any more; then they go.
func (s *Server) Hang(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch hangs := s.faults.hanging != nil; {
	case on && !hangs:
		s.faults.hanging = make(chan struct{})
	case !on && hangs:
		close(s.faults.hanging)
		s.faults.hanging = nil
	}
}

// SetReady says whether the server and its model call themselves ready. They answer all the same.
func (s *Server) SetReady(ready bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults.ready = ready
}

func (s *Server) ready() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.faults.ready
}
