package uplink

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/sluice-dev/sluice/pkg/media"
)

// film offers a frame every 33 ms, numbered from first, and gives the number after the last one.
func film(s *session, first uint32, d time.Duration) uint32 {
	input := s.input("faces")
	for end := time.Now().Add(d); time.Now().Before(end); pass(33 * time.Millisecond) {
		s.offer(first, small.Bytes(), input, "faces")
		first++
	}
	synctest.Wait()
	return first
}

// drainable answers like a healthy router, 50 ms later, until it is told to drain; then it refuses calls, finishes those that are there
// and tells how they ended.
type drainable struct {
	*router
	drain  chan struct{}
	within time.Duration // that it says it goes on for, if it says so
	closed chan error
	newest time.Time // guarded by mu; when the newest frame came
}

func (n *network) startDrainable(address string) *drainable {
	d := &drainable{drain: make(chan struct{}), closed: make(chan error, 256)}
	d.router = n.start(address, func(c *conversation) error {
		select {
		case <-d.drain:
			return status.Error(codes.Unavailable, "draining")
		default:
		}
		err := d.serve(c)
		d.closed <- err
		return err
	})
	return d
}

func (d *drainable) serve(c *conversation) error {
	if err := c.welcomeFaces(4); err != nil {
		return err
	}
	go func() {
		select {
		case <-d.drain:
			_ = c.drainWithin(d.within)
		case <-c.Context().Done():
		}
	}()
	for {
		f, err := c.frame()
		if f == nil || err != nil {
			return err
		}
		d.note()
		pass(50 * time.Millisecond)
		if err := c.answer(f); err != nil {
			return err
		}
	}
}

func (d *drainable) note() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.newest = time.Now()
}

// last tells when the newest frame came.
func (d *drainable) last() time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.newest
}

// A rolling restart loses no frame.
func TestDrainToAnotherRouter(t *testing.T) {
	t.Parallel()
	for _, healthy := range []bool{true, false} {
		t.Run(fmt.Sprintf("the drained one says it serves: %v", healthy), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				n := newNetwork(t)
				routers := map[string]*drainable{"a": n.startDrainable("a"), "b": n.startDrainable("b")}
				s := openSession(t, n.pool("a", "b"))
				s.untilOpened()
				next := film(s, 1, time.Second)
				from := routers["a"]
				if from.opened() == 0 {
					from = routers["b"]
				}
				if !healthy {
					from.health.SetServingStatus("", healthv1.HealthCheckResponse_NOT_SERVING)
				}
				close(from.drain)
				last := film(s, next, time.Second) - 1
				pass(time.Second)
				synctest.Wait()
				if r := s.reasons(); r[media.NoRouter]+r[media.Expired] > 0 || s.losses != 0 || s.openings != 2 {
					t.Errorf("drops %v, lost %d times, opened %d times; want no loss and 2 openings", r, s.losses, s.openings)
				}
				if len(s.answers) != len(s.sent) || s.answers[unit{"camera", last, "faces"}] != 1 {
					t.Errorf("%d answers to %d frames, the last one answered %d times", len(s.answers), len(s.sent), s.answers[unit{"camera", last, "faces"}])
				}
				if err := <-from.closed; err != nil {
					t.Errorf("the drained router's call ended with %v, want the edge to half-close it", err)
				}
			})
		})
	}
}

// Where no other router is, the draining one is used for a while and then left alone, so that it can end.
func TestDrainToNowhere(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		r := n.startDrainable("a")
		s := openSession(t, n.pool("a"))
		s.untilOpened()
		close(r.drain)
		start := time.Now()
		next := film(s, 1, 500*time.Millisecond)
		if len(s.answers) < 8 || s.losses != 0 {
			t.Errorf("%d answers, lost %d times in the first half second of draining", len(s.answers), s.losses)
		}
		film(s, next, 2*time.Second)
		if err := <-r.closed; err != nil {
			t.Errorf("the call ended with %v, want the edge to half-close it", err)
		}
		if took := time.Since(start); s.losses != 1 || s.reasons()[media.NoRouter] == 0 || took > 3*time.Second {
			t.Errorf("lost %d times, drops %v, after %s", s.losses, s.reasons(), took)
		}
	})
}

