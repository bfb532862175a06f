package batch

import (
	"context"
	"sync"
	"time"
)

// gate is a Path that has one request of each stream under way, and keeps the newest frame for when it is answered.
type gate struct {
	*client
	streams []gated
}

// gated is one stream's gate.
type gated struct {
	mu   sync.Mutex
	busy bool
	next *Frame
	over bool
}

// OpenGate sends frames straight to the model server at an address, one request of each stream at a time; the newest frame that came meanwhile is next. It is the simplest client that never
// lets frames pile up.
func OpenGate(ctx context.Context, address string, model Model, streams int) (Path, error) {
	c, err := newClient(ctx, address, model)
	if err != nil {
		return nil, err
	}
	return &gate{client: c, streams: make([]gated, streams)}, nil
}

// Send implements Path.
func (g *gate) Send(f *Frame) {
	s := &g.streams[f.Stream]
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.busy {
		if s.next != nil {
			s.next.End(Superseded, time.Now(), 0)
		}
		s.next = f
		return
	}
	s.busy = true
	g.running.Go(func() { g.drive(s, f) })
}

// drive sends a frame of a stream and then those that came meanwhile.
func (g *gate) drive(s *gated, f *Frame) {
	for f != nil {
		g.ask(f)
		f = s.turn(time.Now())
	}
}

// turn gives the frame to send next, nil when there is none.
func (s *gated) turn(now time.Time) *Frame {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.next
	s.next = nil
	switch {
	case f == nil:
	case s.over:
		f.End(Unanswered, now, 0)
	case !f.Deadline.After(now):
		f.End(Expired, now, 0)
	default:
		return f
	}
	s.busy = false
	return nil
}

// Close implements Path.
func (g *gate) Close() error {
	for i := range g.streams {
		s := &g.streams[i]
		s.mu.Lock()
		s.over = true
		s.mu.Unlock()
	}
	return g.close()
}
