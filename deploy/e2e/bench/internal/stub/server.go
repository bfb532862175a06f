// Package stub is a model server that speaks the Open Inference Protocol and, instead of running a model, sleeps α + β·b for a batch of b frames. It fails on demand. Its answers begin
// as the frames began, so that whoever asked can tell that the answer is theirs.
package stub

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/sluice-dev/sluice/proto/gen/inference"
)

const (
	// Input is the name of the model's input tensor, UINT8 [batch, Config.Width], or of Config.Shape.
	Input = "INPUT"
	// Output is that of its output tensor, UINT8 [batch, Config.Echo].
	Output = "OUTPUT"
	// ComputeParameter is the response parameter that says what the batch took on its instance, in nanoseconds.
	ComputeParameter = "compute_ns"
)

// Config describes a server.
type Config struct {
	// Model is the only name that it knows.
	Model string
	// Width is the bytes of a frame, Echo those of an answer, the frame's first; Echo is at most Width and both are at least 8.
	Width, Echo int
	// Shape is a frame's, without the batch axis, so that it may be a picture: its product is Width. nil is [Width].
	Shape []int64
	// Profile is what batches take, with noise from Seed, or without any.
	Profile Profile
	Seed    uint64
	Steady  bool
	// Max is the largest batch of one request, at least 1.
	Max int
	// Instances is how many batches run at once, at least 1.
	Instances int
	// Triton batches requests by its rules; nil runs each request alone.
	Triton *TritonRules
	// Sleep waits until a time; nil is a timer. A process of its own can be more exact than a timer is.
	Sleep func(until time.Time)
}

// Server is the model server. It is safe for concurrent use. Run must run for requests to be answered.
type Server struct {
	inference.UnimplementedGRPCInferenceServiceServer
	cfg     Config
	changed chan struct{} // one pending signal is enough
	begun   time.Time

	mu      sync.Mutex
	batcher batcher
	free    []*instance
	faults  faults
	journal journal
}

// batcher says which requests run together. It is single-threaded; the server's lock guards it.
type batcher interface {
	// push takes a request that came, or refuses it.
	push(r *request) error
	// take gives the next batch for a free instance, and requests that have waited for too long. wake is when to ask again if nothing happens before; zero means not at all.
	take(now time.Time, free bool) (run, expired []*request, wake time.Time)
}

// request is one ModelInfer call.
type request struct {
	size    int
	arrived time.Time
	heads   []uint64
	done    chan verdict // takes one
}

// verdict is how a request ended.
type verdict struct {
	took time.Duration
	err  error
}

// instance runs one batch at a time.
type instance struct {
	id    int
	noise *noise
	work  chan []*request // takes one
}

// New makes a server.
func New(cfg Config) (*Server, error) {
	if cfg.Model == "" || cfg.Echo < 8 || cfg.Width < cfg.Echo || cfg.Max < 1 || cfg.Instances < 1 || cfg.Profile.Alpha < 0 || cfg.Profile.Beta < 0 {
		return nil, errors.New("a stub needs a model's name, frames of 8 bytes or more with answers no longer, and at least one instance and one frame a batch")
	}
	if cfg.Shape == nil {
		cfg.Shape = []int64{int64(cfg.Width)}
	}
	if product(cfg.Shape) != int64(cfg.Width) {
		return nil, errors.New("a frame's shape and its width are of different sizes")
	}
	if cfg.Triton != nil && cfg.Triton.Max < 1 {
		return nil, errors.New("the largest batch is at least 1")
	}
	if cfg.Sleep == nil {
		cfg.Sleep = func(until time.Time) { <-time.After(time.Until(until)) }
	}
	s := &Server{cfg: cfg, changed: make(chan struct{}, 1), begun: time.Now(), batcher: &direct{}}
	s.faults.slowness, s.faults.ready = 1, true
	if cfg.Triton != nil {
		s.batcher = newTriton(*cfg.Triton)
	}
	for i := range cfg.Instances {
		s.free = append(s.free, &instance{id: i, noise: newNoise(cfg.Seed, i), work: make(chan []*request, 1)})
	}
	return s, nil
}

