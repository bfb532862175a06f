package batch

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

const ms = time.Millisecond

// warmed makes a policy of a model that takes base + n·each ms, without network.
func warmed(base, each int) *Fresh {
	f := NewFresh(Options{})
	for size := 1; size <= 32; size *= 2 {
		f.Observe(Completion{Size: size, Sent: at(-5000), Done: at(-5000 + base + each*size), Compute: time.Duration(base+each*size) * ms, End: Rehearsed})
	}
	return f
}

func drawFresh(t *rapid.T) *Fresh {
	f := NewFresh(Options{NetworkDelay: time.Duration(rapid.IntRange(0, 3).Draw(t, "network")) * ms})
	for range rapid.IntRange(0, 60).Draw(t, "observations") {
		done := -rapid.IntRange(1, 500).Draw(t, "done")
		f.Observe(Completion{
			Instance: rapid.IntRange(0, 2).Draw(t, "instance"), Size: rapid.IntRange(1, 32).Draw(t, "size"),
			Sent: at(done - rapid.IntRange(0, 80).Draw(t, "took")), Done: at(done), End: End(rapid.IntRange(0, 4).Draw(t, "end")),
		})
	}
	for range rapid.IntRange(0, 200).Draw(t, "arrivals") {
		f.Arrived(at(-rapid.IntRange(0, 400).Draw(t, "arrived")), rapid.IntRange(1, 5).Draw(t, "n"))
	}
	return f
}

func drawSituation(t *rapid.T) State {
	s := State{Now: at(0), Max: rapid.IntRange(1, 32).Draw(t, "max"), Slots: rapid.IntRange(1, 3).Draw(t, "slots")}
	if rapid.Bool().Draw(t, "classes") {
		s.Owed = rapid.SliceOfN(rapid.IntRange(0, 2), 2, 3).Draw(t, "owed")
	}
	for range rapid.IntRange(1, 3).Draw(t, "instances") {
		i := Instance{Ready: rapid.IntRange(0, 3).Draw(t, "ready") > 0}
		for range rapid.IntRange(0, 3).Draw(t, "flights") {
			i.Flights = append(i.Flights, Flight{Size: rapid.IntRange(1, 32).Draw(t, "size"), Sent: at(-rapid.IntRange(0, 400).Draw(t, "sent"))})
		}
		slices.SortFunc(i.Flights, func(a, b Flight) int { return a.Sent.Compare(b.Sent) })
		s.Instances = append(s.Instances, i)
	}
	return s
}

func drawWaiting(t *rapid.T) []Item {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Item {
		arrived := -rapid.IntRange(0, 100).Draw(t, "arrived")
		i := Item{Arrived: at(arrived), Deadline: at(arrived + rapid.IntRange(1, 200).Draw(t, "budget")), Turn: rapid.Uint64Range(0, 3).Draw(t, "turn")}
		i.Class = uint8(rapid.IntRange(0, 2).Draw(t, "class"))
		if rapid.IntRange(0, 3).Draw(t, "line") == 0 {
			i.Latest = i.Deadline.Add(time.Duration(rapid.IntRange(1, 100).Draw(t, "behind")) * ms)
		}
		return i
	}), 0, 60).Draw(t, "items")
}

func clone(d Decision) Decision {
	d.Send, d.Expire, d.GiveUp = slices.Clone(d.Send), slices.Clone(d.Expire), slices.Clone(d.GiveUp)
	return d
}

func same(a, b Decision) bool {
	return a.Instance == b.Instance && slices.Equal(a.Send, b.Send) && slices.Equal(a.Expire, b.Expire) && slices.Equal(a.GiveUp, b.GiveUp) && a.Wake.Equal(b.Wake)
}

// TestFreshIsSound holds for every situation: no item has two fates, nothing is beyond the limits, nothing is sent too late unless it is one frame to find
// something out, and the decision does not depend on how often it was asked for.
func TestFreshIsSound(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		f, s, items := drawFresh(t), drawSituation(t), drawWaiting(t)
		d := clone(f.Decide(items, s))
		for range rapid.IntRange(1, 3).Draw(t, "times") {
			f.Decide(nil, s)
			if again := f.Decide(items, s); !same(d, again) {
				t.Fatalf("decided %+v, and asked again %+v", d, again)
			}
		}
		fate := map[int]bool{}
		for _, i := range append(slices.Clone(d.Send), d.Expire...) {
			if fate[i] {
				t.Fatalf("item %d has two fates: %+v", i, d)
			}
			fate[i] = true
		}
		if d.Instance == NoInstance {
			if len(d.Send)+len(d.Expire) > 0 {
				t.Fatalf("items were decided upon though no instance can take any: %+v", d)
			}
			return
		}
		to := s.Instances[d.Instance]
		if len(d.Send) > s.Max || len(to.Flights) >= min(s.Slots, together) || !to.Ready {
			t.Fatalf("%d frames go to %+v, with %d slots and %d frames at most", len(d.Send), to, s.Slots, s.Max)
		}
		if len(d.Send) > 1 {
			wellTimed(t, f, d, items, s)
		}
		promptly(t, f, d, items, s)
		for _, i := range d.Send {
			if !items[i].Deadline.After(s.Now) {
				t.Fatalf("item %d is sent after its deadline", i)
			}
		}
		if d.Wake.Before(s.Now) && !d.Wake.IsZero() {
			t.Fatalf("to be woken at %v", d.Wake.Sub(s.Now))
		}
	})
}

