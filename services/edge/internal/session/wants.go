package session

import (
	"slices"

	"github.com/sluice-dev/sluice/pkg/media"
)

// wants is what the session's models need now, as a router told it. It is immutable: a new one replaces it as a whole.
type wants struct {
	models []media.Model
	inputs map[uint32]media.PictureInput
	// hearsay is true for what the catalog says while no router has told the session. It lets units be counted and named NO_ROUTER, but its
	// input ids are not the uplink's, which may use the same ones for other forms: nothing can be converted by it.
	hearsay bool
}

func newWants(models []media.Model, inputs []media.Input) *wants {
	w := &wants{inputs: make(map[uint32]media.PictureInput, len(inputs))}
	for _, i := range inputs {
		if i.Kind == media.KindPicture {
			w.inputs[i.ID] = i.Picture
		}
	}
	for _, m := range models {
		if _, ok := w.inputs[m.InputID]; ok {
			w.models = append(w.models, m)
		}
	}
	return w
}

// fitting gives the models that a stream of pictures feeds; only narrows them unless it is empty.
func (w *wants) fitting(only []string) []media.Model {
	if len(only) == 0 {
		return w.models
	}
	var models []media.Model
	for _, m := range w.models {
		if slices.Contains(only, m.Name) {
			models = append(models, m)
		}
	}
	return models
}

// group is a form of frames with the models that are due for it.
type group struct {
	input   uint32
	picture media.PictureInput
	due     []media.Due
}

// groups sorts what a unit is due for by the input that it takes. Models that are no longer wanted are in rest.
func (w *wants) groups(due []media.Due) (groups []group, rest []media.Due) {
	for _, d := range due {
		at := slices.IndexFunc(w.models, func(m media.Model) bool { return m.Name == d.Model })
		if at < 0 {
			rest = append(rest, d)
			continue
		}
		id := w.models[at].InputID
		i := slices.IndexFunc(groups, func(g group) bool { return g.input == id })
		if i < 0 {
			i = len(groups)
			groups = append(groups, group{input: id, picture: w.inputs[id]})
		}
		groups[i].due = append(groups[i].due, d)
	}
	return groups, rest
}
