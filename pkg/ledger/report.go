package ledger

import (
	"slices"
	"time"

	"github.com/sluice-dev/sluice/pkg/media"
)

// Life is what the ledger knows of one unit.
type Life struct {
	Unit
	Sequence uint32
	// Outcomes are the final ones, in the order of the unit's models. Results are cut down: at most 8 detections without landmarks or 8
	// classes, and no embeddings, tensors or JSON.
	Outcomes []media.Outcome
	// InFlight names the models whose outcome is still open.
	InFlight []string
	// Ways tell how far the unit got for each model: first those of Outcomes, then those of InFlight, in their order.
	Ways []Way
	// End is when the stream ended, zero while it is open.
	End time.Time
}

// Way is how far a unit got for one model. All times are since its arrival.
type Way struct {
	Model string
	// Deadline is when its outcome was due.
	Deadline time.Duration
	// Prepared is when it was in the form that the model takes, and Sent when it went to the router. Zero means that it did not come so far.
	Prepared, Sent time.Duration
	// Timings are those of its outcome, or what is known before there is one.
	Timings media.Timings
	// Router is the name of the router that it was sent to; empty when it was not sent.
	Router string
	// Deliveries tell who was handed the outcome, in the order of handing; the first 16.
	Deliveries []Delivery
}

// Delivery is one handing of an outcome to a sink.
type Delivery struct {
	// Sink is the sink's name, for people.
	Sink string
	// After is the time since the unit's arrival.
	After time.Duration
}

// Due tells whether the unit was due for any model.
func (f *Life) Due() bool { return len(f.Outcomes)+len(f.InFlight) > 0 }

// Explain gives one unit's life. It returns false when the unit is not known, or not any more: the last 512 of a stream are kept, until
// 60 s after its end. What it returns shares no memory with the ledger but immutable results.
func (l *Ledger) Explain(name string, sequence uint32) (Life, bool) {
	s := l.byName[name]
	if s == nil {
		return Life{}, false
	}
	r := s.record(sequence)
	if r == nil {
		return Life{}, false
	}
	life := Life{Unit: r.Unit, Sequence: sequence, End: s.ended}
	var open []Way
	for i := range r.pairs {
		if p := &r.pairs[i]; p.final() {
			life.Outcomes = append(life.Outcomes, l.outcome(r, p))
			life.Ways = append(life.Ways, l.way(r, p))
		} else {
			life.InFlight = append(life.InFlight, s.models[p.model].Model)
			open = append(open, l.way(r, p))
		}
	}
	life.Ways = append(life.Ways, open...)
	return life, true
}

// way tells how far a pair got.
func (l *Ledger) way(r *record, p *pair) Way {
	return Way{
		Model: p.stream.models[p.model].Model, Deadline: p.until.Add(-l.grace).Sub(r.Arrival), Prepared: p.prepared, Sent: p.sentAt,
		Timings: p.timings, Router: p.router, Deliveries: slices.Clone(p.deliveries),
	}
}

// Counts gives the counts of every stream that the session has had, in the order of their opening. The caller owns what it returns.
func (l *Ledger) Counts() []media.StreamCounts {
	out := make([]media.StreamCounts, 0, len(l.streams))
	for _, s := range l.streams {
		c := media.StreamCounts{Stream: s.name, Received: s.received, NotDue: s.notDue, Accepted: s.received - s.notDue}
		for i := range s.models {
			c.Models = append(c.Models, s.models[i].ModelCounts)
		}
		out = append(out, c)
	}
	return out
}
