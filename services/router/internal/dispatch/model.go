package dispatch

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/sluice-dev/sluice/pkg/batch"
	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/pkg/queue"
	"github.com/sluice-dev/sluice/services/router/internal/backend"
	"github.com/sluice-dev/sluice/services/router/internal/demand"
)

// stopGrace bounds how long run waits, after its context ended, for batches to come back.
const stopGrace = time.Second

// model is one model's queue, policy and batches in flight, with the goroutine that drives them.
type model struct {
	cfg     ModelConfig
	inputID uint32
	observe func(media.Outcome)
	metrics *modelMetrics
	logger  *slog.Logger
	// changed wakes run; one pending signal is enough for any number of changes.
	changed chan struct{}

	mu    sync.Mutex
	queue *queue.Queue[lane, *job]
	// states are what the model remembers of the streams of sound that the queue knows; nil for models of other kinds. A state belongs to the batch in flight that
	// holds its stream's window.
	states  map[lane]*backend.State
	policy  batch.Policy
	flights []*flight // oldest first
	counts  media.ModelCounts
	scales  scales
	stopped bool
	retired bool // by Replace: run ends by itself
	// Scratch of decide.
	items     []batch.Item
	lanes     []lane
	instances []batch.Instance // as the policy sees the runner's

	over chan struct{} // closed when run has returned
	err  error         // of run; set before over is closed
}

func newModel(c ModelConfig, inputID uint32, cfg Config, metrics *modelMetrics) *model {
	m := &model{
		cfg: c, inputID: inputID, observe: cfg.Observe, metrics: metrics, logger: cfg.Logger.With("model", c.Name),
		changed: make(chan struct{}, 1), policy: cfg.Policy(), counts: media.ModelCounts{Model: c.Name},
		instances: make([]batch.Instance, c.Runner.Instances()), over: make(chan struct{}),
	}
	if c.Input.Kind == media.KindSound {
		m.queue, m.states = queue.NewOrdered[lane, *job](c.Streams, lineOf(c)), make(map[lane]*backend.State)
	} else {
		m.queue, m.scales.gauge = queue.New[lane, *job](c.Streams), demand.New[lane](c.Streams)
	}
	return m
}

func (m *model) describe() media.Model {
	return media.Model{
		Name: m.cfg.Name, InputID: m.inputID, Rate: m.cfg.Rate, KeyOnly: m.cfg.KeyOnly, Deadline: m.cfg.Deadline, Result: m.cfg.Result,
		Ready: m.ready() == nil, MaxBatch: m.cfg.MaxBatch,
	}
}

// ready returns nil when any instance is, else why the first is not.
func (m *model) ready() error {
	first := m.cfg.Runner.Ready(0)
	for i := 1; first != nil && i < m.cfg.Runner.Instances(); i++ {
		if m.cfg.Runner.Ready(i) == nil {
			return nil
		}
	}
	return first
}

func (m *model) totals() media.ModelCounts {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.counts
}

// submit lets a frame wait, in place of an older one of its stream where there is no room for both.
func (m *model) submit(f *Frame, deadline time.Time) {
	j := &job{frame: f, deadline: deadline}
	var ends []end
	m.mu.Lock()
	m.accept()
	m.policy.Arrived(f.Arrived, 1)
	if m.stopped {
		ends = m.dropped(ends, j, media.Draining)
	} else {
		m.scales.arrived(f.lane())
		switch other, verdict := m.queue.Push(queue.Entry[lane, *job]{Key: f.lane(), Value: j, Arrived: f.Arrived, Deadline: deadline}); verdict {
		case queue.Replaced:
			ends = m.dropped(ends, other.Value, media.Superseded)
		case queue.Overflowed:
			ends = m.dropped(ends, other.Value, media.Overloaded)
		case queue.Full:
			ends = m.dropped(ends, j, media.Overloaded)
		case queue.Waiting:
		}
	}
	m.mu.Unlock()
	m.deliver(ends)
	m.wake()
}

// drop counts a frame and ends it at once.
func (m *model) drop(f *Frame, reason media.DropReason) {
	m.mu.Lock()
	m.accept()
	ends := m.dropped(nil, &job{frame: f}, reason)
	m.mu.Unlock()
	m.deliver(ends)
}

func (m *model) forget(key lane) {
	m.mu.Lock()
	var ends []end
	for _, e := range m.queue.Remove(key) {
		ends = m.dropped(ends, e.Value, media.Expired)
	}
	delete(m.states, key)
	m.scales.forget(key)
	m.mu.Unlock()
	m.deliver(ends)
}

func (m *model) wake() {
	select {
	case m.changed <- struct{}{}:
	default:
	}
}

// run drives the model until ctx ends, or it is retired and what is in flight has ended or is overdue.
func (m *model) run(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for ctx.Err() == nil {
		if next := m.step(ctx, time.Now()); next.IsZero() {
			timer.Stop()
		} else {
			timer.Reset(time.Until(next))
		}
		if m.spent(time.Now()) {
			break
		}
		select {
		case <-ctx.Done():
		case <-m.changed:
		case <-timer.C:
		}
	}
	return m.stop()
}

// spent tells whether a retired model has nothing any more that could still end well.
func (m *model) spent(now time.Time) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, waiting := m.queue.NextDeadline()
	return m.retired && !waiting && !slices.ContainsFunc(m.flights, func(f *flight) bool { return now.Before(f.over) })
}

