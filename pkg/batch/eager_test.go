package batch

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var start = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func at(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }

// due makes items that wait at 0 ms with these deadlines, all of the same turn.
func due(ms ...int) []Item {
	var items []Item
	for _, d := range ms {
		items = append(items, Item{Arrived: at(0), Deadline: at(d)})
	}
	return items
}

func took(size, ms int) Completion { return Completion{Size: size, Sent: at(-ms), Done: at(0)} }

func TestEager(t *testing.T) {
	t.Parallel()
	one := []Flight{{Size: 1, Sent: at(-10)}}
	idle := State{Now: at(0), Max: 4, Slots: 1, Instances: []Instance{{Ready: true}}}
	busy := State{Now: at(0), Max: 4, Slots: 1, Instances: []Instance{{Ready: true, Flights: one}}}
	for _, c := range []struct {
		name   string
		seen   []Completion
		items  []Item
		state  State
		send   []int
		expire []int
		wake   int // ms; 0 means none
	}{
		{name: "nothing waits", state: idle},
		{name: "one goes at once", items: due(100), state: idle, send: []int{0}, wake: 100},
		{name: "earliest deadline first", items: due(100, 50, 75), state: idle, send: []int{1, 2, 0}, wake: 50},
		{name: "at most Max", items: due(10, 20, 30, 40, 50), state: idle, send: []int{0, 1, 2, 3}, wake: 10},
		{name: "no slot", items: due(100, 30), state: busy, wake: 30},
		{name: "a second slot", items: due(100), state: State{Now: at(0), Max: 4, Slots: 2, Instances: busy.Instances}, send: []int{0}, wake: 100},
		{name: "another instance", items: due(100), state: State{Now: at(0), Max: 4, Slots: 1, Instances: []Instance{busy.Instances[0], {Ready: true}}},
			send: []int{0}, wake: 100},
		{name: "one that is not ready", items: due(100), state: State{Now: at(0), Max: 4, Slots: 1, Instances: make([]Instance, 1)}, wake: 100},
		{name: "expired", items: due(0, 100, -5), state: idle, send: []int{1}, expire: []int{0, 2}, wake: 100},
		{name: "expired while no slot is free", items: due(0), state: busy, expire: []int{0}},
		{name: "hopeless", seen: []Completion{took(1, 40), took(1, 45), took(1, 50)}, items: due(39, 41), state: idle, send: []int{1}, expire: []int{0}, wake: 1},
		{name: "two slow batches prove nothing", seen: []Completion{took(1, 40), took(1, 40)}, items: due(39), state: idle, send: []int{0}, wake: 39},
		{name: "only as many as hold", seen: []Completion{took(1, 20)}, items: due(130, 130, 130, 130), state: idle, send: []int{0, 1, 2}, wake: 130},
		{name: "a large batch bounds the small ones", seen: []Completion{took(4, 60)}, items: due(120, 120, 120), state: idle, send: []int{0, 1, 2}, wake: 120},
		{name: "a hiccup is no measure", seen: []Completion{took(4, 60), took(4, 200), took(4, 50), took(4, 40)}, items: due(120, 120, 120, 120), state: idle,
			send: []int{0, 1, 2, 3}, wake: 110},
		{name: "slower lately", seen: []Completion{took(4, 20), took(4, 60), took(4, 60), took(4, 60), took(4, 60)}, items: due(119, 119), state: idle,
			send: []int{0}, wake: 114},
		{name: "late ones are left behind, not sent late", seen: []Completion{took(1, 20)}, items: due(30, 90, 90), state: idle, send: []int{1, 2}, wake: 30},
		{name: "one goes without a margin", seen: []Completion{took(1, 20)}, items: due(25, 21, 19), state: idle, send: []int{1}, wake: 19},
		{name: "in doubt the one with most time", seen: []Completion{took(4, 100)}, items: due(60, 80, 70), state: idle, send: []int{1}, wake: 60},
		{name: "in turn, then the earliest deadline", items: []Item{
			{Deadline: at(50), Turn: 3}, {Deadline: at(60), Turn: 1}, {Deadline: at(70)}, {Deadline: at(55), Turn: 1}, {Deadline: at(40), Turn: 4},
		}, state: idle, send: []int{2, 3, 1, 0}, wake: 40},
		{name: "the first of a line gives way, when its turn has come", seen: []Completion{took(1, 20)}, items: []Item{
			{Deadline: at(70), Latest: at(130)}, {Deadline: at(130)}, {Deadline: at(130), Turn: 1},
		}, state: idle, expire: []int{0}, wake: 70},
		{name: "not before its turn", seen: []Completion{took(4, 60)}, items: []Item{
			{Deadline: at(70), Turn: 2, Latest: at(130)}, {Deadline: at(130)}, {Deadline: at(130)}, {Deadline: at(130)}, {Deadline: at(130)},
		}, state: idle, send: []int{1, 2, 3, 4}, wake: 70},
		{name: "not for one that has no more time", seen: []Completion{took(4, 60)}, items: []Item{
			{Deadline: at(70), Latest: at(90)}, {Deadline: at(130), Turn: 1}, {Deadline: at(130), Turn: 1},
		}, state: idle, send: []int{1, 2}, wake: 70},
		{name: "a line is judged by its last", seen: []Completion{took(4, 60)}, items: []Item{
			{Deadline: at(70), Latest: at(130)}, {Deadline: at(71), Latest: at(130)}, {Deadline: at(125), Latest: at(130)},
		}, state: idle, expire: []int{0, 1}, wake: 70},
		{name: "a line of which all have time", seen: []Completion{took(1, 20)}, items: []Item{
			{Deadline: at(125), Latest: at(130)}, {Deadline: at(130)}, {Deadline: at(130), Turn: 1},
		}, state: idle, send: []int{0, 1, 2}, wake: 125},
		{name: "in doubt the last of a line", seen: []Completion{took(4, 100)}, items: []Item{
			{Deadline: at(60), Latest: at(90)}, {Deadline: at(80)}, {Deadline: at(70)},
		}, state: idle, expire: []int{0}, wake: 60},
		{name: "old news is forgotten", seen: []Completion{{Size: 1, Sent: at(-2000), Done: at(-1001)}}, items: due(50), state: idle, send: []int{0}, wake: 50},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var e Eager
			for _, s := range c.seen {
				e.Observe(s)
			}
			d := e.Decide(c.items, c.state)
			if !slices.Equal(d.Send, c.send) || !slices.Equal(d.Expire, c.expire) {
				t.Errorf("send %v, expire %v; want %v, %v", d.Send, d.Expire, c.send, c.expire)
			}
			wake := time.Time{}
			if c.wake != 0 {
				wake = at(c.wake)
			}
			if !d.Wake.Equal(wake) {
				t.Errorf("wake at %v, want %v", d.Wake.Sub(start), wake.Sub(start))
			}
		})
	}
}

