package uplink

import (
	"errors"
	"fmt"
	"time"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/pkg/wire"
	sluicev1 "github.com/sluice-dev/sluice/proto/gen/sluice/v1"
)

// errProtocol is wrapped by errors about routers that break the rules of sluice.v1.
var errProtocol = errors.New("the router breaks the protocol")

// needs is what the models of a session take on one call. Input ids are the Uplink's unless they are said to be the call's. It is
// immutable.
type needs struct {
	models []media.Model
	inputs []media.Input
	takes  map[string]uint32 // a model's input
	wire   map[uint32]uint32 // an input's id on the call
	// windows holds how many frames of a stream may be outstanding, by the input's id on the call.
	windows map[uint32]uint32
	// lines holds how many frames of a stream may wait, by input; none for those of which the newest wins.
	lines map[uint32]int
}

// longestLine bounds a line of sound, whatever a router says about deadlines.
const longestLine = 256

// line gives how many windows of sound begin within a deadline: one that waits behind more of them cannot be answered in time.
func line(s media.SoundInput, deadline time.Duration) int {
	windows := deadline.Seconds() * float64(s.Rate) / float64(s.Hop)
	return int(min(windows, longestLine-1)) + 1
}

// wants gives the test whether a model takes an input.
func (n *needs) wants(input uint32) func(media.Due) bool {
	return func(d media.Due) bool {
		takes, ok := n.takes[d.Model]
		return ok && takes == input
	}
}

// has tells whether a model is needed.
func (n *needs) has(model string) bool {
	_, ok := n.takes[model]
	return ok
}

// longest is the longest deadline of the models.
func (n *needs) longest() (d time.Duration) {
	for _, m := range n.models {
		d = max(d, m.Deadline)
	}
	return d
}

// forms gives inputs ids that stay the same from call to call for as long as the form is wanted, and that are never used for another
// form. Its zero value is ready.
type forms struct {
	last uint32
	ids  map[media.Form]uint32
}

// read translates a router's Opened. Models whose input is of a kind that is not known here are left out, each with an error that says
// so: a newer router may serve sound to an older edge. An Opened that breaks the protocol is refused whole, and changes no ids.
func (f *forms) read(m *sluicev1.Opened) (n *needs, left []error, err error) {
	if m.GetWindow() < 1 {
		return nil, nil, fmt.Errorf("%w: a window of %d frames", errProtocol, m.GetWindow())
	}
	n = &needs{takes: make(map[string]uint32), wire: make(map[uint32]uint32), windows: make(map[uint32]uint32), lines: make(map[uint32]int)}
	byCall, sounds, ids, last := make(map[uint32]uint32), make(map[uint32]media.SoundInput), make(map[media.Form]uint32), f.last
	for _, pi := range m.GetInputs() {
		in, err := wire.InputFromProto(pi)
		if err != nil {
			left = append(left, err)
			continue
		}
		onCall := in.ID
		if _, twice := byCall[onCall]; twice || ids[in.Form] != 0 {
			return nil, nil, fmt.Errorf("%w: input %d is there twice", errProtocol, onCall)
		}
		id, known := f.ids[in.Form]
		if !known {
			last++
			id = last
		}
		ids[in.Form], byCall[onCall], n.wire[id] = id, id, onCall
		in.ID = id
		n.windows[onCall] = m.GetWindow()
		if in.Window > 0 {
			n.windows[onCall] = uint32(in.Window)
		}
		if in.Kind == media.KindSound {
			sounds[id] = in.Sound
		}
		n.inputs = append(n.inputs, in)
	}
	for _, pm := range m.GetModels() {
		model, err := wire.ModelFromProto(pm)
		if err != nil {
			return nil, nil, fmt.Errorf("%w: %w", errProtocol, err)
		}
		id, ok := byCall[model.InputID]
		if !ok {
			left = append(left, fmt.Errorf("model %q takes input %d, which is not known here", model.Name, model.InputID))
			continue
		}
		if _, twice := n.takes[model.Name]; twice {
			return nil, nil, fmt.Errorf("%w: model %q is there twice", errProtocol, model.Name)
		}
		model.InputID = id
		n.takes[model.Name] = id
		if in, ok := sounds[id]; ok {
			n.lines[id] = max(n.lines[id], line(in, model.Deadline))
		}
		n.models = append(n.models, model)
	}
	f.last, f.ids = last, ids
	return n, left, nil
}
