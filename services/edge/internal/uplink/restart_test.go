package uplink

import (
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/sluice-dev/sluice/pkg/media"
)

// However long the outage, the first frame goes within 300 ms of the router's return, on the same Uplink.
func TestRouterRestart(t *testing.T) {
	t.Parallel()
	outages := []time.Duration{10 * time.Millisecond, 300 * time.Millisecond, 7 * time.Minute}
	for phase := range 9 {
		outages = append(outages, time.Duration(5000+110*phase)*time.Millisecond) // every phase of a pause of a second
	}
	for _, outage := range outages {
		t.Run(outage.String(), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				n := newNetwork(t)
				wanted := func(c *conversation) error {
					if c.open.GetWeight() != 4 || c.open.GetClass() != 1 {
						t.Errorf("a call was opened for %v, want the session's weight and class", c.open)
					}
					return answerAll(c)
				}
				r := n.start("a", wanted)
				s := openSession(t, n.pool("a"))
				s.untilOpened()
				input, sequence := s.input("faces"), uint32(0)
				film := func(d time.Duration) {
					for end := time.Now().Add(d); time.Now().Before(end); pass(33 * time.Millisecond) {
						sequence++
						s.offer(sequence, small.Bytes(), input, "faces")
					}
				}
				film(time.Second)
				r.stop()
				film(outage)
				synctest.Wait()
				before := len(s.answers)
				n.start("a", wanted)
				back := time.Now()
				film(time.Second)
				synctest.Wait()
				if len(s.answers) == before {
					t.Fatal("no answer within a second of the router's return")
				}
				if gap := s.first[before].Sub(back); gap > 300*time.Millisecond {
					t.Errorf("the first answer came %s after the router's return, want 300ms at most", gap)
				}
				if s.losses != 1 || s.openings != 2 || s.input("faces") != input {
					t.Errorf("lost %d times, opened %d times, input %d then %d; want 1, 2 and no change", s.losses, s.openings, input, s.input("faces"))
				}
				if r := s.reasons(); len(r) > 1 || (outage > time.Second && r[media.NoRouter] == 0) {
					t.Errorf("drops %v, want NO_ROUTER only", r)
				}
			})
		})
	}
}

// A session that has seen many restarts is as quick as a new one.
func TestManyRestarts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		r := n.start("a", answerAll)
		s := openSession(t, n.pool("a"))
		s.untilOpened()
		for restart := range 10 {
			pass(5 * time.Second)
			r.stop()
			pass(10 * time.Millisecond)
			r = n.start("a", answerAll)
			pass(300 * time.Millisecond)
			synctest.Wait()
			if s.openings != restart+2 {
				t.Fatalf("restart %d: opened %d times after 300 ms, want %d", restart+1, s.openings, restart+2)
			}
		}
	})
}

// With the router goes what waits for it.
func TestWaitingFramesOfALostCall(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		r := n.start("a", func(c *conversation) error { _ = c.welcomeFaces(1); return c.wait() })
		s := openSession(t, n.pool("a"))
		s.untilOpened()
		s.offer(1, 1, s.input("faces"), "faces")
		synctest.Wait()
		s.offer(2, 1, s.input("faces"), "faces")
		r.stop()
		synctest.Wait()
		if got := s.drop(2, "faces"); got != media.NoRouter || s.losses != 1 {
			t.Errorf("the waiting frame: %q, lost %d times; want NO_ROUTER, once", got, s.losses)
		}
	})
}

// Routers that are there but of no use are asked again and again, less and less often.
func TestUselessRouter(t *testing.T) {
	t.Parallel()
	for name, script := range map[string]func(*conversation) error{
		"unknown model":         func(*conversation) error { return status.Error(codes.NotFound, "no such model") },
		"ends the call at once": func(c *conversation) error { return c.welcomeFaces(1) },
		"drains at once":        func(c *conversation) error { _ = c.drain(); return c.wait() },
		"drains after Opened":   func(c *conversation) error { _ = c.welcomeFaces(1); _ = c.drain(); return c.wait() },
		"no window":             func(c *conversation) error { _ = c.welcomeFaces(0); return c.wait() },
		"the same input twice": func(c *conversation) error {
			_ = c.welcome(1, nil, []media.Input{{ID: 1, Form: media.PictureForm(small)}, {ID: 1, Form: media.PictureForm(large)}})
			return c.wait()
		},
		"never answers the Open": func(c *conversation) error { return c.wait() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				n := newNetwork(t)
				r := n.start("a", script)
				p := n.pool("a")
				s := openSession(t, p)
				pass(20 * time.Second)
				s.offer(1, 1, 1, "faces")
				synctest.Wait()
				if calls := r.opened(); calls < 4 || calls > 35 {
					t.Errorf("%d calls in 20 s, want 4 to 35", calls)
				}
				if n := len(p.links); n != 1 || p.links[0].calls > 2+maxLeaving {
					t.Errorf("%d connections, the first with %d calls", n, p.links[0].calls)
				}
			})
		})
	}
}
