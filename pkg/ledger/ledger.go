// Package ledger keeps the books of one session: which units arrived, for which models each was due, and what became of every such pair.
// It alone makes outcomes final, so that each (unit, model) pair has exactly one outcome and the counts always add up:
//
//	stream:  Received = NotDue + Accepted
//	model:   Accepted = Results + Drops + Errors + InFlight
//
// A Ledger is a single-threaded value: the session guards it with one lock. It reads no clock; every time is an argument. Its memory is
// bounded by streams and models: a stream keeps its last 512 units, and a pair that is still open when its unit leaves that window is made
// final there and then.
package ledger

import (
	"errors"
	"time"

	"github.com/sluice-dev/sluice/pkg/media"
)

const (
	// kept is the number of units of a stream that Explain can still tell about.
	kept = 512
	// keptAfterEnd is how long the units of an ended stream are kept.
	keptAfterEnd = 60 * time.Second
	// keptDeliveries is the number of sinks that are remembered for an outcome.
	keptDeliveries = 16
	// maxStreams bounds the names that one session can open over its life; their counts are kept for the summary.
	maxStreams = 64
)

// ErrTooManyStreams is returned by OpenStream when the session has used up its names.
var ErrTooManyStreams = errors.New("ledger: the session has opened 64 streams already; reuse the name of an ended one")

// Unit is what the ledger notes of a unit when it is whole, or known to be lost.
type Unit struct {
	// Arrival is when the unit's first packet arrived. Timings.Total of its outcomes runs from here.
	Arrival time.Time
	// Judged is when it was decided for which models the unit is due: it was whole then, or known to be lost. Zero when not known.
	Judged time.Time
	RTP    media.RTP
	// Captured is zero when not known.
	Captured time.Time
	Clock    media.Clock
}

// Ledger holds one session's books. It is not safe for concurrent use.
type Ledger struct {
	session string
	grace   time.Duration
	byName  map[string]*stream
	streams []*stream // in the order of opening
	agenda  agenda    // the open pairs, the one to give up first on top
}

// New makes the ledger of a session. A pair that nobody made final is given up at its deadline + grace.
func New(session string, grace time.Duration) *Ledger {
	return &Ledger{session: session, grace: grace, byName: make(map[string]*stream)}
}

// OpenStream makes a stream known and names the models that it feeds from now on; units that are not due for one of them count as its
// NotSampled. Opening an open stream replaces its models; opening an ended one continues its sequence and its counts, so that no two units
// of a session are ever confused.
func (l *Ledger) OpenStream(name string, models []string) error {
	s := l.byName[name]
	if s == nil {
		if len(l.streams) >= maxStreams {
			return ErrTooManyStreams
		}
		s = &stream{name: name}
		l.byName[name] = s
		l.streams = append(l.streams, s)
	}
	s.ended = time.Time{}
	for i := range s.models {
		s.models[i].fed = false
	}
	for _, model := range models {
		s.models[s.model(model)].fed = true
	}
	return nil
}

// Receive notes a unit of an open stream with the models that it is due for, and numbers it: sequences start at 1 and rise by one. It
// returns 0, and notes nothing, when the stream is not open.
//
// The outcomes returned are those that the new unit forced to be final, nearly always none: when the unit that leaves the stream's window
// of 512 still has open pairs, they are dropped as Overloaded, at the new unit's Arrival.
func (l *Ledger) Receive(name string, u Unit, due []media.Due) (sequence uint32, forced []media.Outcome) {
	s := l.byName[name]
	if s == nil || !s.open() || s.last == ^uint32(0) {
		return 0, nil
	}
	r, old := s.slot()
	if old {
		forced = l.giveUp(r, media.Overloaded, u.Arrival, all)
	}
	s.last++
	*r = record{Unit: u, sequence: s.last, pairs: r.pairs[:0]}
	s.count(due)
	if cap(r.pairs) < len(due) {
		r.pairs = make([]pair, 0, len(due)) // the agenda points into it: it must not move while pairs are open
	}
	for _, d := range due {
		model := s.model(d.Model)
		if r.pair(model) != nil {
			continue // named twice: one outcome is owed, not two
		}
		s.models[model].Accepted++
		s.models[model].InFlight++
		p := r.add()
		p.stream, p.record, p.model, p.until = s, s.last, model, d.Deadline.Add(l.grace)
		l.agenda.add(p)
	}
	return s.last, forced
}

// Prepared notes how long the stages before sending took for a pair, for outcomes that do not carry it themselves, and that they are over.
// Unknown and final pairs are ignored.
func (l *Ledger) Prepared(name string, sequence uint32, model string, t media.Timings, now time.Time) {
	if p := l.find(name, sequence, model); p != nil && !p.final() {
		p.timings, p.prepared = t, max(1, l.after(p, now)) // zero is never
	}
}

// Sent notes that a pair was sent to a router, which has a name for people: if nothing comes back, the router lost it. For a pair that is final
// already it means that the router's answer will be Late. Unknown pairs are ignored.
func (l *Ledger) Sent(name string, sequence uint32, model, router string, now time.Time) {
	if p := l.find(name, sequence, model); p != nil {
		p.sent, p.sentAt, p.router = true, max(1, l.after(p, now)), router
	}
}

