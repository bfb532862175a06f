package dispatch

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/services/router/internal/backend"
	"github.com/sluice-dev/sluice/services/router/internal/reply"
)

// fault is what is wrong with a server.
type fault int

const (
	sound   fault = iota
	killed        // nothing is there any more, which each call finds out at once
	frozen        // calls are taken and never answered
	refuser       // every call is answered with an error, at once
	slower        // four times slower
	slowest       // ten times slower, which is too slow for any frame
)

// server takes alpha + n·beta for a batch of n, one batch at a time.
type server struct {
	alpha, beta time.Duration
	turn        chan struct{} // holds a token while it is free

	mu     sync.Mutex
	fault  fault
	since  time.Time
	frames []time.Time // when each frame came
}

func newServer(alpha, beta time.Duration) *server {
	s := &server{alpha: alpha, beta: beta, turn: make(chan struct{}, 1)}
	s.turn <- struct{}{}
	return s
}

func (s *server) now() (fault, time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fault, s.since
}

func (s *server) become(f fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault, s.since = f, time.Now()
}

// run is one call. What is wrong with the server when it begins decides, or, where it stops answering, what is wrong when it should answer.
func (s *server) run(ctx context.Context, frames []backend.Frame) []reply.Answer {
	s.mu.Lock()
	for range frames {
		s.frames = append(s.frames, time.Now())
	}
	s.mu.Unlock()
	lost := func() []reply.Answer {
		<-ctx.Done()
		return reply.All(len(frames), codeOf(ctx))
	}
	if f, _ := s.now(); f == refuser {
		return reply.All(len(frames), media.BackendRejected)
	}
	select {
	case <-s.turn:
		defer func() { s.turn <- struct{}{} }()
	case <-ctx.Done():
		return lost()
	}
	takes := s.alpha + s.beta*time.Duration(len(frames))
	if f, _ := s.now(); f == slower {
		takes *= 4
	} else if f == slowest {
		takes *= 10
	}
	for done := time.Now().Add(takes); time.Now().Before(done); {
		select {
		case <-time.After(min(ms, time.Until(done))):
		case <-ctx.Done():
			return lost()
		}
		if f, _ := s.now(); f == killed { // perhaps since it began
			return reply.All(len(frames), media.BackendUnavailable)
		} else if f == frozen {
			return lost()
		}
	}
	return echoes(frames)
}

// codeOf is how the backend names a call that its context ended.
func codeOf(ctx context.Context) media.ErrorCode {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return media.BackendTimeout
	}
	return media.BackendUnavailable
}

// away is what the server's readiness check says: it finds out within a second, or two where it has to wait for an answer.
func (s *server) away() bool {
	f, since := s.now()
	return f == killed && time.Since(since) > time.Second || f == frozen && time.Since(since) > 2*time.Second
}

// between counts the frames that came in a span of time.
func (s *server) between(from, to time.Time) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, at := range s.frames {
		if !at.Before(from) && at.Before(to) {
			n++
		}
	}
	return n
}

// TestFaultyServer lets one of two servers fail in each way at less than half of what both can do. Results go on, what is sent to it stops unless it can still be
// answered in time, and no more than a tenth is sent in addition.
func TestFaultyServer(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name        string
		fault       fault
		alpha, beta time.Duration
		stays       bool // for it can still answer some frames in time
	}{
		{"killed", killed, 5 * ms, ms, false},
		{"frozen", frozen, 5 * ms, ms, false},
		{"answers errors", refuser, 5 * ms, ms, false},
		{"slower", slower, 5 * ms, ms, true},
		{"too slow", slowest, 12 * ms, ms / 2, false},
	} {
		for seed := range uint64(5) {
			t.Run(fmt.Sprint(c.name, " ", seed), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					servers := []*server{newServer(c.alpha, c.beta), newServer(c.alpha, c.beta)}
					faulty(t, servers, c.fault, c.stays, rand.New(rand.NewPCG(seed, 1)))
				})
			})
		}
	}
}

func faulty(t *testing.T, servers []*server, f fault, stays bool, random *rand.Rand) {
	t.Helper()
	const streams, rate, deadline = 52, 15, 100 * ms // 780 a second, of 1,730 or more that both can do
	r := &runner{more: 1, away: func(i int) bool { return servers[i].away() }}
	r.on = func(ctx context.Context, i int, frames []backend.Frame) []reply.Answer {
		return servers[i].run(ctx, frames)
	}
	cfg := modelConfig("faces", r)
	cfg.MaxBatch, cfg.Slots, cfg.Streams, cfg.Deadline = 32, 2, streams, deadline
	b := newBed(t, cfg)
	sessions := make([]*session, streams)
	ctx, end := context.WithCancel(t.Context())
	var cameras sync.WaitGroup
	for i := range sessions {
		sessions[i] = b.session(fmt.Sprint(i))
		phase := time.Duration(random.Int64N(int64(time.Second / rate)))
		cameras.Go(func() {
			<-time.After(phase)
			for sequence := uint32(1); ctx.Err() == nil; sequence++ {
				b.submit(sessions[i], "camera", sequence, "", deadline, "faces")
				<-time.After(time.Second / rate)
			}
		})
	}
	const before, after = 3 * time.Second, 5 * time.Second
	advance(before)
	servers[1].become(f)
	failed := time.Now()
	advance(after)
	end()
	cameras.Wait()
	advance(time.Second)
	var outcomes []timed
	for _, s := range sessions {
		outcomes = append(outcomes, s.take()...)
	}
	results := func(from, to time.Duration) (n int) { // since the fault
		for _, o := range outcomes {
			if at := o.at - before; o.Result != nil && at >= from && at < to {
				n++
			}
		}
		return n
	}
	calm := float64(results(-2*time.Second, 0)) / 2
	first, later := 4*float64(results(0, 250*ms))/calm, float64(results(500*ms, after))/calm/(after-500*ms).Seconds()
	bad, good := servers[1].between(failed.Add(time.Second), failed.Add(after)), servers[0].between(failed.Add(time.Second), failed.Add(after))
	accepted := b.Totals()[0].Accepted
	sent := servers[0].between(b.start, time.Now()) + servers[1].between(b.start, time.Now())
	t.Logf("%.0f results a second; of that %.2f in the first 250 ms and %.3f from 500 ms on; %d frames to the bad server after a second, %d to the good one; %d accepted, %d sent",
		calm, first, later, bad, good, accepted, sent)
	if calm < 0.97*streams*rate || first < 0.75 || later < 0.97 {
		t.Errorf("%.0f results a second of %d, then %.2f and %.3f of that; want at least 0.97, 0.75 and 0.97", calm, streams*rate, first, later)
	}
	if !stays && float64(bad) > 0.01*float64(bad+good) {
		t.Errorf("%d of %d frames went to the bad server after the first second", bad, bad+good)
	}
	if float64(sent) > 1.1*float64(accepted) {
		t.Errorf("%d frames were sent for %d accepted", sent, accepted)
	}
	if err := b.stop(); err != nil {
		t.Error(err)
	}
	checkBooks(t, b, int(accepted))
}
