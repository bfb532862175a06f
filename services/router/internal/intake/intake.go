// Package intake is the router's side of RouterService: it takes frames from edges, holds them to the rules of the protocol and sends outcomes and credits
// back.
//
// A call has two goroutines. The handler's own receives and never waits for anything but the next message; the other sends what the call's outbox holds. So a
// session whose receiver is slow or hung fills its own outbox, loses its own oldest outcomes and delays nobody.
package intake

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/pkg/trace"
	sluicev1 "github.com/sluice-dev/sluice/proto/gen/sluice/v1"
	"github.com/sluice-dev/sluice/services/router/internal/dispatch"
)

// Dispatcher is what intake needs of the dispatcher; see *dispatch.Dispatcher.
type Dispatcher interface {
	Models() []media.Model
	// Knows tells whether there is a model of a name, or was one since the start.
	Knows(model string) bool
	Inputs() []media.Input
	Submit(f *dispatch.Frame)
	Drop(f *dispatch.Frame, reason media.DropReason)
	Forget(owner dispatch.Owner, stream string)
}

// Config configures the service.
type Config struct {
	Dispatcher Dispatcher
	// Name is the router's name, for people and logs.
	Name string
	// Window is the number of frames that an edge may have outstanding for each (stream, input), at least 1. An input may have its own.
	Window int
	// Outbox is the number of outcomes that wait for a slow session before the oldest is lost, at least 1.
	Outbox int
	// Streams is the number of streams that a call may have with frames outstanding, at least 1. Idle ones are forgotten to make room.
	Streams int
	// Tracer traces frames: those that the edge traces, and its share of the others. nil traces none.
	Tracer   *trace.Tracer
	Registry prometheus.Registerer
	Logger   *slog.Logger
}

// Service implements sluicev1.RouterServiceServer. It is safe for concurrent use.
type Service struct {
	sluicev1.UnimplementedRouterServiceServer
	cfg     Config
	metrics *metrics
	frames  dispatch.Frames
	senders sync.WaitGroup

	mu       sync.Mutex
	calls    map[*call]struct{}
	draining bool
}

// Session is a call as inspection shows it.
type Session struct {
	ID      string
	Started time.Time
	// Draining is true when the session was asked to go elsewhere.
	Draining bool
	// Streams are the counts of the streams that have not been forgotten, by name. Received counts frames, so that one unit in two forms counts twice.
	Streams []media.StreamCounts
	// Activity tells, in the same order, how busy they are.
	Activity []media.StreamActivity
}

// New makes the service.
func New(cfg Config) (*Service, error) {
	if cfg.Window < 1 || cfg.Outbox < 1 || cfg.Streams < 1 {
		return nil, fmt.Errorf("window %d, outbox %d, streams %d: each must be at least 1", cfg.Window, cfg.Outbox, cfg.Streams)
	}
	m, err := newMetrics(cfg.Registry)
	if err != nil {
		return nil, err
	}
	return &Service{cfg: cfg, metrics: m, calls: make(map[*call]struct{})}, nil
}

// Stream implements RouterService.Stream.
func (s *Service) Stream(stream edge) error {
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	open := first.GetOpen()
	if open == nil {
		return status.Error(codes.FailedPrecondition, "the first message of a call must be open")
	}
	if err := s.known(open.GetModels()); err != nil {
		return err
	}
	c := newCall(s, open.GetSession(), open.GetModels())
	c.share = shareOf(open)
	if !s.enter(c) {
		return status.Error(codes.Unavailable, "this router is shutting down: open the call on another one")
	}
	defer s.leave(c)

	sent := make(chan struct{})
	s.senders.Go(func() { // joined by Wait: Send may be blocked until this handler has returned
		defer close(sent)
		c.send(stream)
	})
	defer c.out.close()
	if err := c.receive(stream); err != nil {
		return err
	}
	return c.finish(stream.Context(), sent)
}

// known refuses a call that names models of which none is here or ever was. It is not refused for one of several: an edge whose session had a model that has been taken out
// since must be able to open its call again, on this router or on another, and goes on with what is left.
func (s *Service) known(names []string) error {
	if len(names) == 0 || slices.ContainsFunc(names, s.cfg.Dispatcher.Knows) {
		return nil
	}
	return status.Errorf(codes.NotFound, "no model %q here: InspectService.ListModels tells the names", strings.Join(names, `", "`))
}

func (s *Service) enter(c *call) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining {
		return false
	}
	c.refit(s.cfg.Dispatcher.Models(), s.cfg.Dispatcher.Inputs())
	s.calls[c] = struct{}{}
	s.metrics.sessions.Inc()
	return true
}

// Refit tells the open calls that the dispatcher's models have changed: each gets an Opened with the models that it wants and that there are now. A call that wanted
// all models gets new ones too.
func (s *Service) Refit() {
	s.mu.Lock()
	defer s.mu.Unlock()
	models, inputs := s.cfg.Dispatcher.Models(), s.cfg.Dispatcher.Inputs()
	for c := range s.calls {
		c.refit(models, inputs)
	}
}

func (s *Service) leave(c *call) {
	c.forget()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.calls, c)
	s.metrics.sessions.Dec()
}

// Drain refuses new calls from now on and asks the open ones to go elsewhere: each gets a Drain message, goes on as before and ends when its edge
// half-closes. They are told that the router cuts off what is left after the time given.
func (s *Service) Drain(within time.Duration) {
	end := time.Now().Add(within)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.draining = true
	for c := range s.calls {
		c.out.drain(end)
	}
}

// Wait joins the service's goroutines. Call it when the server has stopped, which ends all calls.
func (s *Service) Wait() { s.senders.Wait() }

// Sessions gives the open calls, oldest first.
func (s *Service) Sessions() []Session {
	s.mu.Lock()
	calls := make([]*call, 0, len(s.calls))
	for c := range s.calls {
		calls = append(calls, c)
	}
	draining := s.draining
	s.mu.Unlock()
	slices.SortFunc(calls, func(a, b *call) int { return a.started.Compare(b.started) })
	sessions := make([]Session, 0, len(calls))
	now := time.Now()
	for _, c := range calls {
		counts, busy := c.books.state(now)
		sessions = append(sessions, Session{ID: c.session, Started: c.started, Draining: draining, Streams: counts, Activity: busy})
	}
	return sessions
}
