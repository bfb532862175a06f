package intake

import (
	"slices"
	"time"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/pkg/wire"
	sluicev1 "github.com/sluice-dev/sluice/proto/gen/sluice/v1"
	"github.com/sluice-dev/sluice/services/router/internal/dispatch"
)

// view is what a call knows of the models. It does not change; when models do, the call gets another one and tells the edge.
type view struct {
	models map[string]media.Model
	inputs map[uint32]media.Input
	// former are the models, by name, with the inputs that they took or were there with in views before: frames may be on their way that an edge made for them.
	former  map[string]former
	longest time.Duration // of the deadlines
	opened  *sluicev1.Opened
}

// former is what a model was.
type former struct {
	deadline time.Duration
	inputs   map[uint32]time.Time // until when
}

// formerFor is how long what a model was is remembered, beyond any time that a frame could be of use.
const formerFor = 2 * time.Minute

// newView gives the call's part of the models and inputs. before is the view until now, nil for none.
func (c *call) newView(models []media.Model, inputs []media.Input, before *view, now time.Time) *view {
	v := &view{
		models: make(map[string]media.Model), inputs: make(map[uint32]media.Input), former: make(map[string]former),
		opened: &sluicev1.Opened{Window: new(uint32(c.service.cfg.Window)), Router: new(c.service.cfg.Name)},
	}
	for _, m := range models {
		if len(c.wanted) > 0 && !slices.Contains(c.wanted, m.Name) {
			continue
		}
		v.models[m.Name] = m
		v.longest = max(v.longest, m.Deadline)
		v.opened.Models = append(v.opened.Models, wire.ModelToProto(m))
	}
	for _, in := range inputs {
		if slices.ContainsFunc(v.opened.GetModels(), func(m *sluicev1.Model) bool { return m.GetInputId() == in.ID }) {
			v.inputs[in.ID] = in
			v.opened.Inputs = append(v.opened.Inputs, wire.InputToProto(in))
		}
	}
	if before != nil {
		v.remember(before, now)
	}
	return v
}

// remember takes over what the models were.
func (v *view) remember(before *view, now time.Time) {
	add := func(name string, deadline time.Duration, input uint32, until time.Time) {
		if v.models[name].InputID == input || !now.Before(until) {
			return
		}
		f := v.former[name]
		if f.inputs == nil {
			f = former{inputs: make(map[uint32]time.Time)}
		}
		f.deadline, f.inputs[input] = max(f.deadline, deadline), until
		v.former[name] = f
		v.longest = max(v.longest, f.deadline)
	}
	for name, f := range before.former {
		for input, until := range f.inputs {
			add(name, f.deadline, input, until)
		}
	}
	for name, m := range before.models {
		add(name, m.Deadline, m.InputID, now.Add(formerFor))
	}
}

// same tells whether an edge would see no difference, but for the models' readiness, which it asks for otherwise.
func (v *view) same(other *view) bool {
	if len(v.models) != len(other.models) || len(v.inputs) != len(other.inputs) {
		return false
	}
	for name, m := range v.models {
		was, known := other.models[name]
		m.Ready = was.Ready
		if !known || m != was {
			return false
		}
	}
	for id, in := range v.inputs {
		if other.inputs[id] != in {
			return false
		}
	}
	return true
}

// deadline gives the longest time that a model gives its frames; false for one that is not, and never was, of the call.
func (v *view) deadline(model string) (time.Duration, bool) {
	m, known := v.models[model]
	f, was := v.former[model]
	return max(m.Deadline, f.deadline), known || was
}

// takes tells whether a model takes an input, or did.
func (v *view) takes(model string, input uint32) bool {
	_, did := v.former[model].inputs[input]
	return did || v.models[model].InputID == input
}

// agree checks the models that a frame is due for, and sets the time by which each must have answered.
func (v *view) agree(f *dispatch.Frame, now time.Time) error {
	for i, due := range f.Due {
		deadline, known := v.deadline(due.Model)
		if !known {
			return breach("frame %d of stream %q is due for model %q, which is not of this call", f.Sequence, f.Stream, due.Model)
		}
		for _, other := range f.Due[:i] {
			if other.Model == due.Model {
				return breach("frame %d of stream %q is due for model %q twice", f.Sequence, f.Stream, due.Model)
			}
		}
		f.Due[i].Deadline = answerBy(now, due.Deadline.Sub(now), deadline)
	}
	return nil
}

// fits checks a frame against its input. Of a model that took the input once, the dispatcher gives the frame up.
func (v *view) fits(f *dispatch.Frame, in media.Input) error {
	for _, due := range f.Due {
		if !v.takes(due.Model, in.ID) {
			return breach("frame %d of stream %q: model %q does not take input %d", f.Sequence, f.Stream, due.Model, in.ID)
		}
	}
	if !in.Fits(f.Payload.Len()) {
		return breach("frame %d of stream %q: payload of %d bytes, but input %d has %d", f.Sequence, f.Stream, f.Payload.Len(), in.ID, in.Bytes())
	}
	if in.Kind == media.KindPicture && f.Placement.Width <= 0 {
		return breach("frame %d of stream %q: a picture without its placement", f.Sequence, f.Stream)
	}
	return nil
}

// refit gives the call its view of the models and inputs as they are now, and tells the edge when that changes something for it. The service's lock is held.
func (c *call) refit(models []media.Model, inputs []media.Input) {
	before := c.view.Load()
	v := c.newView(models, inputs, before, time.Now())
	if before == nil {
		c.view.Store(v)
		return
	}
	if v.same(before) {
		return
	}
	c.view.Store(v)
	c.books.refit(v.inputs)
	c.out.reopen()
}
