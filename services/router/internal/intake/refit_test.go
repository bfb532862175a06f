package intake

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluice-dev/sluice/pkg/media"
	sluicev1 "github.com/sluice-dev/sluice/proto/gen/sluice/v1"
	"github.com/sluice-dev/sluice/services/router/internal/dispatch"
)

var large = media.PictureInput{Width: 4, Height: 4, Fit: media.Crop, Color: media.BGR}

// replace does what the router does when its configuration has changed.
func (b *bed) replace(models ...dispatch.ModelConfig) {
	b.t.Helper()
	retired, err := b.dispatcher.Replace(b.t.Context(), models)
	if err != nil {
		b.t.Fatal(err)
	}
	b.service.Refit()
	if _, err := retired.Wait(b.t.Context()); err != nil {
		b.t.Error(err)
	}
}

// named gives the names of the models of an Opened.
func named(o *sluicev1.Opened) (names []string) {
	for _, m := range o.GetModels() {
		names = append(names, m.GetName())
	}
	return names
}

// reopened receives until the router opens the call again, and collects the outcomes before.
func (c *client) reopened() (*sluicev1.Opened, []*sluicev1.Outcome) {
	c.t.Helper()
	var outcomes []*sluicev1.Outcome
	for {
		m := c.recv()
		if o := m.GetOpened(); o != nil {
			return o, outcomes
		}
		if o := m.GetOutcome(); o != nil {
			outcomes = append(outcomes, o)
		}
	}
}

// TestRefitTellsWhomItConcerns has one call that wants all models and two that want some, while models are added, changed and taken out.
func TestRefitTellsWhomItConcerns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		faces, pose := modelConfig("faces", small, &model{after: ms}), modelConfig("pose", small, &model{after: ms})
		b := newBed(t, defaults(), faces, pose)
		defer b.stop()
		all, _ := b.open("all")
		one, _ := b.open("one", "faces")
		both, _ := b.open("both", "pose", "faces")

		b.replace(faces, pose, modelConfig("new", large, &model{after: ms}))
		opened, _ := all.reopened()
		if !slices.Equal(named(opened), []string{"faces", "new", "pose"}) || len(opened.GetInputs()) != 2 || opened.GetWindow() != 3 {
			t.Errorf("all: %v", opened)
		}
		all.frame(largeFrame(1, opened.GetModels()[1].GetInputId()))
		if o := all.outcome(); end(o) != "result" || o.GetModel() != "new" {
			t.Errorf("a frame for the new model: %v", o)
		}

		b.replace(faces)
		opened, _ = all.reopened()
		if !slices.Equal(named(opened), []string{"faces"}) || len(opened.GetInputs()) != 1 {
			t.Errorf("all: %v", opened)
		}
		if opened, _ = both.reopened(); !slices.Equal(named(opened), []string{"faces"}) {
			t.Errorf("both: %v", opened)
		}

		// It comes back: who named it gets it back. The third has heard nothing all the time, and still works.
		b.replace(faces, modelConfig("pose", small, &model{after: ms}))
		if opened, _ = both.reopened(); !slices.Equal(named(opened), []string{"faces", "pose"}) {
			t.Errorf("both: %v", opened)
		}
		one.frame(frame("camera", 1, 1, 200*ms, "faces"))
		if m := one.recv(); end(m.GetOutcome()) != "result" {
			t.Errorf("one: %v, want the result and nothing before it", m)
		}
	})
}

// TestOpenWithoutAModelThatIsGone has calls opened that name a model which has been taken out, or which only another router has: they have what is left, and get the model when it
// comes.
func TestOpenWithoutAModelThatIsGone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		faces, pose := modelConfig("faces", small, &model{after: ms}), modelConfig("pose", small, &model{after: ms})
		b := newBed(t, defaults(), faces, pose)
		defer b.stop()
		b.replace(faces)
		both, opened := b.open("both", "pose", "faces", "elsewhere")
		if !slices.Equal(named(opened), []string{"faces"}) || len(opened.GetInputs()) != 1 {
			t.Errorf("both: %v", opened)
		}
		one, opened := b.open("one", "pose")
		if len(named(opened)) != 0 || len(opened.GetInputs()) != 0 {
			t.Errorf("one: %v", opened)
		}
		both.frame(frame("camera", 1, 1, 200*ms, "faces"))
		if o := both.outcome(); end(o) != "result" {
			t.Errorf("the model that is left: %v", o)
		}
		b.replace(faces, modelConfig("pose", small, &model{after: ms}))
		if opened, _ = both.reopened(); !slices.Equal(named(opened), []string{"faces", "pose"}) {
			t.Errorf("both, when it came back: %v", opened)
		}
		if opened, _ = one.reopened(); !slices.Equal(named(opened), []string{"pose"}) {
			t.Errorf("one, when it came back: %v", opened)
		}
		one.frame(frame("camera", 1, opened.GetInputs()[0].GetId(), 200*ms, "pose"))
		if o := one.outcome(); end(o) != "result" {
			t.Errorf("the model that came back: %v", o)
		}
	})
}

