package dispatch

import (
	"context"
	"runtime/debug"
	"slices"
	"time"

	"github.com/sluice-dev/sluice/pkg/batch"
	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/pkg/queue"
	"github.com/sluice-dev/sluice/services/router/internal/backend"
	"github.com/sluice-dev/sluice/services/router/internal/reply"
)

// flight is one batch that was sent and has not come back. Its seats do not change once it is sent, but for what their moved says. Their jobs may be gone once it is settled.
type flight struct {
	instance int
	seats    []seat
	frames   []backend.Frame
	sent     time.Time
	// over is the last of the jobs' deadlines: then nobody waits for the answer any more.
	over time.Time
	// expected is when the policy believes that it comes back; zero when it has no belief.
	expected time.Time
	// cancel gives it up: its context ends.
	cancel context.CancelFunc
	// givenUp is true once that was done because it is overdue. The model's lock guards it.
	givenUp bool
	// settled is true once every job has its outcome or has moved on. The model's lock guards it.
	settled bool
	// traced is true when one of its frames is.
	traced bool
	// again is what it was before, for a batch that runs again.
	again *rerun
	// ended is what the policy is told of it, once landed is closed; charged says that it has been kept back as a charge against the instance.
	ended   batch.Completion
	charged bool
	// landed is closed when the runner has returned and the batch has been settled and delivered. The model keeps the flight until then.
	landed chan struct{}
	ends   []end // scratch of settle
}

// seat is a job's place in a batch. When the batch came back without the job's outcome, the job has moved on: it waits again, or is to run again as part of a
// smaller batch. Only the flight's own goroutine and then, once it has landed, reap use moved and held.
type seat struct {
	job  *job
	lane lane // the job's
	// moved is true when the job has moved on, with its payload.
	moved bool
	// held is true when its stream goes on being served, as far as the queue knows.
	held bool
}

// nextDeadline gives the first deadline that has not ended its job, zero when there is none. The caller holds the model's lock.
func (f *flight) nextDeadline() time.Time {
	var next time.Time
	if f.settled {
		return next
	}
	for i := range f.seats {
		if j := f.seats[i].job; !j.ended {
			next = earliest(next, j.deadline)
		}
	}
	return next
}

// launch takes a decision's items out of the queue and sends them to an instance; false when there are none. The caller holds the lock.
func (m *model) launch(ctx context.Context, instance int, send []int, now time.Time) bool {
	if len(send) == 0 {
		return false
	}
	f := m.newFlight(instance, now)
	for _, i := range send {
		e, waited := m.queue.Take(m.lanes[i])
		if !waited {
			continue
		}
		e.Value.serial = e.Serial
		m.board(f, e.Value)
	}
	if len(f.seats) == 0 {
		m.rest(f)
		return false
	}
	m.budget.sent(now)
	m.start(ctx, f)
	return true
}

// newFlight makes an empty batch for an instance. The caller holds the lock.
func (m *model) newFlight(instance int, now time.Time) *flight {
	f := &flight{}
	if last := len(m.idle) - 1; last >= 0 {
		f, m.idle[last] = m.idle[last], nil
		m.idle = m.idle[:last]
	}
	f.instance, f.sent, f.landed = instance, now, make(chan struct{})
	return f
}

// rest keeps the memory of a batch that is over. The caller holds the lock.
func (m *model) rest(f *flight) {
	clear(f.seats)
	clear(f.frames)
	*f = flight{seats: f.seats[:0], frames: f.frames[:0], ends: f.ends}
	m.idle = append(m.idle, f)
}

// board gives a job a place in a batch. The caller holds the lock.
func (m *model) board(f *flight, j *job) {
	j.reading = true
	f.traced = f.traced || j.frame.Span != nil
	at := j.frame.lane()
	f.seats = append(f.seats, seat{job: j, lane: at})
	if j.state == nil {
		j.state = m.remembered(at)
	}
	f.frames = append(f.frames, backend.Frame{Frame: &j.frame.Frame, Session: j.frame.Session, State: j.state, Holder: j.frame})
	if j.deadline.After(f.over) {
		f.over = j.deadline
	}
}

// start sends a batch. The caller holds the lock.
func (m *model) start(ctx context.Context, f *flight) {
	for i := range f.seats {
		j := f.seats[i].job
		j.sent, j.size = f.sent, len(f.seats)
	}
	ctx, f.cancel = context.WithDeadline(ctx, f.over)
	in := &m.instances[f.instance]
	in.flights = append(in.flights, f)
	if m.forecaster != nil {
		f.expected = m.forecaster.Forecast(f.instance, m.view()[f.instance].Flights)
	}
	m.metrics.sent(f)
	go m.fly(ctx, f) // joined by stop
}