// Delivered notes that a sink, which has a name for people, was handed the outcome of a pair. Of a pair the first 16 are kept; unknown and open pairs
// are ignored.
func (l *Ledger) Delivered(name string, sequence uint32, model, sink string, now time.Time) {
	if p := l.find(name, sequence, model); p != nil && p.final() && len(p.deliveries) < keptDeliveries {
		p.deliveries = append(p.deliveries, Delivery{Sink: sink, After: l.after(p, now)})
	}
}

// after gives the time since a pair's unit arrived.
func (l *Ledger) after(p *pair, now time.Time) time.Duration {
	return max(0, now.Sub(p.stream.record(p.record).Arrival))
}

// Finalise makes a pair's outcome final. Of o it reads Stream, Sequence and Model, what became of the unit, BatchSize and Timings; the
// outcome it returns has the rest filled in from the ledger, Timings.Total included. An outcome without result, drop and error is made an
// Internal error; of one with several the error counts before the drop, the drop before the result.
//
// It returns false when the outcome must be thrown away: the pair is final already, which counts as Late if it was sent, or never existed.
func (l *Ledger) Finalise(o media.Outcome, now time.Time) (media.Outcome, bool) {
	s := l.byName[o.Stream]
	if s == nil {
		return media.Outcome{}, false
	}
	p := l.find(o.Stream, o.Sequence, o.Model)
	if p == nil || p.final() {
		s.countLate(p, o)
		return media.Outcome{}, false
	}
	p.settle(o)
	return l.close(p, now), true
}

// Next gives the time at which Expire has something to do; false when nothing is in flight.
func (l *Ledger) Next() (time.Time, bool) {
	if len(l.agenda) == 0 {
		return time.Time{}, false
	}
	return l.agenda[0].until, true
}

// Expire gives up the pairs whose deadline + grace has come: RouterLost when they were sent, Expired when they were not.
func (l *Ledger) Expire(now time.Time) []media.Outcome {
	var out []media.Outcome
	for len(l.agenda) > 0 && !l.agenda[0].until.After(now) {
		p := l.agenda[0]
		if p.sent {
			p.error = media.RouterLost
		} else {
			p.drop = media.Expired
		}
		out = append(out, l.close(p, now))
	}
	for _, s := range l.streams {
		if !s.open() && now.Sub(s.ended) >= keptAfterEnd {
			s.forget()
		}
	}
	return out
}

// CloseStream ends a stream. Its pairs that were not sent are dropped as Draining; those that were stay open, since the router may still
// answer them, and end by Finalise or Expire at the latest. What Explain knows is kept for 60 s.
func (l *Ledger) CloseStream(name string, now time.Time) []media.Outcome {
	s := l.byName[name]
	if s == nil || !s.open() {
		return nil
	}
	s.ended = now
	return l.giveUpStream(s, now, unsent)
}

// Close ends every stream and makes everything in flight final as Draining: afterwards InFlight is zero everywhere, which is the session's
// summary. Nothing can be received any more unless a stream is opened again.
func (l *Ledger) Close(now time.Time) []media.Outcome {
	var out []media.Outcome
	for _, s := range l.streams {
		if s.open() {
			s.ended = now
		}
		out = append(out, l.giveUpStream(s, now, all)...)
	}
	return out
}

// giveUpStream drops the open pairs of a stream that match as Draining, oldest unit first.
func (l *Ledger) giveUpStream(s *stream, now time.Time, match func(*pair) bool) []media.Outcome {
	var out []media.Outcome
	for sequence := s.oldest(); sequence != 0 && sequence <= s.last; sequence++ {
		out = append(out, l.giveUp(s.record(sequence), media.Draining, now, match)...)
	}
	return out
}

// giveUp drops the open pairs of a unit that match.
func (l *Ledger) giveUp(r *record, reason media.DropReason, now time.Time, match func(*pair) bool) []media.Outcome {
	var out []media.Outcome
	for i := range r.pairs {
		if p := &r.pairs[i]; !p.final() && match(p) {
			p.drop = reason
			out = append(out, l.close(p, now))
		}
	}
	return out
}

func all(*pair) bool      { return true }
func unsent(p *pair) bool { return !p.sent }

// close takes a settled pair out of the agenda, counts it and gives its outcome. It is the one place where a pair becomes final.
func (l *Ledger) close(p *pair, now time.Time) media.Outcome {
	l.agenda.remove(p)
	r := p.stream.record(p.record)
	p.timings.Total = l.after(p, now)
	p.stream.models[p.model].countEnd(p)
	out := l.outcome(r, p)
	p.result = kernel(p.result)
	return out
}

// outcome writes a final pair out.
func (l *Ledger) outcome(r *record, p *pair) media.Outcome {
	return media.Outcome{
		Session: l.session, Stream: p.stream.name, Sequence: r.sequence, RTP: r.RTP, Captured: r.Captured, Clock: r.Clock,
		Model: p.stream.models[p.model].Model, BatchSize: p.batch, Result: p.result, Drop: p.drop, Error: p.error, Timings: p.timings,
	}
}

func (l *Ledger) find(name string, sequence uint32, model string) *pair {
	s := l.byName[name]
	if s == nil {
		return nil
	}
	r := s.record(sequence)
	if r == nil {
		return nil
	}
	for i := range r.pairs {
		if s.models[r.pairs[i].model].Model == model {
			return &r.pairs[i]
		}
	}
	return nil
}
