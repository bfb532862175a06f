package dispatch

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/sluice-dev/sluice/pkg/batch"
	"github.com/sluice-dev/sluice/pkg/media"
)

// table is what a dispatcher has at a time. It does not change; Replace makes another one.
type table struct {
	models []*model // by name
	inputs []media.Input
	lastID uint32 // the highest id that an input ever had
	byName map[string]*model
	// gone holds, of each name that no model has any more, the last one that had it: it ends what edges send before they know.
	gone map[string]*model
	// earlier are models that others have taken the place of and whose counts may still change, and past the counts of those before them.
	earlier []*model
	past    map[string]media.ModelCounts
}

// find gives the model that ends the frames for a name, nil when there never was one.
func (t *table) find(name string) *model {
	if m := t.byName[name]; m != nil {
		return m
	}
	return t.gone[name]
}

// totals adds up the counts of all that had a name, by name.
func (t *table) totals() []media.ModelCounts {
	sums := make(map[string]media.ModelCounts)
	for name, counts := range t.past {
		sums[name] = counts
	}
	all := slices.Concat(t.models, t.earlier)
	for _, m := range t.gone {
		all = append(all, m)
	}
	for _, m := range all {
		sums[m.cfg.Name] = plus(sums[m.cfg.Name], m.totals())
	}
	totals := make([]media.ModelCounts, 0, len(sums))
	for _, counts := range sums {
		totals = append(totals, counts)
	}
	slices.SortFunc(totals, func(a, b media.ModelCounts) int { return strings.Compare(a.Model, b.Model) })
	return totals
}

// plus adds the counts of two models of a name; the first may be zero.
func plus(a, b media.ModelCounts) media.ModelCounts {
	b.NotSampled += a.NotSampled
	b.Accepted += a.Accepted
	b.Results += a.Results
	b.InFlight += a.InFlight
	b.Late += a.Late
	for i, n := range a.Drops {
		b.Drops[i] += n
	}
	for i, n := range a.Errors {
		b.Errors[i] += n
	}
	return b
}

// build makes the table that follows another one, and tells which models are new in it. A model stays what it is when its runner stays.
func (d *Dispatcher) build(before *table, configs []ModelConfig) (next *table, fresh []*model, err error) {
	next = &table{lastID: before.lastID, byName: map[string]*model{}, gone: map[string]*model{}, past: map[string]media.ModelCounts{}}
	for _, c := range configs {
		if c.Name == "" || next.byName[c.Name] != nil || c.MaxBatch < 1 || c.Slots < 1 || c.Streams < 1 || c.Deadline <= 0 || c.Runner == nil || c.Runner.Instances() < 1 {
			return nil, nil, fmt.Errorf("model %q: needs a name of its own, a runner with instances, a deadline and limits of at least 1", c.Name)
		}
		if err := c.Input.Check(); err != nil {
			return nil, nil, fmt.Errorf("model %q: %w", c.Name, err)
		}
		id := next.inputID(before, c)
		m := before.byName[c.Name]
		if m == nil || m.cfg.Runner != c.Runner {
			m = newModel(c, id, d.cfg, d.metrics.of(c.Name))
			fresh = append(fresh, m)
		}
		next.models = append(next.models, m)
		next.byName[c.Name] = m
	}
	slices.SortFunc(next.models, func(a, b *model) int { return strings.Compare(a.cfg.Name, b.cfg.Name) })
	next.follow(before)
	return next, fresh, nil
}

