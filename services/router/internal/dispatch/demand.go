package dispatch

import (
	"time"

	"github.com/sluice-dev/sluice/pkg/batch"
	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/services/router/internal/demand"
)

// weighEvery is the time between two looks at what a model is asked for: a part of the seconds in which a camera is to follow its model.
const weighEvery = 250 * time.Millisecond

// scales weigh what a model is asked for against what it can do. The model's lock guards them.
type scales struct {
	gauge *demand.Gauge[lane] // nil for sound, which is not thinned
	next  time.Time           // when to weigh again
	// pressure is what the model was asked for at the last look, as a multiple of what it can do.
	pressure float64
}

// word is a demand on its way out: made under the model's lock, delivered without it.
type word struct {
	owner  Owner
	demand media.Demand
}

// arrived counts a frame of a stream that the queue knows.
func (s *scales) arrived(key lane, share media.Share) {
	if s.gauge != nil {
		s.gauge.Arrived(key, demand.Weight(share))
	}
}

func (s *scales) forget(key lane) {
	if s.gauge != nil {
		s.gauge.Forget(key)
	}
}

// weigh says what the owners of a model's streams are to be told now, and when to weigh again; zero while there are no streams. The caller holds the lock.
func (m *model) weigh(now time.Time) (words []word, next time.Time) {
	s := &m.scales
	if m.retired {
		return m.withdraw(), time.Time{}
	}
	thinned := s.gauge != nil && s.gauge.Streams() > 0
	if now.Before(s.next) {
		if !thinned {
			return nil, time.Time{}
		}
		return nil, s.next
	}
	s.next = now.Add(weighEvery)
	load, level := m.policy.Load(now), 0.0
	if thinned {
		for _, c := range s.gauge.Step(now, load) {
			words = append(words, word{c.Key.owner, media.Demand{Stream: c.Key.stream, Model: m.cfg.Name, MaxFramerate: c.Rate}})
		}
		load.Offered, level, next = max(load.Offered, s.gauge.Natural()), s.gauge.Level(), s.next
	}
	s.pressure = pressure(load)
	m.metrics.weighed(load, level, s.pressure)
	return words, next
}

// pressure gives what is asked of a model, as a multiple of what it can do. It is zero while nothing is known of that, and while no instance is well: then it is not the
// number of routers that is the trouble.
func pressure(load batch.Load) float64 {
	if load.Capacity <= 0 {
		return 0
	}
	return load.Offered / load.Capacity
}

// withdraw ends what has been demanded of the owners of a model's streams, and forgets them. The caller holds the lock.
func (m *model) withdraw() (words []word) {
	if m.scales.gauge == nil {
		return nil
	}
	for _, key := range m.scales.gauge.End() {
		words = append(words, word{key.owner, media.Demand{Stream: key.stream, Model: m.cfg.Name}})
	}
	return words
}

// tell delivers demands. The caller does not hold the lock.
func tell(words []word) {
	for _, w := range words {
		w.owner.Demand(w.demand)
	}
}