// promptly checks that nothing waits for an instance that could answer it in time, and that nothing expires which one could still make.
func promptly(t *rapid.T, f *Fresh, d Decision, items []Item, s State) {
	for _, i := range d.Expire {
		if left := items[i].Deadline.Sub(s.Now); items[i].Latest.IsZero() && left > 0 && left >= f.soonest {
			t.Fatalf("item %d expires with %v left, and %v is enough", i, left, f.soonest)
		}
	}
	in := &f.instances[d.Instance]
	if len(d.Send)+len(d.Expire) > 0 || !in.suspected.IsZero() {
		return
	}
	free, _ := f.outlook(in, s.Instances[d.Instance].Flights)
	done := later(s.Now.Add(f.net), free).Add(f.profile.atMost(1, in.scale) + f.net)
	for i, item := range items {
		if item.Deadline.After(done) {
			t.Fatalf("instance %d could answer item %d, and gets nothing: %+v", d.Instance, i, d)
		}
	}
}

// wellTimed checks that a batch of several is answered in time on an instance that is as fast as predicted.
func wellTimed(t *rapid.T, f *Fresh, d Decision, items []Item, s State) {
	in := &f.instances[d.Instance]
	free, _ := f.outlook(in, s.Instances[d.Instance].Flights)
	done := later(s.Now.Add(f.net), free).Add(f.profile.atMost(len(d.Send), in.scale) + f.net)
	for _, i := range d.Send {
		if items[i].Deadline.Before(done) {
			t.Fatalf("item %d is sent %v too late, in a batch of %d", i, done.Sub(items[i].Deadline), len(d.Send))
		}
	}
	if !in.suspected.IsZero() {
		t.Fatalf("%d frames go to an instance that is not believed to be well", len(d.Send))
	}
}

// TestHopelessIsNotSent shows one frame at a time to a policy that knows its model.
func TestHopelessIsNotSent(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		f := warmed(5, 1)
		f.Observe(Completion{Size: 1, Sent: at(-6), Done: at(0), Compute: 6 * ms}) // it has just been at work
		left := time.Duration(rapid.IntRange(1, 40_000).Draw(t, "left")) * time.Microsecond
		d := f.Decide([]Item{{Arrived: at(-50), Deadline: at(0).Add(left)}}, State{Now: at(0), Max: 8, Slots: 2, Instances: []Instance{{Ready: true}}})
		if hopeless := left < f.profile.atMost(1, f.instances[0].scale)+2*f.net; hopeless != (len(d.Expire) == 1) || hopeless == (len(d.Send) == 1) {
			t.Fatalf("with %v left, of which a frame needs %v: %+v", left, f.profile.atMost(1, 1), d)
		}
	})
}

func TestClassesAndWhatTheyAreOwed(t *testing.T) {
	t.Parallel()
	var items []Item
	for i := range 10 {
		items = append(items, Item{Arrived: at(0), Deadline: at(100 + i), Class: uint8(1 - i/6)}) // six of the lower class, four of the first
	}
	for _, c := range []struct {
		owed, send []int
	}{
		{nil, []int{6, 7, 8, 9}}, {[]int{0, 0}, []int{6, 7, 8, 9}}, {[]int{0, 1}, []int{0, 6, 7, 8}}, {[]int{0, 9}, []int{0, 1, 2, 3}},
	} {
		d := warmed(5, 1).Decide(items, State{Now: at(0), Max: 4, Slots: 1, Instances: []Instance{{Ready: true}}, Owed: c.owed})
		if got := slices.Clone(d.Send); !slices.Equal(got, c.send) {
			t.Errorf("owed %v: send %v, want %v", c.owed, got, c.send)
		}
	}
}