func drawItems(t *rapid.T) []Item {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Item {
		return Item{Arrived: at(0), Deadline: at(rapid.IntRange(-20, 300).Draw(t, "deadline")), Turn: rapid.Uint64Range(0, 3).Draw(t, "turn"), Latest: at(rapid.IntRange(-20, 300).Draw(t, "latest"))}
	}), 0, 40).Draw(t, "items")
}

func drawState(t *rapid.T) State {
	return State{
		Now: at(0), Max: rapid.IntRange(1, 20).Draw(t, "max"), Slots: rapid.IntRange(1, 3).Draw(t, "slots"),
		Instances: []Instance{{Ready: true, Flights: make([]Flight, rapid.IntRange(0, 3).Draw(t, "flights"))}},
	}
}

// TestDecisionIsSound holds for every situation: no item twice, nothing beyond the limits, nothing sent that is too late, nothing expired that is not
// hopeless, and no idling while something could go.
func TestDecisionIsSound(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var e, twin Eager
		for range rapid.IntRange(0, 20).Draw(t, "observations") {
			done := -rapid.IntRange(0, 1500).Draw(t, "done")
			c := Completion{Size: rapid.IntRange(1, 20).Draw(t, "size"), Done: at(done), Sent: at(done - rapid.IntRange(0, 400).Draw(t, "took"))}
			e.Observe(c)
			twin.Observe(c)
		}
		items, s := drawItems(t), drawState(t)
		d := e.Decide(items, s)
		fate := map[int]string{}
		for _, i := range d.Expire {
			if fate[i] != "" {
				t.Fatalf("item %d expires and %s", i, fate[i])
			}
			fate[i] = "expires"
		}
		for _, i := range d.Send {
			if fate[i] != "" {
				t.Fatalf("item %d is sent and %s", i, fate[i])
			}
			fate[i] = "is sent"
			if !items[i].Deadline.After(s.Now) {
				t.Fatalf("item %d is sent at its deadline", i)
			}
		}
		least, yielded := e.least(s.Now), false
		for _, i := range d.Expire {
			if items[i].Deadline.Sub(s.Now) > least && items[i].Latest.After(items[i].Deadline) {
				yielded = true
				continue
			}
			if items[i].Deadline.Sub(s.Now) > least {
				t.Fatalf("item %d has %v left and expires; a frame takes at least %v", i, items[i].Deadline.Sub(s.Now), least)
			}
		}
		free, left := len(s.Instances[0].Flights) < s.Slots, len(items)-len(d.Expire)
		if yielded && (!free || len(d.Send) > 0) {
			t.Fatalf("items gave way to no batch, or in vain: %+v", d)
		}
		if len(d.Send) > s.Max || !free && len(d.Send) > 0 || free && left > 0 && len(d.Send) == 0 && !yielded {
			t.Fatalf("%d sent of %d with %d of %d slots taken, at most %d", len(d.Send), left, len(s.Instances[0].Flights), s.Slots, s.Max)
		}
		if len(d.Send) > 1 {
			done := s.Now.Add(margin * e.most(len(d.Send), s.Now))
			for _, i := range d.Send {
				if items[i].Deadline.Before(done) {
					t.Fatalf("item %d is sent in a batch that is too near to its deadline", i)
				}
			}
		}
		for i, item := range items {
			if fate[i] == "" && (d.Wake.IsZero() || d.Wake.After(item.Deadline)) {
				t.Fatalf("item %d waits for its deadline, but the wake-up is at %v", i, d.Wake)
			}
		}
		if again := twin.Decide(items, s); !slices.Equal(again.Send, d.Send) || !slices.Equal(again.Expire, d.Expire) || !again.Wake.Equal(d.Wake) {
			t.Fatalf("the same situation was decided differently: %+v, then %+v", d, again)
		}
	})
}