// fly runs one batch and settles it.
func (m *model) fly(ctx context.Context, f *flight) {
	defer m.wake()
	defer close(f.landed)
	defer f.cancel()
	var answers []reply.Answer
	if f.traced {
		answers = m.askTraced(ctx, f)
	} else {
		answers = m.ask(ctx, f.instance, f.frames)
	}
	m.settle(f, answers, time.Now())
	for i := range f.seats {
		if !f.seats[i].moved {
			f.seats[i].job.frame.Release()
		}
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

// settle ends the jobs of a batch that came back, but for those whose time was over: their answers are late and thrown away. Those that failed through no fault of
// their own may get another chance.
func (m *model) settle(f *flight, answers []reply.Answer, now time.Time) {
	m.mu.Lock()
	ends, late := f.ends, 0
	var lost, refused []*seat
	for i := range f.seats {
		s, a := &f.seats[i], answers[i]
		switch {
		case s.job.ended:
			if a.Result != nil {
				late++
			}
		case a.Result == nil && a.Error == media.NoError:
			ends = m.failed(ends, s.job, media.Internal, now)
		case a.Error == media.BackendUnavailable:
			lost = append(lost, s)
		case a.Error == media.BackendRejected || a.Error == media.BackendProtocol:
			s.job.code = a.Error
			refused = append(refused, s)
		case a.Error != media.NoError:
			ends = m.failed(ends, s.job, a.Error, now)
		case s.job.deadline.Before(now):
			ends = m.failed(ends, s.job, media.BackendTimeout, now)
			late++
		default:
			o := m.sentOutcome(s.job, now)
			o.Result = a.Result
			m.counts.Results++
			m.suspicions.clear(s.lane)
			ends = m.finish(ends, s.job, o)
		}
	}
	m.counts.Late += uint32(late)
	f.ended = batch.Completion{
		Instance: f.instance, Size: len(f.seats), Sent: f.sent, Done: now, Compute: min(answers[0].Compute, now.Sub(f.sent)), End: howEnded(f, answers),
	}
	ends = m.lost(f, lost, now, ends)
	ends = m.refused(f, refused, now, ends)
	f.settled = true
	m.mu.Unlock()
	m.metrics.landed(f, late)
	m.deliver(ends)
	clear(ends)
	f.ends = ends[:0]
}

// howEnded says what a batch's answers tell of its instance. The caller holds the lock.
func howEnded(f *flight, answers []reply.Answer) batch.End {
	if slices.ContainsFunc(answers, func(a reply.Answer) bool { return a.Error == media.NoError && a.Result != nil }) {
		return batch.Ran
	}
	switch answers[0].Error {
	case media.BackendUnavailable:
		if f.givenUp {
			return batch.Silent
		}
		return batch.Unreachable
	case media.BackendTimeout:
		return batch.Silent
	default:
		return batch.Refused
	}
}

// abandon ends what is left of a batch that does not come back. Its payloads are not released: the runner may still read them.
func (m *model) abandon(f *flight) {
	m.mu.Lock()
	var ends []end
	for i := range f.seats {
		if j := f.seats[i].job; !f.settled && !j.ended {
			ends = m.failed(ends, j, media.BackendTimeout, time.Now())
		}
	}
	m.mu.Unlock()
	m.deliver(ends)
}

// failed ends a job with an error. The caller holds the lock.
func (m *model) failed(ends []end, j *job, code media.ErrorCode, now time.Time) []end {
	o := m.sentOutcome(j, now)
	o.Error = code
	m.counts.Errors[code]++
	return m.finish(ends, j, o)
}

// sentOutcome begins the outcome of a job, with what is known of its sending if it was sent.
func (m *model) sentOutcome(j *job, now time.Time) media.Outcome {
	o := j.frame.outcome(m.cfg.Name)
	if j.size > 0 {
		o.BatchSize = j.size
		o.Timings.Queue, o.Timings.Infer = j.sent.Sub(j.frame.Arrived), now.Sub(j.sent)
	}
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

// reap forgets the flights that have landed, which frees their slots and lets their streams' next windows go, and tells the policy how they ended. The caller holds
// the lock.
func (m *model) reap() {
	for i := range m.instances {
		in := &m.instances[i]
		in.flights = slices.DeleteFunc(in.flights, func(f *flight) bool {
			select {
			case <-f.landed:
			default:
				return false
			}
			for k := range f.seats {
				if s := &f.seats[k]; !s.held {
					m.queue.Done(s.lane)
				}
			}
			m.landed = append(m.landed, f)
			return true
		})
	}
	for _, f := range m.landed {
		m.judge(f)
		m.rest(f)
	}
	clear(m.landed)
	m.landed = m.landed[:0]
}

// entry gives a job as what the queue holds.
func (j *job) entry() queue.Entry[lane, *job] {
	f := j.frame
	return queue.Entry[lane, *job]{
		Key: f.lane(), Value: j, Arrived: f.Arrived, Deadline: j.deadline, Weight: f.Share.Weight, Class: f.Share.Class, Serial: j.serial,
	}
}
