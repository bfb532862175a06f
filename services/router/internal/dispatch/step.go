package dispatch

import (
	"context"
	"time"

	"github.com/sluice-dev/sluice/pkg/batch"
	"github.com/sluice-dev/sluice/pkg/media"
)

// surveyEvery is the longest time between two looks at which instances are ready.
const surveyEvery = time.Second

// step does all that is to do now and says when to look again if nothing happens before.
func (m *model) step(ctx context.Context, now time.Time) time.Time {
	m.mu.Lock()
	m.reap()
	m.survey(now)
	ends := m.sweep(now, m.ends)
	m.runAgain(ctx, now)
	ends, wake := m.schedule(ctx, now, ends)
	words, weigh := m.weigh(now)
	wake = earliest(wake, weigh)
	clear(m.lanes) // What is idle holds nobody's call.
	wake = earliest(earliest(wake, m.nextDeadline()), now.Add(surveyEvery))
	m.mu.Unlock()
	m.deliver(ends)
	clear(ends)
	m.ends = ends[:0]
	tell(words)
	return wake
}

// sweep ends what is past its deadline, waiting or in flight. The queue's part does not depend on the policy: nothing waits beyond its deadline.
func (m *model) sweep(now time.Time, ends []end) []end {
	for e, expired := m.queue.Expire(now); expired; e, expired = m.queue.Expire(now) {
		ends = m.dropped(ends, e.Value, media.Expired)
	}
	over := func(j *job, code media.ErrorCode) {
		if !j.ended && !j.deadline.After(now) {
			ends = m.failed(ends, j, code, now)
		}
	}
	for i := range m.instances {
		for _, f := range m.instances[i].flights {
			if f.settled {
				continue
			}
			for k := range f.seats {
				over(f.seats[k].job, media.BackendTimeout)
			}
		}
	}
	for _, r := range m.reruns {
		for _, j := range r.jobs {
			over(j, j.code)
		}
	}
	return ends
}

// nextDeadline gives the first deadline of all that has no outcome, zero when there is none.
func (m *model) nextDeadline() time.Time {
	next, _ := m.queue.NextDeadline()
	for i := range m.instances {
		for _, f := range m.instances[i].flights {
			next = earliest(next, f.nextDeadline())
		}
	}
	for _, r := range m.reruns {
		for _, j := range r.jobs {
			next = earliest(next, j.deadline)
		}
	}
	return next
}

// schedule does what the policy decides until it has nothing more to send.
func (m *model) schedule(ctx context.Context, now time.Time, ends []end) (_ []end, wake time.Time) {
	for again := true; again; {
		d := m.decide(now)
		wake = d.Wake
		m.giveUp(d.GiveUp)
		again = false
		for _, i := range d.Expire {
			if e, waited := m.queue.Drop(m.lanes[i]); waited {
				ends = m.dropped(ends, e.Value, media.Expired)
				again = true // Behind what was dropped in a line of sound, another window may have time enough.
			}
		}
		again = m.launch(ctx, d.Instance, m.together(d.Send), now) || again
	}
	if m.down() {
		for m.queue.Offered() > 0 {
			e, _ := m.queue.Drop(m.queue.At(0).Key)
			ends = m.failed(ends, e.Value, media.BackendUnavailable, now)
		}
	}
	return ends, wake
}

// decide asks the policy about what waits now. Index i of its decision is the stream m.lanes[i].
func (m *model) decide(now time.Time) batch.Decision {
	s := batch.State{Now: now, Max: m.cfg.MaxBatch, Slots: m.cfg.Slots, Instances: m.view()}
	d := m.policy.Decide(nil, s)
	if d.Instance == batch.NoInstance || m.queue.Offered() == 0 {
		d.Send, d.Expire = nil, nil
		m.metrics.decided(d)
		return d
	}
	clear(m.lanes)
	m.items, m.lanes = m.items[:0], m.lanes[:0]
	for i := range m.queue.Offered() {
		e := m.queue.At(i)
		m.items = append(m.items, batch.Item{Arrived: e.Arrived, Deadline: e.Deadline, Turn: e.Turn, Latest: e.Latest, Class: e.Class})
		m.lanes = append(m.lanes, e.Key)
	}
	s.Owed = m.queue.Owed()
	d = m.policy.Decide(m.items, s)
	if d.Instance < 0 || d.Instance >= len(m.instances) || len(m.instances[d.Instance].flights) >= m.cfg.Slots || len(d.Send) > m.cfg.MaxBatch {
		d.Send = nil // No policy is trusted with the limits.
	}
	m.metrics.decided(d)
	return d
}

// together gives what of a decision may go in one batch: a frame of a stream that is under suspicion goes alone, when it is its turn.
func (m *model) together(send []int) []int {
	m.send = m.send[:0]
	for k, i := range send {
		switch {
		case !m.suspicions.alone(m.lanes[i]):
			m.send = append(m.send, i)
		case k == 0:
			return append(m.send, i)
		}
	}
	return m.send
}

// giveUp cancels batches that are overdue, so that their frames may go elsewhere. Where there is no elsewhere, nothing is won by it: they have until their deadlines.
func (m *model) giveUp(overdue []batch.Overdue) {
	for _, o := range overdue {
		if f := m.instances[o.Instance].flights[o.Flight]; !f.givenUp && m.others(o.Instance) {
			f.givenUp = true
			f.cancel()
			m.metrics.givenUp.Inc()
		}
	}
}
