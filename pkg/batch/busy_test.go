package batch

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

var start = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func at(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }

// TestOnABusyMachine lets cameras overload a model whose time is alpha + beta·b, which was not warmed up, in virtual time. Of a batch whose frames' time is over, the policy
// learns only that it took longer.
func TestOnABusyMachine(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		streams       int
		period        int // ms between a stream's frames
		alpha, beta   float64
		inStep        bool
		busy          bool    // the model's machine has other work too, of changing amount
		wantInTime    float64 // of the batches' frames
		wantOfOptimum float64 // answered frames, of the most that batches within the deadline can do
	}{
		{4, 66, 5, 1, false, false, 0.99, 0}, // well below capacity
		{60, 66, 5, 1, true, false, 0.97, 0.85},
		{60, 66, 5, 1, false, false, 0.97, 0.85},
		{16, 66, 0, 15, true, false, 0.97, 0.85}, // a CPU: no gain by batching
		{16, 66, 0, 15, false, true, 0.93, 0.35},
		{200, 33, 20, 0.5, true, false, 0.97, 0.80},
		{200, 33, 20, 0.5, false, true, 0.97, 0.25},
	} {
		t.Run(fmt.Sprintf("%d streams every %d ms, %g+%g·b, in step %v, busy %v", c.streams, c.period, c.alpha, c.beta, c.inStep, c.busy), func(t *testing.T) {
			t.Parallel()
			random, load := rand.New(rand.NewPCG(1, 2)), 0.0
			r := simulate(c.streams, c.period, c.inStep, func(size int) time.Duration {
				took := c.alpha + c.beta*float64(size)
				if c.busy {
					load = min(1.2, max(0, load+0.2*random.NormFloat64()))
					took *= math.Exp(load + 0.35*math.Abs(random.NormFloat64()))
				}
				return time.Duration(took * float64(time.Millisecond))
			})
			t.Logf("%d arrived, %d sent, %d in time, worst stream %d, mean %.1f", r.arrived, r.sent, r.inTime, slices.Min(r.served), float64(r.inTime)/float64(c.streams))
			if share := float64(r.inTime) / float64(r.sent); share < c.wantInTime {
				t.Errorf("%.3f of the frames sent were answered in time, want %.2f", share, c.wantInTime)
			}
			optimum := 0.0
			for b := 1.0; b <= 16 && c.alpha+c.beta*b <= deadline; b++ {
				optimum = max(optimum, b/(c.alpha+c.beta*b)*length)
			}
			if optimum = min(optimum, float64(r.arrived)); float64(r.inTime) < c.wantOfOptimum*optimum {
				t.Errorf("%d answered in time, want %.2f of %.0f", r.inTime, c.wantOfOptimum, optimum)
			}
			if mean := float64(r.inTime) / float64(c.streams); float64(slices.Min(r.served)) < 0.8*mean {
				t.Errorf("the worst stream got %d, the mean is %.1f", slices.Min(r.served), mean)
			}
		})
	}
}

const (
	length   = 10_000 // ms simulated
	deadline = 250    // ms
)

type outcome struct {
	arrived, sent, inTime int
	served                []int // in time, by stream
}

// simulate steps by a millisecond: streams with one slot each, one batch in flight, which takes a time by its size and is given up at its last deadline.
func simulate(streams, period int, inStep bool, takes func(size int) time.Duration) outcome {
	f := NewFresh(Options{})
	r := outcome{served: make([]int, streams)}
	slots := make([]*Item, streams)
	turns, turn := make([]uint64, streams), uint64(0) // fair queueing, as package queue has it
	var flight []int                                  // streams
	var deadlines []time.Time
	var sent, free, answered time.Time
	for ms := range length {
		now := at(ms)
		for i := range streams {
			phase := 0
			if !inStep {
				phase = i * period / streams
			}
			if ms%period == phase {
				r.arrived++
				f.Arrived(now, 1)
				if slots[i] == nil {
					turns[i] = max(turns[i], turn)
				}
				slots[i] = &Item{Arrived: now, Deadline: at(ms + deadline), Turn: turns[i]}
			}
		}
		if flight != nil && !now.Before(free) {
			for k, i := range flight {
				if !answered.After(deadlines[k]) {
					r.inTime++
					r.served[i]++
				}
			}
			end := Ran
			if answered.After(free) {
				end = Silent
			}
			f.Observe(Completion{Size: len(flight), Sent: sent, Done: free, End: end})
			flight = nil
		}
		var items []Item
		var who []int
		for i, item := range slots {
			if item != nil {
				items, who = append(items, *item), append(who, i)
			}
		}
		s := State{Now: now, Max: 16, Slots: 1, Instances: []Instance{{Ready: true}}}
		if flight != nil {
			s.Instances[0].Flights = []Flight{{Size: len(flight), Sent: sent}}
		}
		d := f.Decide(items, s)
		for _, k := range d.Expire {
			slots[who[k]] = nil
		}
		if len(d.Send) == 0 {
			continue
		}
		flight, deadlines, sent = nil, nil, now
		for _, k := range d.Send {
			flight, deadlines = append(flight, who[k]), append(deadlines, items[k].Deadline)
			slots[who[k]], turn = nil, max(turn, turns[who[k]])
			turns[who[k]]++
		}
		r.sent += len(flight)
		answered = now.Add(takes(len(flight)))
		if free = slices.MaxFunc(deadlines, time.Time.Compare); answered.Before(free) {
			free = answered
		}
	}
	return r
}
