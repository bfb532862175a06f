package ledger

import (
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
	// End is when the stream ended, zero while it is open.
	End time.Time
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
	for i := range r.pairs {
		if p := &r.pairs[i]; p.final() {
			life.Outcomes = append(life.Outcomes, l.outcome(r, p))
		} else {
			life.InFlight = append(life.InFlight, s.models[p.model].Model)
		}
	}
	return life, true
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
