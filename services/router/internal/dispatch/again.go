package dispatch

import (
	"context"
	"time"

	"github.com/sluice-dev/sluice/pkg/batch"
	"github.com/sluice-dev/sluice/pkg/media"
)

// A batch that failed may have failed for one of three reasons: the instance could not be reached or does not answer, the instance answers nonsense, or one of the
// frames is such that the model refuses it, and with it all others.
//
// What was lost with an instance waits again, once, if another instance is there to take it and nothing newer of the stream has come meanwhile. What was refused is
// run again, in halves, on another instance if there is one, until the frame that is at fault is found: it alone fails. When it turns out that another instance
// has no objection, the first one is at fault, and is left alone for a while. All of that within a budget, and while the deadlines last.

// rerun is a part of a batch that was refused, to be run again.
type rerun struct {
	jobs []*job
	// refuser is the instance that refused the first batch of which this is a part.
	refuser int
	// accuses is true when refuser gets nothing else until this has run.
	accuses bool
}

// lost lets jobs wait again whose instance could not be reached, or was given up; those for which that is no use end. The caller holds the lock.
func (m *model) lost(f *flight, seats []*seat, now time.Time, ends []end) []end {
	afford, saved := false, false
	for k, s := range seats {
		j := s.job
		if k == 0 {
			afford = m.others(f.instance) && m.budget.affords(now)
		}
		if !afford || j.code != media.NoError || !j.deadline.After(now) || !m.queue.Return(j.entry()) {
			ends = m.failed(ends, j, media.BackendUnavailable, now)
			continue
		}
		j.code, j.reading, s.moved = media.BackendUnavailable, false, true
		saved = true
	}
	if saved && m.budget.again(now) {
		m.metrics.again(whyLost)
	}
	return ends
}

// refused has jobs run again whose batch was refused, or ends the one that was refused for itself. The caller holds the lock.
func (m *model) refused(f *flight, seats []*seat, now time.Time, ends []end) []end {
	if len(seats) == 0 {
		return ends
	}
	refuser, first := f.instance, f.again == nil
	if !first {
		refuser = f.again.refuser
	}
	if len(f.seats) == 1 && (!first || !m.others(f.instance)) {
		j := seats[0].job
		if m.queue.Knows(j.frame.lane()) {
			m.suspicions.convict(j.frame.lane(), j.code, now)
		}
		return m.failed(ends, j, j.code, now)
	}
	accuses := first && m.others(f.instance)
	if in := &m.instances[f.instance]; accuses && in.charge.Size == 0 {
		in.charge, f.charged = f.ended, true
	}
	half := (len(seats) + 1) / 2
	for _, part := range [][]*seat{seats[:half], seats[half:]} {
		switch {
		case len(part) == 0:
		case m.budget.again(now):
			m.metrics.again(whyRefused)
			m.rerun(part, refuser, accuses)
		default:
			for _, s := range part {
				if m.queue.Knows(s.job.frame.lane()) { // else nobody would clear it
					m.suspicions.doubt(s.job.frame.lane())
				}
				ends = m.failed(ends, s.job, s.job.code, now)
			}
		}
	}
	if in := &m.instances[f.instance]; f.charged && in.accusers == 0 { // there was nothing left in the budget
		in.charge, f.charged = batch.Completion{}, false
	}
	return ends
}

// rerun puts a part of a refused batch on the list of what is to run again. The caller holds the lock.
func (m *model) rerun(part []*seat, refuser int, accuses bool) {
	r := &rerun{refuser: refuser, accuses: accuses}
	for _, s := range part {
		s.moved, s.held, s.job.reading = true, true, false
		r.jobs = append(r.jobs, s.job)
	}
	if accuses {
		m.instances[refuser].accusers++
	}
	m.reruns = append(m.reruns, r)
}

// judge tells the policy how a flight ended, unless that depends on whose fault it was, which is not known yet. The caller holds the lock.
func (m *model) judge(f *flight) {
	if !f.charged {
		m.observed(f.ended)
	}
	if r := f.again; r != nil && r.accuses {
		m.heard(r.refuser, f.ended.End == batch.Ran && f.instance != r.refuser)
	}
}

// runAgain sends what is to run again to instances with room. The caller holds the lock.
func (m *model) runAgain(ctx context.Context, now time.Time) {
	kept := m.reruns[:0]
	for _, r := range m.reruns {
		left := r.jobs[:0]
		for _, j := range r.jobs {
			if j.ended {
				m.queue.Done(j.frame.lane())
			} else {
				left = append(left, j)
			}
		}
		r.jobs = left
		instance := m.roomFor(r)
		switch {
		case len(r.jobs) == 0:
			if r.accuses {
				m.heard(r.refuser, false)
			}
		case instance < 0:
			kept = append(kept, r)
		default:
			f := m.newFlight(instance, now)
			f.again = r
			for _, j := range r.jobs {
				m.board(f, j)
			}
			m.start(ctx, f)
		}
	}
	clear(m.reruns[len(kept):])
	m.reruns = kept
}

// roomFor chooses the instance for a batch that runs again: the usable one with the fewest batches, and the one that refused it only when there is no other; -1
// when there is no room now. The caller holds the lock.
func (m *model) roomFor(r *rerun) int {
	best := -1
	for i := range m.instances {
		in := &m.instances[i]
		if i == r.refuser || !in.usable() || len(in.flights) >= m.cfg.Slots {
			continue
		}
		if best < 0 || len(in.flights) < len(m.instances[best].flights) {
			best = i
		}
	}
	if in := &m.instances[r.refuser]; best < 0 && !m.others(r.refuser) && in.ready && len(in.flights) < m.cfg.Slots {
		return r.refuser
	}
	return best
}

// giveUpReruns ends what did not get to run again. The caller holds the lock.
func (m *model) giveUpReruns(now time.Time, ends []end) []end {
	for _, r := range m.reruns {
		for _, j := range r.jobs {
			if !j.ended {
				ends = m.failed(ends, j, j.code, now)
			}
		}
	}
	m.reruns = nil
	return ends
}
