// Package spans makes the edge's part of a unit's trace; see pkg/trace for all of it. A unit is traced from when it is numbered until its last outcome has been told.
package spans

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	oteltrace "go.opentelemetry.io/otel/trace"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/pkg/trace"
)

// Session has the traced units of one session that have an outcome to come. Each of these ends by its deadline, which bounds them. A nil Session traces nothing, and where
// nothing is traced its methods do next to nothing. It is safe for concurrent use.
type Session struct {
	id     string
	tracer *trace.Tracer
	traces trace.Session
	open   atomic.Int32 // len(units), so that none is looked for where there is none

	mu    sync.Mutex
	units map[key]*Unit
}

type key struct {
	stream   string
	sequence uint32
}

// NewSession makes the session of a public id; nil for a nil tracer.
func NewSession(id string, tracer *trace.Tracer) *Session {
	if tracer == nil {
		return nil
	}
	return &Session{id: id, tracer: tracer, traces: trace.Of(id), units: make(map[key]*Unit)}
}

// Begin decides whether a unit is traced, and begins its trace if it is: before any outcome of it is told, and only for one that is due for a model.
func (s *Session) Begin(stream string, sequence uint32, arrival time.Time, due []media.Due) {
	if s == nil || len(due) == 0 {
		return
	}
	id := s.traces.Unit(stream, sequence)
	if !s.tracer.Takes(id) {
		return
	}
	u := &Unit{session: s, several: len(due) > 1, decided: time.Now()}
	for _, d := range due {
		if !slices.Contains(u.open, d.Model) {
			u.open = append(u.open, d.Model)
		}
	}
	u.span = s.tracer.Begin(id, "unit", arrival, append(trace.Unit(s.id, stream, sequence), trace.Models(due))...)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.units[key{stream, sequence}] = u
	s.open.Add(1)
}

// Unit gives a traced unit that has an outcome to come; nil for all others.
func (s *Session) Unit(stream string, sequence uint32) *Unit {
	if s == nil || s.open.Load() == 0 {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.units[key{stream, sequence}]
}

// Sent notes that a unit is on its way to a router now, in the form that the models take.
func (s *Session) Sent(stream string, sequence uint32, models []string) {
	u := s.Unit(stream, sequence)
	if u == nil {
		return
	}
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range u.legs {
		if !l.sent && slices.ContainsFunc(l.open, func(m string) bool { return slices.Contains(models, m) }) {
			l.sent = true
			trace.Stage(l.span, "slot", l.offered, now)
		}
	}
}

// Final begins to tell of a unit's final outcome for a model; nil where the unit is not traced.
func (s *Session) Final(o media.Outcome) *Final {
	u := s.Unit(o.Stream, o.Sequence)
	if u == nil {
		return nil
	}
	return &Final{unit: u, outcome: o, begun: time.Now()}
}

// Unit is a traced unit. The methods of a nil Unit do nothing. It is safe for concurrent use.
type Unit struct {
	session *Session
	span    oteltrace.Span
	several bool // models; what became of the unit for each is not said of the unit then
	decided time.Time

	// The session's lock guards the rest.
	open    []string // models without an outcome
	legs    []*leg
	decoded bool
}

// leg is a unit's way through the uplink to a router and back, in one form.
type leg struct {
	span    oteltrace.Span
	offered time.Time
	sent    bool
	open    []string // models without an outcome
}

// Arrived records how the unit came: its first and last packets' arrivals.
func (u *Unit) Arrived(first, last time.Time) {
	u.stage("receive", first, last)
	if u != nil {
		u.stage("order", last, u.decided)
	}
}

// Begun records that the unit goes to the decoder now, and gives the time; zero for a nil Unit, which has no use for it.
func (u *Unit) Begun() (now time.Time) {
	if u != nil {
		now = time.Now()
		u.stage("turn", u.decided, now)
	}
	return now
}

// Decoded records what the unit took in the decoder.
func (u *Unit) Decoded(begun time.Time, decode, convert time.Duration) {
	if u == nil {
		return
	}
	decoded := begun.Add(decode)
	u.session.mu.Lock()
	before := u.decoded
	u.decoded = true
	u.session.mu.Unlock()
	if !before { // in another form
		u.stage("decode", begun, decoded)
	}
	if convert > 0 {
		u.stage("convert", decoded, decoded.Add(convert))
	}
}

// stage records a stage that is over.
func (u *Unit) stage(name string, from, to time.Time) {
	if u != nil && !to.Before(from) {
		trace.Stage(u.span, name, from, to)
	}
}

// Context gives a context in which the unit's span is open, for what is called or logged meanwhile.
func (u *Unit) Context(ctx context.Context) context.Context {
	if u == nil {
		return ctx
	}
	return oteltrace.ContextWithSpan(ctx, u.span)
}

// Offer begins the unit's way to a router, in the form of an input for the models that it is due for, and gives what the router has to know of the trace.
func (u *Unit) Offer(input uint32, due []media.Due) media.Trace {
	if u == nil {
		return media.Trace{}
	}
	l := &leg{offered: time.Now()}
	for _, d := range due {
		l.open = append(l.open, d.Model)
	}
	_, l.span = trace.Child(context.Background(), u.span, "uplink", l.offered,
		oteltrace.WithSpanKind(oteltrace.SpanKindClient), oteltrace.WithAttributes(trace.InputKey.Int64(int64(input)), trace.Models(due)))
	u.session.mu.Lock()
	defer u.session.mu.Unlock()
	u.legs = append(u.legs, l)
	return trace.Parent(l.span)
}

// end notes that the unit has its outcome for a model, and ends what has no more to come.
func (u *Unit) end(o media.Outcome, now time.Time) {
	s := u.session
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range u.legs {
		if i := slices.Index(l.open, o.Model); i >= 0 {
			if l.open = slices.Delete(l.open, i, i+1); len(l.open) == 0 {
				l.span.End(oteltrace.WithTimestamp(now))
			}
		}
	}
	i := slices.Index(u.open, o.Model)
	if i < 0 {
		return
	}
	if !u.several {
		trace.Ended(u.span, o)
	}
	if u.open = slices.Delete(u.open, i, i+1); len(u.open) == 0 {
		u.span.End(oteltrace.WithTimestamp(now))
		delete(s.units, key{o.Stream, o.Sequence})
		s.open.Add(-1)
	}
}

// Final is an outcome of a traced unit while it is told. The methods of a nil Final do nothing.
type Final struct {
	unit    *Unit
	outcome media.Outcome
	begun   time.Time
}

// Delivered gives what is to be called, from any goroutine, when the outcome has been written to a sink of the kind that is named; nil for a nil Final.
func (f *Final) Delivered() func(sink string) {
	if f == nil {
		return nil
	}
	return func(sink string) {
		trace.Stage(f.unit.span, "deliver", f.begun, time.Now(), trace.ModelKey.String(f.outcome.Model), trace.SinkKey.String(sink))
	}
}

// Told notes that the outcome is with all sinks now.
func (f *Final) Told() {
	if f == nil {
		return
	}
	now := time.Now()
	_, span := trace.Child(context.Background(), f.unit.span, "outcome", f.begun)
	trace.Ended(span, f.outcome)
	span.End(oteltrace.WithTimestamp(now))
	f.unit.end(f.outcome, now)
}
