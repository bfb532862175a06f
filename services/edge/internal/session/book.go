package session

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/sluice-dev/sluice/pkg/activity"
	"github.com/sluice-dev/sluice/pkg/ledger"
	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/services/edge/internal/spans"
)

// grace is how long after a unit's deadline a router's answer is still waited for.
const grace = 40 * time.Millisecond

// book guards the session's ledger and tells of each outcome as it becomes final. It is safe for concurrent use.
type book struct {
	// deliver is called without the lock, for every outcome once. It must not block.
	deliver func(media.Outcome)
	wake    chan struct{} // the next expiry may have come nearer
	quiet   chan struct{} // signalled when nothing is in flight any more
	// spans is told of every unit before anything becomes of it; nil where nothing is traced.
	spans *spans.Session

	mu     sync.Mutex
	ledger *ledger.Ledger
	pulse  activity.Board
	ended  map[string]bool // streams; those that the ledger knows, so that it bounds them
	closed bool
}

// errStreamEnded is returned for a stream that has ended. The ledger would begin it again, and nobody would see to its units.
var errStreamEnded = errors.New("session: the stream has ended")

func newBook(session string, deliver func(media.Outcome)) *book {
	return &book{deliver: deliver, wake: make(chan struct{}, 1), quiet: make(chan struct{}, 1), ledger: ledger.New(session, grace), ended: make(map[string]bool)}
}

// open makes a stream known, or changes the models that it feeds, until it has ended.
func (b *book) open(stream string, models []string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed || b.ended[stream] {
		return errStreamEnded
	}
	return b.ledger.OpenStream(stream, models)
}

// receive numbers a unit; 0 means that the stream is closed.
func (b *book) receive(stream string, u ledger.Unit, due []media.Due) uint32 {
	b.mu.Lock()
	u.Judged = time.Now()
	sequence, forced := b.ledger.Receive(stream, u, due)
	if sequence != 0 {
		b.spans.Begin(stream, sequence, u.Arrival, due)
		b.pulse.Unit(stream, u.Judged)
	}
	b.note(u.Judged, forced...)
	b.mu.Unlock()
	b.tell(forced)
	if len(due) > 0 {
		select {
		case b.wake <- struct{}{}:
		default:
		}
	}
	return sequence
}

// prepared notes the times of the stages before sending.
func (b *book) prepared(stream string, sequence uint32, due []media.Due, t media.Timings) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	for _, d := range due {
		b.ledger.Prepared(stream, sequence, d.Model, t, now)
	}
}

// sent notes that a unit went to a router, which has a name for people.
func (b *book) sent(stream string, sequence uint32, models []string, router string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	for _, model := range models {
		b.ledger.Sent(stream, sequence, model, router, now)
	}
}

// delivered notes that a sink, which has a name for people, was handed an outcome.
func (b *book) delivered(stream string, sequence uint32, model, sink string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ledger.Delivered(stream, sequence, model, sink, time.Now())
}

// note enters what became final into the stream's activity; the caller holds the lock.
func (b *book) note(now time.Time, outcomes ...media.Outcome) {
	for i := range outcomes {
		b.pulse.Outcome(&outcomes[i], outcomes[i].Timings.Total, now)
	}
}

// finalise makes an outcome final, unless it is already or nobody knows the unit.
func (b *book) finalise(o media.Outcome) {
	b.mu.Lock()
	now := time.Now()
	final, ok := b.ledger.Finalise(o, now)
	if ok {
		b.note(now, final)
	}
	b.noteQuiet()
	b.mu.Unlock()
	if ok {
		b.deliver(final)
	}
}

// noteQuiet signals when nothing is in flight; the caller holds the lock.
func (b *book) noteQuiet() {
	if _, open := b.ledger.Next(); open {
		return
	}
	select {
	case b.quiet <- struct{}{}:
	default:
	}
}

// settle waits until nothing is in flight, for at most limit. No unit may be received meanwhile.
func (b *book) settle(limit time.Duration) {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	for {
		if _, open := b.next(); !open {
			return
		}
		select {
		case <-b.quiet: // perhaps of an earlier silence
		case <-timer.C:
			return
		}
	}
}

func (b *book) closeStream(stream string) {
	b.mu.Lock()
	b.ended[stream] = true
	now := time.Now()
	out := b.ledger.CloseStream(stream, now)
	b.note(now, out...)
	b.mu.Unlock()
	b.tell(out)
}

// close makes everything final. What comes later is thrown away.
func (b *book) close() {
	b.mu.Lock()
	b.closed = true
	out := b.ledger.Close(time.Now())
	b.mu.Unlock()
	b.tell(out)
}

func (b *book) counts() []media.StreamCounts {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.ledger.Counts()
}

// state gives the counts of every stream and, in the same order, how busy it is.
func (b *book) state() (counts []media.StreamCounts, activity []media.StreamActivity) {
	b.mu.Lock()
	defer b.mu.Unlock()
	counts = b.ledger.Counts()
	now := time.Now()
	for _, s := range counts {
		activity = append(activity, b.pulse.Stream(s.Stream, now))
	}
	return counts, activity
}

func (b *book) explain(stream string, sequence uint32) (ledger.Life, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.ledger.Explain(stream, sequence)
}

// run gives up what is overdue, until ctx ends. What is overdue already when it comes in is given up a grace later: whoever received it is about to say
// what became of it, and knows better.
func (b *book) run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	var at time.Time // when the timer fires; zero when it does not
	for {
		select {
		case <-ctx.Done():
			return
		case <-b.wake:
			next, open := b.next()
			if soonest := time.Now().Add(grace); next.Before(soonest) {
				next = soonest
			}
			if open && (at.IsZero() || next.Before(at)) {
				at = next
				timer.Reset(time.Until(at))
			}
		case <-timer.C:
			if at = b.expire(time.Now()); !at.IsZero() {
				timer.Reset(time.Until(at))
			}
		}
	}
}

// next tells when something will be overdue.
func (b *book) next() (at time.Time, open bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.ledger.Next()
}

// expire gives up what is overdue, and tells when the next will be; zero when nothing is in flight.
func (b *book) expire(now time.Time) (next time.Time) {
	b.mu.Lock()
	out := b.ledger.Expire(now)
	b.note(now, out...)
	b.noteQuiet()
	next, open := b.ledger.Next()
	b.mu.Unlock()
	b.tell(out)
	if !open {
		return time.Time{}
	}
	return next
}

func (b *book) tell(outcomes []media.Outcome) {
	for _, o := range outcomes {
		b.deliver(o)
	}
}
