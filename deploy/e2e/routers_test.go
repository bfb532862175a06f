//go:build e2e

package e2e

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/sluice-dev/sluice/deploy/e2e/echo"
	"github.com/sluice-dev/sluice/deploy/e2e/stack"
)

const (
	echoDeadline = 250 * time.Millisecond
	echoTakes    = 20 * time.Millisecond
	// recoveryGoal is how soon after a router's death its sessions are to have results again: at p99 on a machine that has time for it. Here a session may take recoveryLimit.
	recoveryGoal  = 500 * time.Millisecond
	recoveryLimit = 5 * time.Second
	// nameLag is how long DNS takes to tell of a change.
	nameLag = 2 * time.Second
)

// TestRollingRestartOfRouters replaces the only router by another one of which DNS tells seconds later, adds two more, over which the sessions spread, and takes one away. All that
// time sessions send, and no frame is lost to it.
func TestRollingRestartOfRouters(t *testing.T) {
	beside(t, 0.5)
	f := newFleet(t, echo.Serve(t, echo.Options{Takes: echoTakes, Deadline: echoDeadline}))
	f.startRouter(t, "127.0.0.1")
	f.tell("127.0.0.1")
	f.startEdge(t)
	var callers []*caller
	for i := range 6 {
		callers = append(callers, call(t, f.edges[0].http, i))
	}

	f.startRouter(t, "127.0.0.2")
	gone := f.retire("127.0.0.1")
	drained := time.Now()
	ended := make(chan struct{})
	go func() { // It ends when its sessions have moved.
		defer close(ended)
		gone.Stop(t)
	}()
	<-time.After(nameLag)
	f.tell("127.0.0.2")
	<-ended
	t.Logf("the only router ended %s after SIGTERM, DNS having told of the next one after %s", time.Since(drained).Round(time.Millisecond), nameLag)

	f.startRouter(t, "127.0.0.3")
	f.startRouter(t, "127.0.0.4")
	f.tell("127.0.0.2", "127.0.0.3", "127.0.0.4")
	scaled := time.Now()
	stack.Eventually(t, time.Minute, "the sessions spread over the routers", func() error {
		if counts := f.spread(t); !slices.Equal(counts, []int{2, 2, 2}) {
			return fmt.Errorf("%v", counts)
		}
		return nil
	})
	t.Logf("six sessions had spread over three routers %s after DNS told of two more", time.Since(scaled).Round(time.Millisecond))

	f.retire("127.0.0.3").Stop(t)
	f.tell("127.0.0.2", "127.0.0.4")
	now := time.Now()
	var all account
	for _, c := range callers {
		c.await(t, recoveryLimit, now)
		c.hangUp(t, echoDeadline, &all)
	}
	all.log(t)
	for _, kind := range []string{"ROUTER_LOST", "NO_ROUTER", "DRAINING", "BACKEND_UNAVAILABLE", "INTERNAL"} {
		if n := all.kinds[kind]; n > 0 {
			t.Errorf("%d frames ended in %s", n, kind)
		}
	}
}

// retire gives a router that is not to be counted any more.
func (f *fleet) retire(address string) *member {
	m := f.routers[address]
	delete(f.routers, address)
	return m
}

// TestKilledRouters kills the busiest of three routers with SIGKILL, again and again, while sessions send through two edges: the invariants 1 to 3 hold, and the sessions of the router have results
// again within moments. KILLS=n for more kills than it takes to see that it works.
func TestKilledRouters(t *testing.T) {
	beside(t, 0.5)
	kills, sessions := 2, 12
	if text := os.Getenv("KILLS"); text != "" {
		var err error
		if kills, err = strconv.Atoi(text); err != nil {
			t.Fatalf("KILLS=%s: %v", text, err)
		}
		sessions = 30
	}
	f := newTwoByThree(t)
	callers := map[string]*caller{} // by session
	for i := range sessions {
		c := call(t, f.edges[i%2].http, i)
		callers[c.ID] = c
	}
	var recoveries []time.Duration
	for range kills {
		address, victims := f.busiest(t)
		others := slices.DeleteFunc(slices.Collect(maps.Keys(f.routers)), func(a string) bool { return a == address })
		killed := time.Now()
		f.retire(address).Kill(t)
		for _, id := range victims {
			recoveries = append(recoveries, callers[id].await(t, recoveryLimit, killed))
		}
		if len(victims) < sessions/4 {
			t.Errorf("the busiest router had %d of %d sessions", len(victims), sessions)
		}
		f.tell(others...)
		f.known(t, len(others))
		f.startRouter(t, address)
		f.tell(append(others, address)...)
		settled := time.Now()
		for _, c := range callers {
			c.await(t, recoveryLimit, settled)
		}
		stack.Eventually(t, time.Minute, "the sessions spread over the routers", func() error {
			if counts := f.spread(t); slices.Min(counts) < sessions/6 {
				return fmt.Errorf("%v", counts)
			}
			return nil
		})
	}
	var all account
	for _, c := range callers {
		c.hangUp(t, echoDeadline, &all)
	}
	all.log(t)
	slices.Sort(recoveries)
	t.Logf("%d sessions lost their router in %d kills; the next result came after: p50 %s, p99 %s, most %s (goal: %s at p99)", len(recoveries), kills,
		quantile(recoveries, 0.5), quantile(recoveries, 0.99), quantile(recoveries, 1), recoveryGoal)
	f.checkSettled(t)
}