// step does all that is to do now and says when to look again if nothing happens before.
func (m *model) step(ctx context.Context, now time.Time) time.Time {
	m.mu.Lock()
	m.reap()
	ends := m.sweep(now, nil)
	var started []*flight
	var wake time.Time
	for {
		d := m.decide(now)
		wake = d.Wake
		dropped := 0
		for _, i := range d.Expire {
			if e, waited := m.queue.Drop(m.lanes[i]); waited {
				ends = m.dropped(ends, e.Value, media.Expired)
				dropped++
			}
		}
		f := m.launch(d.Instance, d.Send, now)
		if f != nil {
			started = append(started, f)
		} else if dropped == 0 {
			break // Behind what was dropped in a line of sound, another window may have time enough.
		}
	}
	words, weigh := m.weigh(now)
	wake = earliest(wake, weigh)
	clear(m.lanes) // What is idle holds nobody's call.
	if next, waiting := m.queue.NextDeadline(); waiting {
		wake = earliest(wake, next)
	}
	for _, f := range m.flights {
		wake = earliest(wake, f.nextDeadline())
	}
	m.mu.Unlock()
	m.deliver(ends)
	tell(words)
	for _, f := range started {
		go m.fly(ctx, f) // joined by stop
	}
	return wake
}

// sweep ends what is past its deadline, waiting or in flight. The queue's part does not depend on the policy: nothing waits beyond its deadline.
func (m *model) sweep(now time.Time, ends []end) []end {
	for e, expired := m.queue.Expire(now); expired; e, expired = m.queue.Expire(now) {
		ends = m.dropped(ends, e.Value, media.Expired)
	}
	for _, f := range m.flights {
		for _, j := range f.jobs {
			if !j.ended && !j.deadline.After(now) {
				ends = m.failed(ends, j, media.BackendTimeout, now)
			}
		}
	}
	return ends
}

// decide asks the policy about what waits now. Index i of its decision is the stream m.lanes[i].
func (m *model) decide(now time.Time) batch.Decision {
	clear(m.lanes)
	m.items, m.lanes = m.items[:0], m.lanes[:0]
	for i := range m.queue.Offered() {
		e := m.queue.At(i)
		m.items = append(m.items, batch.Item{Arrived: e.Arrived, Deadline: e.Deadline, Turn: e.Turn, Latest: e.Latest})
		m.lanes = append(m.lanes, e.Key)
	}
	none := m.ready() != nil // Then a batch fails at once, wherever it goes.
	for i := range m.instances {
		m.instances[i].Ready = none || m.cfg.Runner.Ready(i) == nil
		m.instances[i].Flights = m.instances[i].Flights[:0]
	}
	for _, f := range m.flights {
		instance := &m.instances[f.instance]
		instance.Flights = append(instance.Flights, batch.Flight{Size: len(f.jobs), Sent: f.sent})
	}
	d := m.policy.Decide(m.items, batch.State{Now: now, Max: m.cfg.MaxBatch, Slots: m.cfg.Slots, Instances: m.instances})
	if d.Instance < 0 || d.Instance >= len(m.instances) || len(m.instances[d.Instance].Flights) >= m.cfg.Slots || len(d.Send) > m.cfg.MaxBatch {
		d.Send = nil // No policy is trusted with the limits.
	}
	return d
}

// stop ends what waits and joins the batches in flight, whose context has ended.
func (m *model) stop() error {
	m.mu.Lock()
	m.stopped = true
	var ends []end
	for _, e := range m.queue.RemoveAll() {
		ends = m.dropped(ends, e.Value, media.Draining)
	}
	left := append([]*flight(nil), m.flights...)
	m.mu.Unlock()
	m.deliver(ends)

	grace := time.NewTimer(stopGrace)
	defer grace.Stop()
	lost := 0
	for _, f := range left {
		select {
		case <-f.landed:
			continue
		default:
		}
		select {
		case <-f.landed:
		case <-grace.C:
			grace.Reset(0) // The grace is for all of them together.
			lost++
			m.abandon(f)
		}
	}
	if lost > 0 {
		return fmt.Errorf("model %s: %d batches never came back from the backend", m.cfg.Name, lost)
	}
	return nil
}

// accept counts a frame in. The caller holds the lock.
func (m *model) accept() {
	m.counts.Accepted++
	m.counts.InFlight++
	m.metrics.accepted.Inc()
	m.metrics.inFlight.Inc()
}

// dropped ends a job that was not sent. The caller holds the lock.
func (m *model) dropped(ends []end, j *job, reason media.DropReason) []end {
	o := j.frame.outcome(m.cfg.Name)
	o.Drop = reason
	m.counts.Drops[reason]++
	return m.finish(ends, j, o)
}

// finish marks a job as ended, with its one outcome. The caller holds the lock and delivers ends when it has given it back.
func (m *model) finish(ends []end, j *job, o media.Outcome) []end {
	j.ended = true
	m.counts.InFlight--
	return append(ends, end{j, o})
}

// deliver hands out outcomes. The caller does not hold the lock: owners have locks of their own.
func (m *model) deliver(ends []end) {
	for _, e := range ends {
		m.metrics.ended(e.outcome)
		m.observe(e.outcome)
		e.job.frame.Owner.Ended(e.job.frame, e.outcome)
		if e.job.flight == nil {
			e.job.frame.release() // What is in flight is released when the runner has returned.
		}
	}
}

func earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
