package ledger

import (
	"time"

	"github.com/sluice-dev/sluice/pkg/media"
)

// stream is the account of one stream.
type stream struct {
	name             string
	last             uint32 // sequence of the newest unit, 0 before the first
	received, notDue uint32
	ended            time.Time // zero while open
	models           []account
	// records is a ring of the newest units, grown as they come: unit n lies at (n-1) % kept.
	records []record
}

// account is a stream's count for one model.
type account struct {
	media.ModelCounts
	// fed is true while the stream feeds the model, so that a unit which is not due for it counts as not sampled.
	fed bool
}

// record is one unit as the ledger keeps it.
type record struct {
	Unit
	sequence uint32
	pairs    []pair
}

func (s *stream) open() bool { return s.ended.IsZero() }

// model gives the index of a model's account, and opens one when there is none.
func (s *stream) model(name string) int {
	for i := range s.models {
		if s.models[i].Model == name {
			return i
		}
	}
	s.models = append(s.models, account{ModelCounts: media.ModelCounts{Model: name}})
	return len(s.models) - 1
}

// slot gives the place of the next unit, and whether another unit lies there that must be given up first.
func (s *stream) slot() (r *record, old bool) {
	i := int(s.last % kept)
	if i < len(s.records) {
		return &s.records[i], true
	}
	for len(s.records) <= i { // more than one step only after forget
		s.records = append(s.records, record{})
	}
	return &s.records[i], false
}

// record gives a unit that is still kept, nil otherwise.
func (s *stream) record(sequence uint32) *record {
	i := int((sequence - 1) % kept)
	if sequence == 0 || i >= len(s.records) || s.records[i].sequence != sequence {
		return nil
	}
	return &s.records[i]
}

// oldest gives the sequence of the oldest unit that is still kept, 0 when there is none.
func (s *stream) oldest() uint32 {
	first := uint32(1)
	if s.last > kept {
		first = s.last - kept + 1
	}
	for ; first <= s.last; first++ {
		if s.record(first) != nil {
			return first
		}
	}
	return 0
}

// forget lets go of the units, unless a pair is still open.
func (s *stream) forget() {
	for i := range s.models {
		if s.models[i].InFlight > 0 {
			return
		}
	}
	s.records = nil
}

// count enters a unit into the counts of the stream, and into those of the models that it is not due for.
func (s *stream) count(due []media.Due) {
	s.received++
	if len(due) == 0 {
		s.notDue++
	}
	for i := range s.models {
		if s.models[i].fed && !names(due, s.models[i].Model) {
			s.models[i].NotSampled++
		}
	}
}

// countLate counts a router's outcome that came after its pair was final, or after its unit left the window. One for a pair that never was
// is not counted, it is not late but made up; nor is one for a pair that no router had, which is another stage of ours giving it up too.
func (s *stream) countLate(p *pair, o media.Outcome) {
	left := s.record(o.Sequence) == nil && o.Sequence != 0 && o.Sequence <= s.last
	if p == nil && !left || p != nil && !p.sent {
		return
	}
	for i := range s.models {
		if s.models[i].Model == o.Model {
			s.models[i].Late++
		}
	}
}

func names(due []media.Due, model string) bool {
	for i := range due {
		if due[i].Model == model {
			return true
		}
	}
	return false
}

// countEnd moves a pair that became final from in flight to what became of it.
func (a *account) countEnd(p *pair) {
	a.InFlight--
	switch {
	case p.error != media.NoError:
		a.Errors[min(int(p.error), len(a.Errors)-1)]++
	case p.drop != media.NotDropped:
		a.Drops[min(int(p.drop), len(a.Drops)-1)]++
	default:
		a.Results++
	}
}

// add gives the place of another pair, with nothing in it but room for deliveries that a former unit's pair has left. There must be room.
func (r *record) add() *pair {
	r.pairs = r.pairs[:len(r.pairs)+1]
	p := &r.pairs[len(r.pairs)-1]
	*p = pair{deliveries: p.deliveries[:0]}
	return p
}

func (r *record) pair(model int) *pair {
	for i := range r.pairs {
		if r.pairs[i].model == model {
			return &r.pairs[i]
		}
	}
	return nil
}