// TestWakeIsWhenSomethingChanges asks again at the wake-up: then an item has to go.
func TestWakeIsWhenSomethingChanges(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var e Eager
		for range evidence {
			e.Observe(took(rapid.IntRange(1, 4).Draw(t, "size"), rapid.IntRange(0, 50).Draw(t, "took")))
		}
		items := drawItems(t)
		s := State{Now: at(0), Max: 4, Slots: 1, Instances: []Instance{{Ready: true, Flights: make([]Flight, 1)}}}
		d := e.Decide(items, s)
		if d.Wake.IsZero() || d.Wake.Sub(s.Now) > memory {
			return
		}
		before := len(d.Expire)
		s.Now = d.Wake
		if d = e.Decide(items, s); len(d.Expire) <= before {
			t.Fatalf("nothing more expired at the wake-up: %d, before %d", len(d.Expire), before)
		}
	})
}

// TestSimulation lets cameras overload a model whose time is alpha + beta·b, in virtual time.
func TestSimulation(t *testing.T) {
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
	var e Eager
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
			e.Observe(Completion{Size: len(flight), Sent: sent, Done: free})
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
		d := e.Decide(items, s)
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
		free = earlier(answered, slices.MaxFunc(deadlines, time.Time.Compare))
	}
	return r
}

func TestDecideDoesNotAllocate(t *testing.T) {
	var e Eager
	e.Observe(took(4, 30))
	items := make([]Item, 500)
	for i := range items {
		items[i] = Item{Arrived: at(0), Deadline: at(40 + i%200), Turn: uint64(i % 77)}
	}
	s := State{Now: at(0), Max: 16, Slots: 1, Instances: []Instance{{Ready: true}}}
	if n := testing.AllocsPerRun(20, func() { e.Decide(items, s) }); n > 0 {
		t.Errorf("%v allocations a decision, want none", n)
	}
}

func BenchmarkDecide500(b *testing.B) {
	var e Eager
	e.Observe(took(4, 30))
	items := make([]Item, 500)
	for i := range items {
		items[i] = Item{Arrived: at(0), Deadline: at(40 + i*7%200), Turn: uint64(i % 77)}
	}
	s := State{Now: at(0), Max: 16, Slots: 1, Instances: []Instance{{Ready: true}}}
	b.ReportAllocs()
	for b.Loop() {
		e.Decide(items, s)
	}
}