// Run serves until ctx ends and joins the instances. What waits then is never answered.
func (s *Server) Run(ctx context.Context) {
	var running sync.WaitGroup
	for _, i := range s.free {
		running.Go(func() { s.run(ctx, i) })
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for ctx.Err() == nil {
		if wake := s.schedule(time.Now()); wake.IsZero() {
			timer.Stop()
		} else {
			timer.Reset(time.Until(wake))
		}
		select {
		case <-ctx.Done():
		case <-s.changed:
		case <-timer.C:
		}
	}
	running.Wait()
}

// schedule hands batches to the free instances and says when to look again.
func (s *Server) schedule(now time.Time) (wake time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		run, expired, next := s.batcher.take(now, len(s.free) > 0)
		for _, r := range expired {
			s.journal.rejected++
			r.done <- verdict{err: errExpired}
		}
		if len(run) == 0 {
			return next
		}
		i := s.free[0]
		s.free = s.free[1:]
		i.work <- run
	}
}

func (s *Server) signal() {
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// run is one instance.
func (s *Server) run(ctx context.Context, i *instance) {
	for {
		select {
		case <-ctx.Done():
			return
		case batch := <-i.work:
			s.execute(ctx, i, batch)
		}
	}
}

// execute runs one batch.
func (s *Server) execute(ctx context.Context, i *instance, batch []*request) {
	started := time.Now()
	b := Batch{Instance: i.id, Requests: len(batch), Started: started.Sub(s.begun), Arrived: batch[0].arrived.Sub(s.begun)}
	for _, r := range batch {
		b.Size += r.size
		b.Heads = append(b.Heads, r.heads...)
	}
	s.mu.Lock()
	slowness := s.faults.slowness
	s.mu.Unlock()
	takes := s.cfg.Profile.Takes(b.Size)
	if !s.cfg.Steady {
		takes = i.noise.of(takes)
	}
	b.Planned = time.Duration(float64(takes) * slowness)
	s.cfg.Sleep(started.Add(b.Planned))
	s.mu.Lock()
	hanging := s.faults.hanging
	s.mu.Unlock()
	if hanging != nil {
		select {
		case <-hanging:
		case <-ctx.Done():
		}
	}
	took := time.Since(started)
	s.mu.Lock()
	b.Ended = b.Started + took
	s.journal.add(b)
	s.free = append(s.free, i)
	s.mu.Unlock()
	s.signal()
	for _, r := range batch {
		r.done <- verdict{took: took}
	}
}

// infer lets a request wait for its turn and run.
func (s *Server) infer(ctx context.Context, size int, heads []uint64) (time.Duration, error) {
	r := &request{size: size, heads: heads, arrived: time.Now(), done: make(chan verdict, 1)}
	s.mu.Lock()
	s.journal.enter()
	defer s.leave()
	if code := s.faults.code; code != codes.OK {
		s.mu.Unlock()
		return 0, failure{code, errors.New("out of order, as it was told to be")}
	}
	err := s.batcher.push(r)
	if err != nil {
		s.journal.rejected++
	}
	s.mu.Unlock()
	if err != nil {
		return 0, failure{codes.Unavailable, err}
	}
	s.signal()
	select {
	case v := <-r.done:
		if v.err != nil {
			return 0, failure{codes.Unavailable, v.err}
		}
		return v.took, nil
	case <-ctx.Done(): // it runs all the same: what was sent cannot be called back
		return 0, failure{codes.Canceled, ctx.Err()}
	}
}

func (s *Server) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.journal.inHand--
}

// failure is an error with its gRPC code.
type failure struct {
	code codes.Code
	err  error
}

func (f failure) Error() string { return fmt.Sprintf("%s: %v", f.code, f.err) }

// headsOf reads what each frame begins with.
func headsOf(data []byte, width int) []uint64 {
	heads := make([]uint64, 0, len(data)/width)
	for ; len(data) >= width; data = data[width:] {
		heads = append(heads, binary.LittleEndian.Uint64(data))
	}
	return heads
}
