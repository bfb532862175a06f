package stub

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// trace plays requests against rules in virtual time on instances that take 100 ms for every batch. Arrivals are "at", or "at×frames", in milliseconds. It gives what ran as
// "start:frames" and what was refused as "at!", in order of time, and of equal times what ran first.
func trace(t *testing.T, rules TritonRules, instances int, arrivals ...string) string {
	t.Helper()
	var events []string
	synctest.Test(t, func(t *testing.T) {
		s, err := New(Config{
			Model: "m", Width: 8, Echo: 8, Max: 64, Instances: instances, Triton: &rules, Steady: true, Profile: Profile{Alpha: 100 * time.Millisecond},
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		var running, asking sync.WaitGroup
		running.Go(func() { s.Run(ctx) })
		start := time.Now()
		var mu sync.Mutex
		var refused []time.Duration
		for _, a := range arrivals {
			when, many, several := strings.Cut(a, "×")
			frames := 1
			if several {
				frames = number(t, many)
			}
			at := time.Duration(number(t, when)) * time.Millisecond
			asking.Go(func() {
				<-time.After(at)
				if _, err := s.infer(ctx, frames, nil); err != nil {
					mu.Lock()
					defer mu.Unlock()
					refused = append(refused, time.Since(start))
				}
			})
		}
		asking.Wait()
		stop()
		running.Wait()
		type event struct {
			at   time.Duration
			text string
		}
		var all []event
		for _, b := range s.Journal().Batches {
			all = append(all, event{b.Started, fmt.Sprintf("%d:%d", b.Started.Milliseconds(), b.Size)})
		}
		for _, at := range refused {
			all = append(all, event{at, fmt.Sprintf("%d!", at.Milliseconds())})
		}
		slices.SortStableFunc(all, func(a, b event) int { return int(a.at - b.at) })
		for _, e := range all {
			events = append(events, e.text)
		}
	})
	return strings.Join(events, " ")
}

func number(t *testing.T, text string) int {
	t.Helper()
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestTritonRules plays traces whose outcomes follow from Triton's documentation.
func TestTritonRules(t *testing.T) {
	t.Parallel()
	const ms = time.Millisecond
	for _, c := range []struct {
		name      string
		rules     TritonRules
		instances int
		arrivals  []string
		want      string
	}{
		{"default: what there is goes when an instance is free", TritonRules{Max: 8}, 1, []string{"0", "10", "20", "30", "150"}, "0:1 100:3 200:1"},
		{"the largest batch bounds it", TritonRules{Max: 2}, 1, []string{"0", "10", "20", "30"}, "0:1 100:2 200:1"},
		{"one queue for all instances", TritonRules{Max: 8}, 2, []string{"0", "10", "20", "30", "40"}, "0:1 10:1 100:3"},
		{"a request that does not fit closes the batch", TritonRules{Max: 4}, 1, []string{"0", "10×3", "20×2", "30"}, "0:1 100:3 200:3"},
		{"delay: the oldest waits so long", TritonRules{Max: 8, Delay: 50 * ms}, 1, []string{"0", "20", "60"}, "50:2 150:1"},
		{"delay: a full batch goes at once", TritonRules{Max: 2, Delay: 50 * ms}, 1, []string{"0", "20"}, "20:2"},
		{"delay: over while the instance was busy", TritonRules{Max: 8, Delay: 50 * ms}, 1, []string{"0", "60", "140"}, "50:1 150:2"},
		{"preferred: the largest that can be had", TritonRules{Max: 8, Preferred: []int{4, 2}}, 1, []string{"0", "10", "20", "30", "40", "50"}, "0:1 100:4 200:1"},
		{"preferred: none can be had", TritonRules{Max: 8, Preferred: []int{4}}, 1, []string{"0", "10", "20"}, "0:1 100:2"},
		{"preferred: ends the delay", TritonRules{Max: 8, Preferred: []int{2}, Delay: 50 * ms}, 1, []string{"0", "30"}, "30:2"},
		{"preferred: not after the delay", TritonRules{Max: 8, Preferred: []int{2}, Delay: 20 * ms}, 1, []string{"0", "30", "40", "50"}, "20:1 120:3"},
		{"timeout: refused when an instance is free", TritonRules{Max: 8, Timeout: 60 * ms}, 1, []string{"0", "10", "39", "50"}, "0:1 100:1 100! 100!"},
		{"timeout: exactly met", TritonRules{Max: 8, Timeout: 60 * ms}, 1, []string{"0", "40"}, "0:1 100:1"},
		{"timeout: and the delay", TritonRules{Max: 8, Timeout: 60 * ms, Delay: 30 * ms}, 1, []string{"0", "40", "90"}, "30:1 130:1 130!"},
		{"queue: a full one refuses", TritonRules{Max: 8, MaxQueue: 2}, 1, []string{"0", "10", "20", "30", "110"}, "0:1 30! 100:2 200:1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if got := trace(t, c.rules, c.instances, c.arrivals...); got != c.want {
				t.Errorf("%v\n got %s\nwant %s", c.arrivals, got, c.want)
			}
		})
	}
}

// TestExpiredRequestsAreAnsweredLate keeps the only instance busy for longer: expired requests are found every half second only, or when it is free.
func TestExpiredRequestsAreAnsweredLate(t *testing.T) {
	t.Parallel()
	q := newTriton(TritonRules{Max: 8, Timeout: 40 * time.Millisecond})
	start := time.Now()
	at := func(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }
	for _, ms := range []int{0, 300, 480} {
		if err := q.push(&request{size: 1, arrived: at(ms)}); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		ms      int
		free    bool
		run     int
		expired int
		wake    int
	}{
		{100, false, 0, 0, 500},
		{499, false, 0, 0, 500},
		{500, false, 0, 2, 1000},
		{900, false, 0, 0, 1000},
		{910, true, 0, 1, 0},
	} {
		run, expired, wake := q.take(at(c.ms), c.free)
		if len(run) != c.run || len(expired) != c.expired || c.wake != 0 && !wake.Equal(at(c.wake)) || c.wake == 0 && !wake.IsZero() {
			t.Errorf("at %d ms: %d run, %d expired, next look %v; want %+v", c.ms, len(run), len(expired), wake.Sub(start), c)
		}
	}
}
