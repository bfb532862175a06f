package session

import (
	"slices"

	"github.com/sluice-dev/sluice/pkg/media"
)

// wants is what the session's models need now, as a router told it. It is immutable: a new one replaces it as a whole.
type wants struct {
	models []media.Model
	inputs map[uint32]media.Form
	// demands bound what the models take of a stream while they are overloaded.
	demands demands
	// hearsay is true for what the catalog says while no router has told the session. It lets units be counted and named NO_ROUTER, but its
	// input ids are not the uplink's, which may use the same ones for other forms: nothing can be converted by it.
	hearsay bool
}

func newWants(models []media.Model, inputs []media.Input) *wants {
	w := &wants{inputs: make(map[uint32]media.Form, len(inputs))}
	for _, i := range inputs {
		w.inputs[i.ID] = i.Form
	}
	for _, m := range models {
		if _, ok := w.inputs[m.InputID]; ok {
			w.models = append(w.models, m)
		}
	}
	return w
}

// content is what a stream's units are.
type content struct {
	// kind is 0 for what no model takes, whatever its kind.
	kind media.Kind
	// tensor is what the units of a stream of tensors are; zero when the client did not say it in a way that can be understood.
	tensor media.TensorInput
}

// feeds tells whether a model of a form takes the content.
func (c content) feeds(f media.Form) bool {
	switch {
	case c.kind == 0 || c.kind != f.Kind:
		return false
	case c.kind == media.KindTensor:
		return c.tensor == f.Tensor || c.tensor == media.TensorInput{Datatype: f.Tensor.Datatype, Shape: "1," + f.Tensor.Shape}
	default:
		return true
	}
}

// narrowed gives the models that are named, all when no names are.
func (w *wants) narrowed(names []string) []media.Model {
	if len(names) == 0 {
		return w.models
	}
	var models []media.Model
	for _, m := range w.models {
		if slices.Contains(names, m.Name) {
			models = append(models, m)
		}
	}
	return models
}

// fitting gives the models that a stream feeds, and those for which its units are UNSUPPORTED: who asks for a model by name, or sends what
// none of the models takes in this form, has to be told. only narrows the models unless it is empty. A stream of a kind that no model takes
// feeds none, and nobody is told.
func (w *wants) fitting(c content, only []string) (feeds, refused []media.Model) {
	var others []media.Model // of the kind, but of another form
	for _, m := range w.narrowed(only) {
		switch form := w.inputs[m.InputID]; {
		case c.feeds(form):
			feeds = append(feeds, m)
		case len(only) > 0 || c.kind == 0:
			refused = append(refused, m)
		case c.kind == form.Kind:
			others = append(others, m)
		}
	}
	if len(feeds) == 0 {
		refused = append(refused, others...)
	}
	return feeds, refused
}

// pictures gives the inputs that a track of pictures feeds; none while nothing is known.
func (w *wants) pictures() []media.PictureInput {
	if w == nil {
		return nil
	}
	var inputs []media.PictureInput
	for _, m := range w.models {
		if form := w.inputs[m.InputID]; form.Kind == media.KindPicture {
			inputs = append(inputs, form.Picture)
		}
	}
	return inputs
}

// group is a form of frames with the models that are due for it.
type group struct {
	input uint32
	form  media.Form
	due   []media.Due
}

// groups sorts what a unit is due for by the input that it takes. Models that are no longer wanted, or take something else now, are in rest.
func (w *wants) groups(c content, due []media.Due) (groups []group, rest []media.Due) {
	for _, d := range due {
		at := slices.IndexFunc(w.models, func(m media.Model) bool { return m.Name == d.Model })
		if at < 0 || !c.feeds(w.inputs[w.models[at].InputID]) {
			rest = append(rest, d)
			continue
		}
		id := w.models[at].InputID
		i := slices.IndexFunc(groups, func(g group) bool { return g.input == id })
		if i < 0 {
			i = len(groups)
			groups = append(groups, group{input: id, form: w.inputs[id]})
		}
		groups[i].due = append(groups[i].due, d)
	}
	return groups, rest
}
