// Package sample decides which units of a stream are due for which models, by media time: the time at which the sender captured them, not
// the time at which the network delivered them. A burst after a stall is then sampled like the seconds it shows.
//
// Its values are single-threaded and read no clock.
package sample

import (
	"math"
	"time"

	"github.com/sluice-dev/sluice/pkg/media"
)

const (
	// jump is how far media time may go back before it counts as a new beginning. Less is a stream with reordered pictures (B-frames).
	jump = time.Second
	// longestSpacing bounds the estimate of the source's interval.
	longestSpacing = time.Second
)

// Sampler picks the due units of one stream. The zero value is ready and has no models. It is not safe for concurrent use.
type Sampler struct {
	models []schedule
	// last is the media time of the newest unit; spacing is the mean interval between units, zero until two were seen.
	last    time.Duration
	started bool
	spacing time.Duration
}

// schedule is one model's rhythm.
type schedule struct {
	media.Model
	rate     float64       // units a second: the model's own, or the limit where that is lower; zero when every unit is due
	interval time.Duration // of the rate; zero when every unit is due
	next     time.Duration // media time of the next due unit
	started  bool
}

// Set replaces the models. One that stays, with the same rate, keeps its rhythm and its limit; a new one is due at the next unit.
func (s *Sampler) Set(models []media.Model) {
	schedules := make([]schedule, 0, len(models))
	for _, m := range models {
		next := schedule{Model: m, rate: m.Rate, interval: interval(m.Rate)}
		for _, old := range s.models {
			if old.Name == m.Name && interval(old.Rate) == next.interval {
				next = old
				next.Model = m
			}
		}
		schedules = append(schedules, next)
	}
	s.models = schedules
}

// Limit has each model take no more units a second than most says, zero meaning as many as the model's own rate, until it is called again. The rhythm goes on
// from the unit that was due last: a limit that changes brings no burst.
func (s *Sampler) Limit(most func(model string) float64) {
	for i := range s.models {
		m := &s.models[i]
		rate := m.Rate
		if limit := most(m.Name); limit > 0 && (interval(rate) == 0 || limit < rate) {
			rate = limit
		}
		before := m.interval
		m.rate, m.interval = rate, interval(rate)
		switch {
		case m.interval == before || m.interval == 0:
		case before == 0: // every unit was due, so the newest one was
			m.next, m.started = s.last+m.interval, s.started
		default:
			m.next += m.interval - before
		}
	}
}

// interval converts a rate in units a second. Zero means no limit.
func interval(rate float64) time.Duration {
	if !(rate > 0) || rate > float64(time.Second) {
		return 0
	}
	return time.Duration(math.Round(min(float64(time.Second)/rate, math.MaxInt64/4)))
}

// Due appends to dst the models that a unit is due for, and gives the extended slice. pts is the unit's media time from any origin that
// stays the same; arrival is when its first packet arrived, from which the deadlines run; key tells whether it is a key unit, the only ones that
// are due for models that want no others.
//
// A model of rate r is due every 1/r of media time, without drift: the rhythm goes on from the time that was due, not from the unit that
// happened to be there. The unit nearest to that time is taken, within half the source's own interval, so that timestamps rounded to
// milliseconds or a jittery camera do no harm: of 30 units a second, a rate of 15 takes exactly every second one and a rate of 30 every one.
// When the source is slower than the rate every unit is due. A jump of media time starts the rhythm anew.
func (s *Sampler) Due(dst []media.Due, pts time.Duration, arrival time.Time, key bool) []media.Due {
	s.observe(pts)
	for i := range s.models {
		m := &s.models[i]
		if (key || !m.KeyOnly) && m.take(pts, s.spacing) {
			dst = append(dst, media.Due{Model: m.Name, Deadline: arrival.Add(m.Deadline)})
		}
	}
	return dst
}

// Fastest gives the rate, its limit included, of the model that takes the most units, among those that take more than key units; zero means that one takes every
// unit. It is false when there is no such model: no other than key units are needed.
func (s *Sampler) Fastest() (rate float64, ok bool) {
	for i := range s.models {
		switch m := &s.models[i]; {
		case m.KeyOnly:
		case m.interval == 0:
			return 0, true
		default:
			rate, ok = max(rate, m.rate), true
		}
	}
	return rate, ok
}

// AwaitsKey tells whether the time of a model that takes key units only, at a certain rate, has come. Without a rate such a model takes those
// that the sender makes of its own accord.
func (s *Sampler) AwaitsKey(pts time.Duration) bool {
	for i := range s.models {
		if m := &s.models[i]; m.KeyOnly && m.interval > 0 && (!m.started || pts >= m.next) {
			return true
		}
	}
	return false
}

// observe follows the media time: its direction and the source's interval.
func (s *Sampler) observe(pts time.Duration) {
	step := pts - s.last
	switch {
	case !s.started:
		s.started = true
	case step <= -jump:
		for i := range s.models {
			s.models[i].started = false
		}
	case step <= 0:
		return // a reordered picture: the newest one stays where it is
	case s.spacing == 0:
		s.spacing = min(step, longestSpacing)
	default:
		s.spacing += (min(step, 2*s.spacing, longestSpacing) - s.spacing) / 8 // a pause says little about the rate
	}
	s.last = pts
}

// take decides for one model, and moves its rhythm on when the unit is due.
func (m *schedule) take(pts, spacing time.Duration) bool {
	if m.interval == 0 {
		return true
	}
	if m.started && pts < m.next-min(spacing, m.interval)/2 {
		return false
	}
	next := m.next + m.interval
	if !m.started || next <= pts {
		next = pts + m.interval // at the start, after a pause, or when the source is slower than the rate
	}
	m.next, m.started = next, true
	return true
}
