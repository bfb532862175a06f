package dispatch

import (
	"context"
	"runtime/debug"
	"slices"
	"time"

	"github.com/sluice-dev/sluice/pkg/batch"
	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/services/router/internal/backend"
	"github.com/sluice-dev/sluice/services/router/internal/reply"
)

// flight is one batch that was sent and has not come back. The jobs do not change; the model's lock guards what their ended says.
type flight struct {
	instance int
	jobs     []*job
	frames   []backend.Frame
	sent     time.Time
	// over is the last of the jobs' deadlines: then nobody waits for the answer any more.
	over time.Time
	// landed is closed when the runner has returned and the batch has been settled and delivered. The model keeps the flight until then.
	landed chan struct{}
}

// nextDeadline gives the first deadline that has not ended its job, zero when there is none. The caller holds the model's lock.
func (f *flight) nextDeadline() time.Time {
	var next time.Time
	for _, j := range f.jobs {
		if !j.ended {
			next = earliest(next, j.deadline)
		}
	}
	return next
}

// launch takes a decision's items out of the queue, for an instance; nil when there are none. The caller holds the lock and starts fly.
func (m *model) launch(instance int, send []int, now time.Time) *flight {
	f := &flight{instance: instance, sent: now, landed: make(chan struct{})}
	for _, i := range send {
		e, waited := m.queue.Take(m.lanes[i])
		if !waited {
			continue
		}
		j := e.Value
		j.flight = f
		f.jobs = append(f.jobs, j)
		f.frames = append(f.frames, backend.Frame{Frame: &j.frame.Frame, Session: j.frame.Session, State: m.remembered(e.Key)})
		if j.deadline.After(f.over) {
			f.over = j.deadline
		}
	}
	if len(f.jobs) == 0 {
		return nil
	}
	m.flights = append(m.flights, f)
	m.metrics.sent(f, now)
	return f
}

// fly runs one batch and settles it.
func (m *model) fly(ctx context.Context, f *flight) {
	defer m.wake()
	defer close(f.landed)
	ctx, cancel := context.WithDeadline(ctx, f.over)
	defer cancel()
	answers := m.ask(ctx, f.instance, f.frames)
	m.settle(f, answers, time.Now())
	for _, j := range f.jobs {
		j.frame.release()
	}
}

// ask runs a batch. Whatever the runner does, it returns one answer for each frame.
func (m *model) ask(ctx context.Context, instance int, frames []backend.Frame) (answers []reply.Answer) {
	defer func() {
		if p := recover(); p != nil {
			m.logger.ErrorContext(ctx, "a backend panicked; its batch fails", "panic", p, "stack", string(debug.Stack()))
			answers = reply.All(len(frames), media.Internal)
		}
	}()
	answers = m.cfg.Runner.Run(ctx, instance, frames)
	if len(answers) != len(frames) {
		m.logger.ErrorContext(ctx, "a backend gave another number of answers than it got frames; the batch fails", "frames", len(frames), "answers", len(answers))
		return reply.All(len(frames), media.Internal)
	}
	return answers
}

// settle ends the jobs of a batch that came back, but for those whose time was over: their answers are late and thrown away.
func (m *model) settle(f *flight, answers []reply.Answer, now time.Time) {
	m.mu.Lock()
	ends, late, ran := make([]end, 0, len(f.jobs)), 0, false
	for i, j := range f.jobs {
		a := answers[i]
		ran = ran || a.Error == media.NoError || a.Error == media.BackendTimeout
		switch {
		case j.ended:
			if a.Result != nil {
				late++
			}
		case a.Result == nil && a.Error == media.NoError:
			ends = m.failed(ends, j, media.Internal, now)
		case a.Error != media.NoError:
			ends = m.failed(ends, j, a.Error, now)
		case j.deadline.Before(now):
			ends = m.failed(ends, j, media.BackendTimeout, now)
			late++
		default:
			o := m.sentOutcome(j, now)
			o.Result = a.Result
			m.counts.Results++
			ends = m.finish(ends, j, o)
		}
	}
	m.counts.Late += uint32(late)
	if ran {
		m.policy.Observe(batch.Completion{Instance: f.instance, Size: len(f.jobs), Sent: f.sent, Done: now})
	}
	m.mu.Unlock()
	m.metrics.landed(f, now, late)
	m.deliver(ends)
}

// abandon ends what is left of a batch that does not come back. Its payloads are not released: the runner may still read them.
func (m *model) abandon(f *flight) {
	m.mu.Lock()
	var ends []end
	for _, j := range f.jobs {
		if !j.ended {
			ends = m.failed(ends, j, media.BackendTimeout, time.Now())
		}
	}
	m.mu.Unlock()
	m.deliver(ends)
}

// failed ends a job that was sent. The caller holds the lock.
func (m *model) failed(ends []end, j *job, code media.ErrorCode, now time.Time) []end {
	o := m.sentOutcome(j, now)
	o.Error = code
	m.counts.Errors[code]++
	return m.finish(ends, j, o)
}

// sentOutcome begins the outcome of a job that was sent.
func (m *model) sentOutcome(j *job, now time.Time) media.Outcome {
	o := j.frame.outcome(m.cfg.Name)
	o.BatchSize = len(j.flight.jobs)
	o.Timings.Queue, o.Timings.Infer = j.flight.sent.Sub(j.frame.Arrived), now.Sub(j.flight.sent)
	return o
}

// remembered gives what the model remembers of a stream; nil for models that take no sound, whose frames may be superseded, so that none of them needs the
// one before. The caller holds the lock.
func (m *model) remembered(key lane) *backend.State {
	if m.states == nil {
		return nil
	}
	s := m.states[key]
	if s == nil {
		s = &backend.State{}
		m.states[key] = s
	}
	return s
}

// reap forgets the flights that have landed, which frees their slots and lets their streams' next windows go. The caller holds the lock.
func (m *model) reap() {
	m.flights = slices.DeleteFunc(m.flights, func(f *flight) bool {
		select {
		case <-f.landed:
		default:
			return false
		}
		for _, j := range f.jobs {
			m.queue.Done(j.frame.lane())
		}
		return true
	})
}