func TestLoad(t *testing.T) {
	t.Parallel()
	f := warmed(5, 1)
	s := State{Max: 32, Slots: 2, Instances: []Instance{{Ready: true}, {Ready: true}}}
	ask := func(from, until, perMs int) {
		for now := from; now < until; now++ {
			f.Arrived(at(now), perMs)
			s.Now = at(now)
			f.Decide([]Item{{Arrived: at(now), Deadline: at(now + 100)}}, s)
		}
	}
	ask(0, 3000, 1)
	l := f.Load(at(3000))
	if l.Overloaded || l.Capacity < 1500 || l.Capacity > 1750 || l.Offered < 950 || l.Offered > 1050 {
		t.Errorf("a thousand frames a second for two instances of 865: %+v", l)
	}
	ask(3000, 8000, 3)
	if l = f.Load(at(8000)); !l.Overloaded || l.Since.Before(at(3000)) || l.Since.After(at(4500)) {
		t.Errorf("three thousand a second since the third second: %+v", l)
	}
	since := l.Since
	if l = f.Load(at(8050)); l.Since != since {
		t.Errorf("it is overloaded since %v, and then since %v", since, l.Since)
	}
	if l = f.Load(at(20_000)); l.Overloaded || l.Offered > 10 {
		t.Errorf("after twelve seconds without a frame: %+v", l)
	}
	s.Instances = make([]Instance, 2)
	ask(20_000, 20_200, 1)
	if l = f.Load(at(20_200)); l.Capacity != 0 || !l.Overloaded {
		t.Errorf("no instance is ready: %+v", l)
	}
}

func TestLearnsTheDelay(t *testing.T) {
	t.Parallel()
	f := NewFresh(Options{})
	for i := range 40 {
		f.Observe(Completion{Size: 4, Sent: at(100 * i), Done: at(100*i + 16), Compute: 12 * ms})
	}
	if f.net != 2*ms {
		t.Errorf("the network takes %v, want 2ms", f.net)
	}
}

// TestRehearsal tells of a whole ramp at once, as it was measured.
func TestRehearsal(t *testing.T) {
	t.Parallel()
	f := NewFresh(Options{Base: 80 * ms, Each: 1 * ms})
	for size := 1; size <= 32; size *= 2 {
		f.Observe(Completion{Size: size, Sent: at(-5 - size), Done: at(0), End: Rehearsed})
	}
	for _, size := range []int{1, 8, 32} {
		if got, want := f.Predicted(size), time.Duration(5+size)*ms; got < want*3/4 || got > want*5/2 {
			t.Errorf("a batch of %d is predicted to take %v; it took %v", size, got, want)
		}
	}
	for i := range 40 {
		f.Observe(Completion{Size: 8, Sent: at(100 + 20*i), Done: at(113 + 20*i)})
	}
	if got := f.Predicted(8); got < 12*ms || got > 14*ms {
		t.Errorf("a batch of 8 is predicted to take %v; it took 13ms forty times", got)
	}
}

func TestLead(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var list []candidate
		for i, turn := range rapid.SliceOfN(rapid.Uint64Range(0, 20), 0, 200).Draw(t, "turns") {
			list = append(list, candidate{index: i, turn: turn})
		}
		k := rapid.IntRange(0, len(list)).Draw(t, "k")
		sorted := slices.Clone(list)
		slices.SortFunc(sorted, leastServedFirst)
		lead(list, k, leastServedFirst)
		if !slices.Equal(list[:k], sorted[:k]) {
			t.Fatalf("the first %d are %v, want %v", k, list[:k], sorted[:k])
		}
	})
}

func TestDecideDoesNotAllocate(t *testing.T) {
	f := warmed(5, 1)
	items := make([]Item, 500)
	for i := range items {
		items[i] = Item{Arrived: at(0), Deadline: at(40 + i%200), Turn: uint64(i % 77)}
	}
	s := State{Now: at(0), Max: 16, Slots: 1, Instances: []Instance{{Ready: true}}}
	if n := testing.AllocsPerRun(20, func() { f.Decide(items, s) }); n > 0 {
		t.Errorf("%v allocations a decision, want none", n)
	}
}

func BenchmarkFresh500(b *testing.B) {
	f := warmed(5, 1)
	items := make([]Item, 500)
	for i := range items {
		items[i] = Item{Arrived: at(0), Deadline: at(40 + i*7%200), Turn: uint64(i % 77)}
	}
	s := State{Now: at(0), Max: 32, Slots: 2, Instances: []Instance{{Ready: true}, {Ready: true}}}
	b.ReportAllocs()
	for b.Loop() {
		f.Decide(items, s)
	}
}
