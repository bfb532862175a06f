package cpu

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/sluice-dev/sluice/deploy/e2e/bench/internal/edge"
	"github.com/sluice-dev/sluice/deploy/e2e/bench/internal/sink"
)

// edgeServer is the real edge with its decoders; a stand-in takes the pictures in the router's place.
type edgeServer struct {
	*edge.Edge
	router *sink.Sink
	load   *load

	mu      sync.Mutex
	streams map[uint32]*arrivals
}

// arrivals are what reached the router of one stream.
type arrivals struct {
	pictures uint64
	last     time.Time
	lags     []lag
}

// lag is how long after its sending a frame reached the router.
type lag struct {
	at   time.Time
	took time.Duration
	// edge is the part of it from the frame's first packet in the edge to its leaving.
	edge time.Duration
}

func startEdge(ctx context.Context, w *workplace, codec string) (*edgeServer, error) {
	s := &edgeServer{streams: make(map[uint32]*arrivals)}
	var err error
	if s.router, err = sink.Start(sink.Config{
		Width: pictureWidth, Height: pictureHeight, Rate: rate / every, Window: window, Deadline: deadline, Frame: s.note,
	}); err != nil {
		return nil, err
	}
	if s.Edge, err = edge.Start(ctx, w.cfg.Root, w.address, s.router.Address()); err != nil {
		return nil, errors.Join(err, s.router.Close())
	}
	s.load = newLoad(w, codec, s.Endpoint+"?model="+sink.Model)
	return s, nil
}

// note takes a picture of the router's.
func (s *edgeServer) note(f sink.Frame) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.streams[f.SSRC]
	if a == nil {
		a = &arrivals{}
		s.streams[f.SSRC] = a
	}
	a.pictures++
	a.last = f.Arrival
	if sent, ok := s.load.sent(f.SSRC, f.Timestamp); ok {
		a.lags = append(a.lags, lag{f.Arrival, f.Arrival.Sub(sent), deadline - f.Remaining})
	}
}

func (s *edgeServer) add(ctx context.Context, streams int) error { return s.load.add(ctx, streams) }

func (s *edgeServer) processes() []int { return []int{s.PID()} }

// counts gives three frames decoded for each picture that arrived: that one can be right only if those before it were decoded too.
func (s *edgeServer) counts() []count {
	s.mu.Lock()
	defer s.mu.Unlock()
	var counts []count
	for _, ssrc := range s.load.sources() {
		if a := s.streams[ssrc]; a != nil {
			counts = append(counts, count{a.pictures * every, a.last})
		} else {
			counts = append(counts, count{})
		}
	}
	return counts
}

// lags gives those since a time, in the order of their arrival.
func (s *edgeServer) lags(since time.Time) (all []lag) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range s.streams {
		for _, l := range a.lags {
			if l.at.After(since) {
				all = append(all, l)
			}
		}
	}
	slices.SortFunc(all, func(a, b lag) int { return a.at.Compare(b.at) })
	return all
}

func (s *edgeServer) words() string { return s.Log() }

func (s *edgeServer) stop() error { return errors.Join(s.load.stop(), s.Stop(), s.router.Close()) }
