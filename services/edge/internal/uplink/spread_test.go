package uplink

import (
	"context"
	"fmt"
	"maps"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/sluice-dev/sluice/pkg/media"
)

// tended runs the pool until the test ends.
func tended(t *testing.T, p *Pool) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}

// at counts the sessions at each router.
func (p *Pool) at() map[string]int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.roster.count()
}

// about tells whether there are about so many sessions at each of the routers, and none elsewhere. gRPC looks at ten of the routers drawn at random, so that once in a thousand times it
// does not see the less busy one of two.
func about(at map[string]int, sessions int, routers ...string) bool {
	for _, r := range routers {
		if at[r] < sessions-1 || at[r] > sessions+1 {
			return false
		}
	}
	return len(at) == len(routers)
}

// Sessions spread over the routers that there are, and over those that come later, without losing a frame.
func TestSpread(t *testing.T) {
	t.Parallel()
	const sessions = 24
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		routers := map[string]*drainable{"a": n.startDrainable("a"), "b": n.startDrainable("b")}
		p, tell := n.named("a", "b")
		tended(t, p)
		film := openSession(t, p)
		for i := range sessions - 1 {
			u := p.Open(fmt.Sprint(i), nil, media.Share{}, silentHandler{func() {}})
			t.Cleanup(u.Close)
			synctest.Wait()
		}
		film.untilOpened()
		if at := p.at(); !about(at, 12, "a", "b") {
			t.Errorf("at first the sessions are at %v, want half of them at each", at)
		}
		next := filmed(film, 1, 5*time.Second)
		n.startDrainable("c")
		tell("a", "b", "c")
		next = filmed(film, next, spreadAfter+spreadFor)
		if at := p.at(); !maps.Equal(at, map[string]int{"a": 8, "b": 8, "c": 8}) {
			t.Errorf("after a third router came the sessions are at %v, want a third of them at each", at)
		}
		close(routers["a"].drain)
		tell("b", "c")
		next = filmed(film, next, 2*time.Second)
		if at := p.at(); !about(at, 12, "b", "c") {
			t.Errorf("after a router drained the sessions are at %v, want half of them at each that is left", at)
		}
		opened := film.openings
		filmed(film, next, time.Minute)
		if film.openings != opened {
			t.Errorf("a session moved %d times in a calm minute", film.openings-opened)
		}
		if r := film.reasons(); r[media.NoRouter]+r[media.Expired]+r[media.Draining] > 0 || film.losses > 0 || len(film.answers) != len(film.sent) {
			t.Errorf("drops %v, lost %d times, %d answers to %d frames", r, film.losses, len(film.answers), len(film.sent))
		}
	})
}

// filmed offers a frame every quarter of a second, numbered from first, until d and the time that the last answer takes have passed, and gives
// the number after the last one.
func filmed(s *session, first uint32, d time.Duration) uint32 {
	for end := time.Now().Add(d); time.Now().Before(end); pass(250 * time.Millisecond) {
		s.offer(first, small.Bytes(), s.input("faces"), "faces")
		first++
	}
	pass(300 * time.Millisecond)
	synctest.Wait()
	return first
}

// An address that is of no use moves nobody, and nobody loses anything.
func TestSpreadToNowhere(t *testing.T) {
	t.Parallel()
	for name, script := range map[string]func(*conversation) error{
		"nobody there":  nil,
		"refuses":       func(*conversation) error { return status.Error(codes.Unavailable, "not now") },
		"never answers": func(c *conversation) error { return c.wait() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				n := newNetwork(t)
				n.startDrainable("a")
				p, tell := n.named("a")
				tended(t, p)
				s := openSession(t, p)
				other := p.Open("other", nil, media.Share{}, silentHandler{func() {}})
				t.Cleanup(other.Close)
				s.untilOpened()
				if script != nil {
					n.start("b", script)
				}
				tell("a", "b")
				filmed(s, 1, spreadAfter+spreadFor+10*time.Second)
				if r := s.reasons(); s.openings != 1 || s.losses > 0 || len(r) > 0 || len(s.answers) != len(s.sent) {
					t.Errorf("opened %d times, lost %d times, drops %v, %d answers to %d frames", s.openings, s.losses, r, len(s.answers), len(s.sent))
				}
				if at := p.at(); !maps.Equal(at, map[string]int{"a": 2}) {
					t.Errorf("the sessions are at %v, want both at a", at)
				}
			})
		})
	}
}

func TestRoster(t *testing.T) {
	t.Parallel()
	now := at(0)
	c := newRoster()
	c.found([]string{"a", "b"}, now)
	for range 20 {
		c.placed[&Uplink{}] = "a"
	}
	if !c.grew.IsZero() || c.surplus(now.Add(spreadAfter)) != nil {
		t.Error("the first addresses count as new")
	}
	c.found([]string{"b"}, now)
	c.found([]string{"b"}, now)
	if !c.grew.IsZero() {
		t.Error("addresses that go count as new")
	}
	c.found([]string{"b", "c", "d", "e"}, now)
	for since, want := range map[time.Duration]int{
		0: 0, spreadAfter - 1: 0, spreadAfter: 20 / spreadShare, spreadAfter + spreadFor: 20 / spreadShare, spreadAfter + spreadFor + 1: 0,
	} {
		if got := c.surplus(now.Add(since)); len(got) != want {
			t.Errorf("%s after a new address came %d sessions are to move, want %d", since, len(got), want)
		}
	}
	for u := range c.placed {
		if c.count()["a"] > 6 {
			c.placed[u] = "b"
		}
	}
	if got := c.surplus(now.Add(spreadAfter)); len(got) != 2 {
		t.Errorf("%d of %v are to move, want two of the router that has too many", len(got), c.count())
	}
}