// known waits until the edges know so many routers.
func (f *fleet) known(t *testing.T, routers int) {
	t.Helper()
	var books stack.Stack // for its reading of metrics
	for _, e := range f.edges {
		stack.Eventually(t, 20*time.Second, "an edge hears of a change of the routers", func() error {
			if n := books.Metric(t, e.admin, "sluice_edge_uplink_routers"); n != float64(routers) {
				return fmt.Errorf("it knows %g, want %d", n, routers)
			}
			return nil
		})
	}
}

// newTwoByThree starts two edges before three routers.
func newTwoByThree(t *testing.T) *fleet {
	t.Helper()
	f := newFleet(t, echo.Serve(t, echo.Options{Takes: echoTakes, Deadline: echoDeadline}))
	addresses := []string{"127.0.0.1", "127.0.0.2", "127.0.0.3"}
	for _, a := range addresses {
		f.startRouter(t, a)
	}
	f.tell(addresses...)
	f.startEdge(t)
	f.startEdge(t)
	return f
}

// TestKilledEdge kills one of two edges with SIGKILL: the sessions of the other one notice nothing, its own have results again as soon as they have gone to the other one, and nothing of them is
// left on the routers.
func TestKilledEdge(t *testing.T) {
	beside(t, 0.5)
	f := newTwoByThree(t)
	var victims, others []*caller
	for i := range 4 {
		victims = append(victims, call(t, f.edges[0].http, i))
		others = append(others, call(t, f.edges[1].http, 100+i))
	}
	killed := time.Now()
	f.edges[0].KillAll(t)
	for i, v := range victims {
		v.stop()
		t.Logf("caller %d ended with %v", i, <-v.paced)
		for _, text := range v.wrong {
			t.Errorf("caller %d: %s", i, text)
		}
		others = append(others, call(t, f.edges[1].http, 200+i))
	}
	t.Logf("four sessions were at the other edge, one after the other, with results %s after their own was killed", time.Since(killed).Round(time.Millisecond))
	stack.Eventually(t, 20*time.Second, "the routers free the killed edge's sessions", func() error {
		if counts := f.spread(t); counts[0]+counts[1]+counts[2] != len(others) {
			return fmt.Errorf("%v for %d sessions", counts, len(others))
		}
		return nil
	})
	var all account
	for _, c := range others {
		c.hangUp(t, echoDeadline, &all)
	}
	all.log(t)
	if n := all.kinds["ROUTER_LOST"] + all.kinds["NO_ROUTER"] + all.kinds["INTERNAL"]; n > 0 {
		t.Errorf("%d frames of the other edge ended in %v", n, all.kinds)
	}
	f.checkSettled(t)
}

// checkSettled asserts that the members that still run have nothing in flight, and that all that the routers accepted has ended.
func (f *fleet) checkSettled(t *testing.T) {
	t.Helper()
	var books stack.Stack // for its reading of metrics
	for _, r := range f.routers {
		stack.Eventually(t, 10*time.Second, "a router settles", func() error {
			accepted, ended := books.Metric(t, r.admin, "sluice_router_accepted_total"), books.Metric(t, r.admin, "sluice_router_outcomes_total")
			if in := books.Metric(t, r.admin, "sluice_router_in_flight"); accepted != ended || in != 0 {
				return fmt.Errorf("accepted %g, ended %g, in flight %g", accepted, ended, in)
			}
			return nil
		})
	}
}

// log shows what became of the frames, and how the third invariant holds: an outcome comes by its deadline and 50 ms. The way to the caller and back, and this machine's other work, are
// in its times, so that more than that is granted here.
func (a *account) log(t *testing.T) {
	t.Helper()
	const grace, granted = 50 * time.Millisecond, time.Second
	slices.Sort(a.late)
	late := len(a.late)
	if i := slices.IndexFunc(a.late, func(d time.Duration) bool { return d > grace }); i >= 0 {
		late -= i
	} else {
		late = 0
	}
	t.Logf("%d outcomes: %v; beyond the deadline by: p99 %s, most %s; %d later than %s", len(a.late), a.kinds, quantile(a.late, 0.99), quantile(a.late, 1), late, grace)
	if q := quantile(a.late, 0.99); q > granted {
		t.Errorf("one in a hundred outcomes comes %s after its deadline, or later", q)
	}
}

// quantile gives the nearest rank of sorted durations.
func quantile(sorted []time.Duration, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))].Round(time.Millisecond)
}
