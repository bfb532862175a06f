package session

import (
	"slices"
	"strings"

	"github.com/sluice-dev/sluice/pkg/media"
)

// totals are counts over sessions. It is a plain value.
type totals struct {
	sessions         int
	received, notDue uint64
	models           []media.ModelCounts // by name
}

// add adds the counts of one session.
func (t *totals) add(streams []media.StreamCounts) {
	for _, s := range streams {
		t.received += uint64(s.Received)
		t.notDue += uint64(s.NotDue)
		for i := range s.Models {
			addCounts(t.model(s.Models[i].Model), &s.Models[i])
		}
	}
}

// model gives the place of a model's counts.
func (t *totals) model(name string) *media.ModelCounts {
	i, found := slices.BinarySearchFunc(t.models, name, func(m media.ModelCounts, name string) int { return strings.Compare(m.Model, name) })
	if !found {
		t.models = slices.Insert(t.models, i, media.ModelCounts{Model: name})
	}
	return &t.models[i]
}

func addCounts(to, from *media.ModelCounts) {
	to.NotSampled += from.NotSampled
	to.Accepted += from.Accepted
	to.Results += from.Results
	to.InFlight += from.InFlight
	to.Late += from.Late
	for i := range from.Drops {
		to.Drops[i] += from.Drops[i]
	}
	for i := range from.Errors {
		to.Errors[i] += from.Errors[i]
	}
}
