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

// model is one model's queue, policy, instances and batches in flight, with the goroutine that drives them.
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
	states     map[lane]*backend.State
	policy     batch.Policy
	forecaster forecaster // the policy, if it is one
	instances  []instance
	reruns     []*rerun // first come, first run
	budget     budget
	suspicions suspicions
	counts     media.ModelCounts
	scales     scales
	stopped    bool
	retired    bool // by Replace: run ends by itself
	// idle are flights that are over, as many as there were at once; their memory is for the next ones.
	idle []*flight
	// Scratch of step.
	items  []batch.Item
	lanes  []lane
	views  []batch.Instance
	send   []int
	landed []*flight
	ends   []end // also without the lock

	over chan struct{} // closed when run has returned
	err  error         // of run; set before over is closed
}

// forecaster is what a policy may also be: one that says when the last of the batches that an instance holds will be answered, zero when it does not know.
type forecaster interface {
	Forecast(instance int, flights []batch.Flight) time.Time
}

func newModel(c ModelConfig, inputID uint32, cfg Config, metrics *modelMetrics) *model {
	instances := c.Runner.Instances()
	m := &model{
		cfg: c, inputID: inputID, observe: cfg.Observe, metrics: metrics, logger: cfg.Logger.With("model", c.Name),
		changed: make(chan struct{}, 1), policy: cfg.Policy(), counts: media.ModelCounts{Model: c.Name},
		instances: make([]instance, instances), views: make([]batch.Instance, instances), suspicions: make(suspicions),
		over: make(chan struct{}),
	}
	m.forecaster, _ = m.policy.(forecaster)
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

func (m *model) totals() media.ModelCounts {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.counts
}

// submit lets a frame wait, in place of an older one of its stream where there is no room for both.
func (m *model) submit(j *job) {
	f := j.frame // until the lock is given back
	var room [1]end
	ends := room[:0]
	m.mu.Lock()
	m.accept()
	m.policy.Arrived(f.Arrived, 1)
	if m.stopped {
		ends = m.dropped(ends, j, media.Draining)
	} else if code, barred := m.suspicions.barred(f.lane(), f.Arrived); barred {
		ends = m.failed(ends, j, code, f.Arrived)
	} else {
		m.scales.arrived(f.lane(), f.Share)
		switch other, verdict := m.queue.Push(j.entry()); verdict {
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
func (m *model) drop(j *job, reason media.DropReason) {
	var room [1]end
	m.mu.Lock()
	m.accept()
	ends := m.dropped(room[:0], j, reason)
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
	m.suspicions.clear(key)
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
	if _, waiting := m.queue.NextDeadline(); !m.retired || waiting || len(m.reruns) > 0 {
		return false
	}
	hopeful := func(f *flight) bool { return now.Before(f.over) }
	return !slices.ContainsFunc(m.instances, func(in instance) bool { return slices.ContainsFunc(in.flights, hopeful) })
}

// stop ends what waits and joins the batches in flight, whose context has ended.
func (m *model) stop() error {
	m.mu.Lock()
	m.stopped = true
	var ends []end
	for _, e := range m.queue.RemoveAll() {
		ends = m.dropped(ends, e.Value, media.Draining)
	}
	now := time.Now()
	var left []*flight
	for i := range m.instances {
		left = append(left, m.instances[i].flights...)
	}
	var words []word
	if m.retired {
		words = m.withdraw()
	}
	m.mu.Unlock()
	m.deliver(ends)
	tell(words)

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
	m.mu.Lock()
	ends = m.giveUpReruns(now, nil)
	m.reap()
	clear(m.states) // a model that was taken out may be known for long
	clear(m.suspicions)
	m.metrics.surveyed([instanceStates]int{})
	m.mu.Unlock()
	m.deliver(ends)
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

// dropped ends a job that waits. One that was sent before failed then, and only waited for a second chance. The caller holds the lock.
func (m *model) dropped(ends []end, j *job, reason media.DropReason) []end {
	if j.code != media.NoError {
		return m.failed(ends, j, j.code, time.Now())
	}
	o := j.frame.outcome(m.cfg.Name)
	o.Drop = reason
	m.counts.Drops[reason]++
	return m.finish(ends, j, o)
}

// finish marks a job as ended, with its one outcome. The caller holds the lock and delivers ends when it has given it back.
func (m *model) finish(ends []end, j *job, o media.Outcome) []end {
	j.ended = true
	m.counts.InFlight--
	if j.reading {
		j.frame.Hold() // What is in flight has its own use of it, until the runner has returned.
	}
	return append(ends, end{j.frame, o})
}

// deliver hands out outcomes. The caller does not hold the lock: owners have locks of their own.
func (m *model) deliver(ends []end) {
	for i := range ends {
		e := &ends[i]
		m.metrics.ended(e.outcome)
		if e.frame.Span != nil {
			traceEnd(e.frame, e.outcome)
		}
		m.observe(e.outcome)
		e.frame.Owner.Ended(e.frame, e.outcome)
		e.frame.Release()
	}
}

func earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