// inputID gives the id of a model's input: that of a model before that takes the same, in this table or the one that it follows, or a new one.
func (t *table) inputID(before *table, c ModelConfig) uint32 {
	same := func(in media.Input) bool { return in.Form == c.Input }
	at := slices.IndexFunc(t.inputs, same)
	if at < 0 {
		in := media.Input{ID: t.lastID + 1, Form: c.Input}
		if was := slices.IndexFunc(before.inputs, same); was >= 0 {
			in = before.inputs[was] // with its window, which edges may have used up, and which must not get smaller therefore
		}
		at, t.lastID = len(t.inputs), max(t.lastID, in.ID)
		t.inputs = append(t.inputs, in)
	}
	if c.Input.Kind == media.KindSound {
		const underWay = 2 // one at the model, and one on the way here
		t.inputs[at].Window = max(t.inputs[at].Window, lineOf(c)+underWay)
	}
	return t.inputs[at].ID
}

// follow takes over the accounts of the models that are not in this table any more.
func (t *table) follow(before *table) {
	for name, counts := range before.past {
		t.past[name] = counts
	}
	out := slices.Clone(before.earlier)
	for _, m := range before.models {
		switch now := t.byName[m.cfg.Name]; now {
		case m:
		case nil:
			t.gone[m.cfg.Name] = m
		default:
			out = append(out, m)
		}
	}
	for name, m := range before.gone {
		if t.byName[name] == nil {
			t.gone[name] = m
		} else {
			t.earlier = append(t.earlier, m) // while the table before is in use, frames may still find it
		}
	}
	for _, m := range out {
		select {
		case <-m.over: // and nothing reaches it any more
			t.past[m.cfg.Name] = plus(t.past[m.cfg.Name], m.totals())
		default:
			t.earlier = append(t.earlier, m)
		}
	}
}

// Replace puts other models in the place of those that there are. One with a name and a runner that are there already goes on as it is, with what waits for it, what is in
// flight and what it remembers of streams; all else about it must be as before. All others are taken out: what waits for them is DRAINING, what is in flight ends as if
// nothing had happened. Frames that are still submitted for them find what Submit says.
//
// It is called while Run drives the models. When ctx ends before the new ones are driven, or they are not valid, nothing changes.
func (d *Dispatcher) Replace(ctx context.Context, models []ModelConfig) (*Retired, error) {
	d.replacing.Lock()
	defer d.replacing.Unlock()
	before := d.now()
	next, fresh, err := d.build(before, models)
	if err != nil {
		return nil, err
	}
	select {
	case d.fresh <- fresh: // also when there are none: then Run drives those that go
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	d.mu.Lock()
	d.table = next
	d.mu.Unlock()
	out := slices.DeleteFunc(slices.Clone(before.models), func(m *model) bool { return next.byName[m.cfg.Name] == m })
	for _, m := range out {
		m.retire()
	}
	return &Retired{models: out}, nil
}

// Retired are models that have been taken out and may still have batches in flight.
type Retired struct{ models []*model }

// Wait returns when the runners of these models are not used any more: after the longest of the deadlines in flight and a second at most. It names the models whose
// batches never came back, or had not when ctx ended, with an error that says so: their runners may still be in use.
func (r *Retired) Wait(ctx context.Context) (stuck []string, err error) {
	var errs []error
	for _, m := range r.models {
		if err := m.wait(ctx); err != nil {
			stuck, errs = append(stuck, m.cfg.Name), append(errs, err)
		}
	}
	return stuck, errors.Join(errs...)
}

// wait returns when run has returned, with its error, or ctx has ended before.
func (m *model) wait(ctx context.Context) error {
	select {
	case <-m.over:
		return m.err
	default: // ctx may have ended too
	}
	select {
	case <-m.over:
		return m.err
	case <-ctx.Done():
		return fmt.Errorf("model %s: %w", m.cfg.Name, ctx.Err())
	}
}

// retire ends what waits, and has run end what was demanded, and return when what is in flight has ended.
func (m *model) retire() {
	m.mu.Lock()
	m.stopped, m.retired = true, true
	var ends []end
	for _, e := range m.queue.RemoveAll() {
		ends = m.dropped(ends, e.Value, media.Draining)
	}
	m.metrics.weighed(batch.Load{}, 0, 0)
	m.mu.Unlock()
	m.deliver(ends)
	m.wake()
}