func largeFrame(sequence, input uint32) *sluicev1.Frame {
	f := frame("camera", sequence, input, 200*ms, "new")
	f.Payload = make([]byte, large.Bytes())
	return f
}

// TestRefitTakesWhatWasOnItsWay sends what an edge sends that does not know yet: none of it is a breach of the protocol, and each frame has its outcome.
func TestRefitTakesWhatWasOnItsWay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		stays := modelConfig("stays", small, &model{after: ms})
		b := newBed(t, defaults(), stays, modelConfig("changes", small, &model{after: ms}), modelConfig("goes", small, &model{after: ms}), modelConfig("alone", large, &model{after: ms}))
		defer b.stop()
		c, before := b.open("s")
		b.replace(stays, modelConfig("changes", large, &model{after: ms}))
		c.frame(frame("camera", 1, 1, 200*ms, "stays", "changes", "goes"))
		alone := frame("camera", 2, 2, 200*ms, "alone")
		if before.GetModels()[0].GetName() != "alone" || before.GetModels()[0].GetInputId() != 2 {
			t.Fatalf("opened %v", before)
		}
		alone.Payload = make([]byte, large.Bytes())
		c.frame(alone)
		opened, outcomes := c.reopened()
		for len(outcomes) < 4 {
			outcomes = append(outcomes, c.outcome())
		}
		got := map[string]string{}
		for _, o := range outcomes {
			got[o.GetModel()] = end(o)
		}
		want := map[string]string{"stays": "result", "changes": "EXPIRED", "goes": "DRAINING", "alone": "DRAINING"}
		for model, word := range want {
			if got[model] != word {
				t.Errorf("%s: %s, want %s", model, got[model], word)
			}
		}
		// With what it knows now, all goes on.
		f := frame("camera", 3, 0, 200*ms, "changes")
		for _, m := range opened.GetModels() {
			if m.GetName() == "changes" {
				f.InputId = m.InputId
			}
		}
		f.Payload = make([]byte, large.Bytes())
		c.frame(f)
		if o := c.outcome(); end(o) != "result" {
			t.Errorf("the changed model: %v", o)
		}
		for _, session := range b.service.Sessions() {
			for _, m := range session.Streams[0].Models {
				if m.InFlight != 0 {
					t.Errorf("in flight: %+v", m)
				}
			}
		}
	})
}

// TestLateDemand has a model demand something when the call does not have it any more: the edge is not told, but for the end of what was demanded.
func TestLateDemand(t *testing.T) {
	t.Parallel()
	c := newCall(&Service{cfg: defaults()}, "s", nil)
	inputs := []media.Input{{ID: 1, Form: media.PictureForm(small)}}
	c.view.Store(c.newView([]media.Model{{Name: "here", InputID: 1}}, inputs, nil, time.Now()))
	for _, model := range []string{"gone", "here"} {
		for _, rate := range []float64{5, 0} {
			c.Demand(media.Demand{Stream: "camera", Model: model, MaxFramerate: rate})
			l, found, _ := c.out.take()
			if want := rate == 0 || model == "here"; found != want || found && l.demand.MaxFramerate != rate {
				t.Errorf("%s demands %g: told %t (%+v), want %t", model, rate, found, l.demand, want)
			}
			if found && (l.demand.MaxWidth == small.Width) != (rate > 0) {
				t.Errorf("%s demands %g: %+v", model, rate, l.demand)
			}
		}
	}
}

// TestRefitForgetsInTheEnd keeps what a model was no longer than a frame for it can be of use.
func TestRefitForgetsInTheEnd(t *testing.T) {
	t.Parallel()
	c := newCall(&Service{cfg: defaults()}, "s", nil)
	m := func(name string, input uint32) media.Model {
		return media.Model{Name: name, InputID: input, Deadline: time.Second}
	}
	now := time.Now()
	first := c.newView([]media.Model{m("a", 1), m("b", 1)}, nil, nil, now)
	second := c.newView([]media.Model{m("a", 2)}, nil, first, now)
	if _, known := second.deadline("b"); !known || !second.takes("b", 1) || !second.takes("a", 1) || !second.takes("a", 2) || second.takes("b", 2) || second.longest != time.Second {
		t.Errorf("after a change: %+v", second)
	}
	third := c.newView([]media.Model{m("a", 2)}, nil, second, now.Add(formerFor-1))
	if _, known := third.deadline("b"); !known {
		t.Errorf("forgotten too soon: %+v", third)
	}
	fourth := c.newView([]media.Model{m("a", 2)}, nil, third, now.Add(formerFor))
	if _, known := fourth.deadline("b"); known || len(fourth.former) != 0 || fourth.takes("a", 1) {
		t.Errorf("not forgotten: %+v", fourth)
	}
}
