package session

import (
	"slices"
	"strings"

	"github.com/sluice-dev/sluice/pkg/media"
)

// totals are counts over sessions. It is a plain value, whose counters do not overflow as those of one session might if it went on for years.
type totals struct {
	sessions         int
	draining         bool
	received, notDue uint64
	models           []modelTotals // by name
}

// modelTotals are a model's counts over sessions; see media.ModelCounts.
type modelTotals struct {
	model                               string
	notSampled, accepted, results, late uint64
	inFlight                            uint64
	drops                               [media.Draining + 1]uint64
	errors                              [media.Internal + 1]uint64
}

// add adds the counts of one session.
func (t *totals) add(streams []media.StreamCounts) {
	for _, s := range streams {
		t.received += uint64(s.Received)
		t.notDue += uint64(s.NotDue)
		for i := range s.Models {
			t.model(s.Models[i].Model).add(&s.Models[i])
		}
	}
}

// model gives the place of a model's counts.
func (t *totals) model(name string) *modelTotals {
	i, found := slices.BinarySearchFunc(t.models, name, func(m modelTotals, name string) int { return strings.Compare(m.model, name) })
	if !found {
		t.models = slices.Insert(t.models, i, modelTotals{model: name})
	}
	return &t.models[i]
}

func (t *modelTotals) add(c *media.ModelCounts) {
	t.notSampled += uint64(c.NotSampled)
	t.accepted += uint64(c.Accepted)
	t.results += uint64(c.Results)
	t.inFlight += uint64(c.InFlight)
	t.late += uint64(c.Late)
	for i, n := range c.Drops {
		t.drops[i] += uint64(n)
	}
	for i, n := range c.Errors {
		t.errors[i] += uint64(n)
	}
}

// counts gives the totals in the size of the contract's counters, which begin again at zero after 2^32.
func (t *modelTotals) counts() media.ModelCounts {
	c := media.ModelCounts{
		Model: t.model, NotSampled: uint32(t.notSampled), Accepted: uint32(t.accepted), Results: uint32(t.results),
		InFlight: uint32(t.inFlight), Late: uint32(t.late),
	}
	for i, n := range t.drops {
		c.Drops[i] = uint32(n)
	}
	for i, n := range t.errors {
		c.Errors[i] = uint32(n)
	}
	return c
}