// A rolling restart of the only router loses no frame either, whenever its name tells of the next one: the draining one is used until then,
// if it goes on so long. It is left in time to answer for what it got.
func TestDrainOfTheOnlyRouter(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		within, told, used time.Duration // used is how long the draining router is
		lost               int
	}{
		{8 * time.Second, 100 * time.Millisecond, 150 * time.Millisecond, 0},
		{8 * time.Second, 5 * time.Second, 5*time.Second + 50*time.Millisecond, 0},
		{8 * time.Second, 9 * time.Second, 8*time.Second - faces.Deadline - lastAnswers, 1},
		{time.Hour, 20 * time.Second, 20*time.Second + 50*time.Millisecond, 0},
		{-1, 500 * time.Millisecond, 550 * time.Millisecond, 0},
		{-1, 5 * time.Second, moveWithin, 1},
	} {
		t.Run(fmt.Sprintf("ends in %s, the next is known after %s", c.within, c.told), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				n := newNetwork(t)
				old := n.startDrainable("a")
				old.within = c.within
				p, tell := n.named("a")
				s := openSession(t, p)
				s.untilOpened()
				next := film(s, 1, time.Second)
				n.start("b", answerAll)
				old.health.SetServingStatus("", healthv1.HealthCheckResponse_NOT_SERVING)
				drained := time.Now()
				close(old.drain)
				next = film(s, next, c.told)
				tell("b")
				film(s, next, time.Second)
				if err := <-old.closed; err != nil {
					t.Errorf("the drained router's call ended with %v, want the edge to half-close it", err)
				}
				if r := s.reasons(); s.losses != c.lost || s.openings != 2 || (c.lost == 0) != (r[media.NoRouter] == 0) || r[media.Expired] > 0 {
					t.Errorf("lost %d times, opened %d times, drops %v; want %d, 2, and NO_ROUTER only if lost", s.losses, s.openings, r, c.lost)
				}
				if len(s.answers) != len(s.sent) {
					t.Errorf("%d answers to %d frames", len(s.answers), len(s.sent))
				}
				// It takes 50 ms for each of up to four frames that wait for it.
				if used := old.last().Sub(drained); used > c.used+250*time.Millisecond || used < c.used-100*time.Millisecond {
					t.Errorf("the draining router was used for %s, want about %s", used, c.used)
				}
			})
		})
	}
}

// What a router says about its end never makes an edge leave it at once or stay for ever.
func TestStay(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		within float64
		want   time.Duration
	}{
		{0, moveWithin}, {-3, moveWithin}, {math.NaN(), moveWithin}, {math.Inf(-1), moveWithin}, {0.5, moveWithin},
		{8, 8*time.Second - 250*time.Millisecond - lastAnswers},
		{1e9, longestStay - 250*time.Millisecond - lastAnswers}, {math.Inf(1), longestStay - 250*time.Millisecond - lastAnswers},
	} {
		if got := stay(c.within, 250*time.Millisecond); got != c.want {
			t.Errorf("a router that ends in %g s is used for %s, want %s", c.within, got, c.want)
		}
	}
}

// A router that does not finish after half-close is cut off, so that draining always ends.
func TestDrainedRouterThatNeverFinishes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		ended := make(chan time.Time, 1)
		first := true
		n.start("a", func(c *conversation) error {
			if !first {
				return status.Error(codes.Unavailable, "draining")
			}
			first = false
			if err := c.welcomeFaces(1); err != nil {
				return err
			}
			if err := c.drain(); err != nil {
				return err
			}
			<-c.Context().Done()
			ended <- time.Now()
			return nil
		})
		p := n.pool("a", "b")
		s := openSession(t, p)
		s.untilOpened()
		start := time.Now()
		n.start("b", answerAll)
		if took := (<-ended).Sub(start); took < finishWithin || took > finishWithin+moveWithin+time.Second {
			t.Errorf("the call was cut off after %s, want about %s", took, finishWithin)
		}
	})
}

// A router that is frozen, with its connection open, is left within a second for one that answers.
func TestSilentRouter(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		frozen := false
		script := func(c *conversation) error {
			if !frozen {
				frozen = true
				if err := c.welcomeFaces(2); err != nil {
					return err
				}
				for range 10 {
					f, err := c.frame()
					if err != nil {
						return err
					}
					if err := c.answer(f); err != nil {
						return err
					}
				}
				return c.wait()
			}
			return answerAll(c)
		}
		n.start("a", script)
		n.start("b", script)
		s := openSession(t, n.pool("a", "b"))
		s.untilOpened()
		film(s, 1, 3*time.Second)
		if s.losses != 1 || len(s.answers) < 30 {
			t.Fatalf("lost %d times, %d answers; want 1 and most of 90", s.losses, len(s.answers))
		}
		if gap := s.first[10].Sub(s.first[9]); gap > time.Second {
			t.Errorf("no answers for %s, want a second at most", gap)
		}
	})
}

