package batchtest

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/sluice-dev/sluice/pkg/batch"
	"github.com/sluice-dev/sluice/pkg/queue"
)

// BenchmarkFrame is what a frame costs in the queue and the policy, from its arrival to the answer of its batch: five hundred streams that together have five
// thousand frames a second, in virtual time, and four instances that answer two thirds of them. A slow decision is one
// that takes longer than 99 in 100 of those for which an instance is free.
func BenchmarkFrame(b *testing.B) {
	periods := make([]time.Duration, 500)
	for i := range periods {
		periods[i] = 100 * time.Millisecond
	}
	trace := Arrivals(Periodic, periods, 10*time.Second, rand.New(rand.NewPCG(1, 2)))
	w := &works{policy: batch.NewFresh(batch.Options{NetworkDelay: network}), queue: queue.New[int, Arrival](len(periods)), slow: make([]time.Duration, 0, 1<<20)}
	w.state = batch.State{Max: largest, Slots: slots, Instances: make([]batch.Instance, 4)}
	for i := range w.state.Instances {
		w.state.Instances[i] = batch.Instance{Ready: true, Flights: make([]batch.Flight, 0, slots)}
	}
	for range 2 {
		w.replay(trace, len(trace)) // a steady state
	}
	w.slow = w.slow[:0]
	b.ReportAllocs()
	b.ResetTimer()
	for left := b.N; left > 0; left -= len(trace) {
		w.replay(trace, min(left, len(trace)))
	}
	b.StopTimer()
	slices.Sort(w.slow)
	if n := len(w.slow); n > 0 {
		b.ReportMetric(float64(w.slow[n*99/100].Nanoseconds()), "ns/slow-decision")
	}
}

// works are a queue, a policy and instances, with as little around them as can be.
type works struct {
	policy *batch.Fresh
	queue  *queue.Queue[int, Arrival]
	state  batch.State
	done   [4]time.Time // when each instance has done all that it was given
	begun  time.Duration
	items  []batch.Item
	keys   []int
	slow   []time.Duration // what decisions took, as many as fit
}

// replay has frames come, as long after those before as in the trace.
func (w *works) replay(trace []Arrival, frames int) {
	for _, a := range trace[:frames] {
		now := epoch.Add(w.begun + a.At)
		w.land(now)
		w.policy.Arrived(now, 1)
		w.queue.Push(queue.Entry[int, Arrival]{Key: a.Stream, Value: a, Arrived: now, Deadline: now.Add(budget)})
		for w.decide(now) {
		}
	}
	w.begun += trace[frames-1].At + time.Millisecond
}

// land ends the batches that are done.
func (w *works) land(now time.Time) {
	for i := range w.state.Instances {
		in := &w.state.Instances[i]
		for len(in.Flights) > 0 && !w.done[i].Add(-time.Duration(len(in.Flights)-1)*took(largest)).After(now) {
			f := in.Flights[0]
			in.Flights = append(in.Flights[:0], in.Flights[1:]...)
			w.policy.Observe(batch.Completion{Instance: i, Size: f.Size, Sent: f.Sent, Done: now, Compute: took(f.Size)})
		}
	}
}

func took(size int) time.Duration {
	return 5*time.Millisecond + time.Duration(size)*time.Millisecond
}

// decide does what the policy says once, and tells whether it is worth asking again.
func (w *works) decide(now time.Time) bool {
	begun := time.Now()
	w.state.Now = now
	d := w.policy.Decide(nil, w.state)
	if d.Instance != batch.NoInstance {
		w.items, w.keys = w.items[:0], w.keys[:0]
		for i := range w.queue.Offered() {
			e := w.queue.At(i)
			w.items, w.keys = append(w.items, batch.Item{Arrived: e.Arrived, Deadline: e.Deadline, Turn: e.Turn}), append(w.keys, e.Key)
		}
		d = w.policy.Decide(w.items, w.state)
		if len(w.slow) < cap(w.slow) {
			w.slow = append(w.slow, time.Since(begun))
		}
	}
	for _, i := range d.Expire {
		w.queue.Drop(w.keys[i])
	}
	for _, i := range d.Send {
		w.queue.Take(w.keys[i])
	}
	if len(d.Send) > 0 {
		in := &w.state.Instances[d.Instance]
		in.Flights = append(in.Flights, batch.Flight{Size: len(d.Send), Sent: now})
		w.done[d.Instance] = later(w.done[d.Instance], now).Add(took(len(d.Send)))
	}
	return len(d.Send)+len(d.Expire) > 0
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}
