// Package activity tells how busy a session's streams are now: rates over the last ten seconds, ages, and how long results take. The counts since the
// beginning are the ledger's.
//
// A Board is a single-threaded value. It reads no clock; every time is an argument. Its memory is bounded: about a kilobyte for each of at most 64 streams
// and each of at most 64 models of a stream.
package activity

import (
	"slices"
	"strings"
	"time"

	"github.com/sluice-dev/sluice/pkg/media"
)

const (
	maxStreams = 64
	maxModels  = 64
)

// Board holds the activity of one session's streams. Its zero value is ready. It is not safe for concurrent use.
type Board struct {
	streams []*stream // in the order of their first unit
}

type stream struct {
	name   string
	units  meter
	newest time.Time
	models []*model // by name
}

type model struct {
	name                   string
	results, drops, errors meter
	newest                 time.Time
	latencies              latencies
}

// Unit notes a unit of a stream that arrived now. A stream beyond the bound is not looked at.
func (b *Board) Unit(name string, now time.Time) {
	s := b.find(name)
	if s == nil {
		if len(b.streams) >= maxStreams {
			return
		}
		s = &stream{name: name, units: newMeter(now)}
		b.streams = append(b.streams, s)
	}
	s.units.add(now)
	s.newest = now
}

// Outcome notes that an outcome is final now; latency is what counts as how long a result took. One of a stream that had no unit is ignored.
func (b *Board) Outcome(o *media.Outcome, latency time.Duration, now time.Time) {
	s := b.find(o.Stream)
	if s == nil {
		return
	}
	m := s.model(o.Model)
	switch {
	case m == nil:
	case o.Error != media.NoError:
		m.errors.add(now)
	case o.Drop != media.NotDropped:
		m.drops.add(now)
	default:
		m.results.add(now)
		m.newest = now
		m.latencies.add(latency)
	}
}

// Forget lets go of a stream.
func (b *Board) Forget(name string) {
	b.streams = slices.DeleteFunc(b.streams, func(s *stream) bool { return s.name == name })
}

// Stream gives the activity of a stream as of now; that of one that had no unit is nothing but its name. The caller owns what it returns.
func (b *Board) Stream(name string, now time.Time) media.StreamActivity {
	s := b.find(name)
	if s == nil {
		return media.StreamActivity{Stream: name}
	}
	a := media.StreamActivity{Stream: name, Units: s.units.rate(now), Newest: s.newest}
	for _, m := range s.models {
		p50, p95 := m.latencies.quantiles()
		a.Models = append(a.Models, media.ModelActivity{
			Model: m.name, Results: m.results.rate(now), Drops: m.drops.rate(now), Errors: m.errors.rate(now), Newest: m.newest, P50: p50, P95: p95,
		})
	}
	return a
}

func (b *Board) find(name string) *stream {
	for _, s := range b.streams {
		if s.name == name {
			return s
		}
	}
	return nil
}

// model gives the place of a model, which is as old as its stream; nil beyond the bound.
func (s *stream) model(name string) *model {
	i, found := slices.BinarySearchFunc(s.models, name, func(m *model, name string) int { return strings.Compare(m.name, name) })
	if found {
		return s.models[i]
	}
	if len(s.models) >= maxModels {
		return nil
	}
	m := &model{name: name, results: newMeter(s.units.born), drops: newMeter(s.units.born), errors: newMeter(s.units.born)}
	s.models = slices.Insert(s.models, i, m)
	return m
}