// An idle session is not taken for a silent router.
func TestIdleIsNotSilence(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		n.start("a", answerAll)
		s := openSession(t, n.pool("a"))
		s.untilOpened()
		next := film(s, 1, time.Second)
		pass(10 * time.Minute)
		film(s, next, time.Second)
		if s.losses != 0 || s.openings != 1 {
			t.Errorf("lost %d times, opened %d times in ten idle minutes", s.losses, s.openings)
		}
	})
}

// Close joins everything, whatever the Uplink is busy with; TestMain and the bubble see to it that nothing is left.
func TestClose(t *testing.T) {
	t.Parallel()
	for name, script := range map[string]func(*conversation) error{
		"nobody there":     nil,
		"before Opened":    func(c *conversation) error { return c.wait() },
		"idle":             answerAll,
		"out of credit":    func(c *conversation) error { _ = c.welcomeFaces(1); return c.wait() },
		"Send is blocked":  func(c *conversation) error { _ = c.welcomeFaces(100); return c.wait() },
		"while it drains":  func(c *conversation) error { _ = c.welcomeFaces(1); _ = c.drain(); return c.wait() },
		"while it refuses": func(*conversation) error { return status.Error(codes.NotFound, "no such model") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				n := newNetwork(t)
				if script != nil {
					n.start("a", script)
				}
				s := openSession(t, n.pool("a"))
				synctest.Wait()
				for sequence := range uint32(10) {
					s.offer(sequence+1, 1<<20, s.input("faces"), "faces")
					synctest.Wait()
				}
				start := time.Now()
				s.Close()
				if took := time.Since(start); took != 0 {
					t.Errorf("Close took %s", took)
				}
			})
		})
	}
}

// Whatever routers do, at any speed, the promises that session.check holds the package to are kept.
func TestChaos(t *testing.T) {
	t.Parallel()
	for seed := range uint64(20) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { chaos(t, rand.New(rand.NewPCG(seed, 0))) })
		})
	}
}

func chaos(t *testing.T, random *rand.Rand) {
	t.Helper()
	n := newNetwork(t)
	seeds := make(chan uint64, 1000)
	for range cap(seeds) {
		seeds <- random.Uint64()
	}
	script := func(c *conversation) error { return misbehave(c, rand.New(rand.NewPCG(<-seeds, 0))) }
	routers := []*router{n.start("a", script), n.start("b", script)}
	s := openSession(t, n.pool("a", "b"))
	for sequence := uint32(1); sequence <= 600; sequence++ {
		for _, stream := range []string{"camera", "screen"} {
			s.offerFrame(media.Frame{
				Stream: stream, Sequence: sequence, InputID: s.input("faces"), Placement: media.Place(small, 4, 2),
				Due: []media.Due{
					{Model: "faces", Deadline: time.Now().Add(time.Duration(random.IntN(250)) * time.Millisecond)},
					{Model: "poses", Deadline: time.Now().Add(250 * time.Millisecond)},
				},
			}, random.IntN(200_000))
		}
		pass(time.Duration(random.IntN(40)) * time.Millisecond)
		if i := random.IntN(100); i < len(routers) {
			routers[i].stop()
			routers[i] = n.start([]string{"a", "b"}[i], script)
		}
	}
	synctest.Wait()
	if len(s.sent) == 0 || len(s.answers) == 0 || s.losses == 0 {
		t.Errorf("%d frames sent, %d answered, %d calls lost: the test does not test", len(s.sent), len(s.answers), s.losses)
	}
}

// misbehave serves a call for a while with random faults.
func misbehave(c *conversation, random *rand.Rand) error {
	poses := faces
	poses.Name = "poses"
	models, form := []media.Model{faces, poses}, small
	if random.IntN(3) == 0 {
		form = large
	}
	welcome := func() error {
		return c.welcome(1+random.Uint32N(3), models[:1+random.IntN(2)], []media.Input{{ID: faces.InputID, Form: media.PictureForm(form)}})
	}
	if err := welcome(); err != nil {
		return err
	}
	for {
		f, err := c.frame()
		if f == nil || err != nil {
			return err
		}
		pass(time.Duration(random.IntN(60)) * time.Millisecond)
		switch fault := random.IntN(60); fault {
		case 0:
			return status.Error(codes.Internal, "broken")
		case 1:
			return c.wait()
		case 2:
			err = c.drain()
		case 3:
			err = welcome()
		case 4:
			err = c.outcome(media.Outcome{Stream: "camera", Sequence: 99999, Model: "faces", Drop: media.Expired})
		case 5:
			err = c.credit(f) // and no answer
		case 6:
			pass(2 * time.Second)
		default:
			err = c.answer(f)
		}
		if err != nil {
			return err
		}
	}
}
