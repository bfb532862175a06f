package dispatch

import (
	"slices"
	"time"

	"github.com/sluice-dev/sluice/pkg/batch"
	"github.com/sluice-dev/sluice/services/router/internal/backend"
)

// instance is what a model knows of one of its runner's. The model's lock guards it.
type instance struct {
	flights []*flight // oldest first
	// ready is what the runner said of it last.
	ready bool
	// failing is true from a batch that ended without an answer, or was refused for no fault of its frames, until one that is answered.
	failing bool
	// accusers is the number of batches with frames that it refused and that run elsewhere now, to find out whose fault it was. Meanwhile it gets no others, and
	// charge, the batch that was refused, is kept from the policy.
	accusers int
	charge   batch.Completion
	proven   bool // another instance ran frames of it
	// strikes is the number of batches, with none in between that it ran, that it refused and others ran.
	strikes int
}

// mostStrikes is how many strikes show that an instance is broken. One may be an accident.
const mostStrikes = 2

// usable tells whether an instance is worth giving a batch to as far as is known. One with a batch that was given up is about to fail: if it still counted, a router that
// stood still for a while would give up what all of them have.
func (in *instance) usable() bool {
	return in.ready && !in.failing && in.accusers == 0 && !slices.ContainsFunc(in.flights, func(f *flight) bool { return f.givenUp })
}

// others tells whether any other instance is usable.
func (m *model) others(than int) bool {
	for i := range m.instances {
		if i != than && m.instances[i].usable() {
			return true
		}
	}
	return false
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

// survey asks which instances are ready. One that has become so was warmed up, and the policy learns what that showed. The caller holds the lock.
func (m *model) survey(now time.Time) {
	var states [instanceStates]int
	for i := range m.instances {
		in := &m.instances[i]
		before := in.ready
		if in.ready = m.cfg.Runner.Ready(i) == nil; in.ready && !before {
			m.rehearsed(i, m.cfg.Runner.Profile(i), now)
		}
		switch {
		case !in.ready:
			states[away]++
		case !in.usable():
			states[failing]++
		default:
			states[well]++
		}
	}
	m.metrics.surveyed(states)
}

func (m *model) rehearsed(instance int, profile []backend.Timing, now time.Time) {
	for _, t := range profile {
		m.policy.Observe(batch.Completion{Instance: instance, Size: t.Batch, Sent: now.Add(-t.Took), Done: now, End: batch.Rehearsed})
		m.instances[instance].failing = false
	}
}

// observed takes account of how a batch ended. The caller holds the lock, and the batch is no longer among the flights.
func (m *model) observed(c batch.Completion) {
	in := &m.instances[c.Instance]
	switch c.End {
	case batch.Ran:
		in.failing, in.strikes = false, 0
	case batch.Refused, batch.Rehearsed:
		in.failing = false
	case batch.Silent, batch.Unreachable, batch.Broken:
		in.failing = true
	}
	m.policy.Observe(c)
}

// heard ends one accusation of an instance that refused a batch: another one ran the frames, or did not either. The caller holds the lock.
func (m *model) heard(instance int, ran bool) {
	in := &m.instances[instance]
	in.proven = in.proven || ran
	if in.accusers--; in.accusers > 0 || in.charge.Size == 0 {
		return
	}
	if in.proven {
		if in.strikes++; in.strikes >= mostStrikes {
			in.charge.End = batch.Broken
		}
	}
	m.observed(in.charge)
	in.charge, in.proven = batch.Completion{}, false
}

// view gives the instances as the policy sees them. The caller holds the lock; the result is valid until the next call.
func (m *model) view() []batch.Instance {
	for i := range m.instances {
		in, seen := &m.instances[i], &m.views[i]
		seen.Ready = in.ready && (in.accusers == 0 || !m.others(i))
		seen.Flights = seen.Flights[:0]
		for _, f := range in.flights {
			seen.Flights = append(seen.Flights, batch.Flight{Size: len(f.seats), Sent: f.sent})
		}
	}
	return m.views
}

// down tells whether nothing can be sent now, and nothing that is under way will change that: no instance is ready, or all are failing and idle. The caller holds the lock.
func (m *model) down() bool {
	idle := len(m.reruns) == 0
	for i := range m.instances {
		if m.instances[i].ready {
			idle = idle && m.instances[i].failing && len(m.instances[i].flights) == 0
			if !idle {
				return false
			}
		}
	}
	return true
}
