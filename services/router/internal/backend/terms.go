package backend

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/pkg/tensor"
)

// terms is what a target and the configuration agree on: the form of every request and of every answer.
type terms struct {
	described Description
	input     media.TensorSpec // its first axis is the batch's
	states    []stateTerms
	constants []constantTerms
	// outputs are those that are read, in the order in which they are handed on, then those of the states.
	outputs []tensor.Declared
	read    int
	// profile is what the target took for batches when it was warmed up.
	profile []Timing
}

// agree compares what a target says with what is configured.
func (m *Model) agree(target string, d Description) (*terms, error) {
	t := &terms{described: d}
	err := m.agreeInputs(t, d.Inputs)
	if err == nil {
		err = m.agreeOutputs(t, d.Outputs)
	}
	if err == nil {
		return t, nil
	}
	return nil, &Mismatch{
		Model: m.config.Name, Target: target, Problem: printable(err.Error()), Configured: m.describe(), Served: describe(d), Change: changeOf(err),
	}
}

// agreeInputs finds each of the target's inputs among the configured ones: the frames', the states' and the constants.
func (m *Model) agreeInputs(t *terms, inputs []media.TensorSpec) error {
	rest := slices.Clone(inputs)
	take := func(key, name string) (media.TensorSpec, error) {
		at := slices.IndexFunc(rest, func(s media.TensorSpec) bool { return s.Name == name })
		if at < 0 {
			return media.TensorSpec{}, differ(key, "there is no input %q", name)
		}
		spec := rest[at]
		rest = slices.Delete(rest, at, at+1)
		return spec, nil
	}
	for i, pair := range m.config.States {
		key := fmt.Sprintf("state[%d].input", i)
		spec, err := take(key, pair.Input)
		if err != nil {
			return err
		}
		state, err := m.agreeState(key, spec)
		if err != nil {
			return err
		}
		t.states = append(t.states, state)
	}
	for i, c := range m.config.Constants {
		spec, err := take(fmt.Sprintf("constants[%d].name", i), c.Name)
		if err != nil {
			return err
		}
		constant, err := c.agree(spec, m.config.MaxBatch)
		if err != nil {
			return differ(fmt.Sprintf("constants[%d]", i), "%w", err)
		}
		t.constants = append(t.constants, constant)
	}
	switch {
	case len(rest) == 0:
		return errors.New("it takes 0 inputs beside states and constants, and frames need one")
	case len(rest) > 1:
		return differ("constants, state",
			"it takes %d inputs beside states and constants, and frames are one: name what is the same for every frame under constants, and what it remembers of a stream under state",
			len(rest))
	}
	if m.config.InputName != "" && rest[0].Name != m.config.InputName {
		return differ("input.name: "+rest[0].Name, "there is no input %q", m.config.InputName)
	}
	return m.agreeInput(t, rest[0])
}

// agreeInput compares the frames' input.
func (m *Model) agreeInput(t *terms, served media.TensorSpec) error {
	if served.Datatype != m.packer.Datatype() {
		return differ(datatypeChange(m.config.Input, served), "the input's datatype is %s", served.Datatype)
	}
	at := slices.IndexFunc(m.packer.Shapes(), func(shape []int) bool { return fits(served, shape) })
	if at < 0 {
		return differ(shapeChange(m.config.Input, served), "the input's shape is another")
	}
	t.input = media.TensorSpec{Name: served.Name, Datatype: served.Datatype, Shape: slices.Concat([]int{-1}, m.packer.Shapes()[at])}
	return m.agreeBatch("input", served)
}

// agreeState finds the axis of the streams: the only one that is free.
func (m *Model) agreeState(key string, spec media.TensorSpec) (stateTerms, error) {
	t := stateTerms{spec: spec, axis: -1, blocks: 1, slice: spec.Datatype.Size()}
	if t.slice == 0 {
		return t, differ(key, "state %s is of a datatype that cannot be kept", spec.Name)
	}
	const most = 1 << 24 // bytes
	for axis, extent := range spec.Shape {
		switch {
		case extent < 0 && t.axis < 0:
			t.axis, t.blocks, t.slice = axis, t.slice/spec.Datatype.Size(), spec.Datatype.Size()
		case extent < 1 || extent > most/t.slice || t.blocks > most/t.slice/extent:
			return t, differ(key, "state %s: exactly one extent of %s may be free, the one of the batch, and a stream's part must be at most %d bytes", spec.Name, spec, most)
		default:
			t.slice *= extent
		}
	}
	if t.axis < 0 && m.config.MaxBatch > 1 {
		return t, differ("batch.max: 1", "state %s: no extent of %s is free, and batches are of 1 to %d: one must be, or the largest batch be 1", spec.Name, spec, m.config.MaxBatch)
	}
	return t, nil
}

// agreeOutputs finds the outputs that are read and those of the states.
func (m *Model) agreeOutputs(t *terms, outputs []media.TensorSpec) error {
	var kept []tensor.Declared
	rest := slices.Clone(outputs)
	for i, pair := range m.config.States {
		at := slices.IndexFunc(rest, func(s media.TensorSpec) bool { return s.Name == pair.Output })
		if at < 0 {
			return differ(fmt.Sprintf("state[%d].output", i), "there is no output %q", pair.Output)
		}
		state := &t.states[i]
		if !alike(rest[at], state.spec) {
			return differ(fmt.Sprintf("state[%d]", i), "state %s goes in as %s and comes out as %s", pair.Input, state.spec, rest[at])
		}
		spec := state.spec
		spec.Name = pair.Output
		kept = append(kept, tensor.Declared{TensorSpec: spec, Axis: state.axis})
		rest = slices.Delete(rest, at, at+1)
	}
	chosen, err := m.chooseOutputs(rest)
	if err != nil {
		return err
	}
	var seen []string
	for _, o := range chosen {
		if slices.Contains(seen, o.Name) {
			return fmt.Errorf("output %s is declared twice", o.Name)
		}
		if err := m.agreeOutput(o); err != nil {
			return err
		}
		seen = append(seen, o.Name)
		t.outputs = append(t.outputs, tensor.Declared{TensorSpec: o})
	}
	if m.config.Accept != nil {
		if err := m.config.Accept(chosen); err != nil {
			return differ("output", "%w", err)
		}
	}
	t.read = len(t.outputs)
	t.outputs = append(t.outputs, kept...)
	return nil
}

// alike tells whether a state can come out as it went in. Exporters often leave extents of the output open.
func alike(out, in media.TensorSpec) bool {
	if out.Datatype != in.Datatype || len(out.Shape) != len(in.Shape) {
		return false
	}
	for axis, extent := range out.Shape {
		if extent >= 0 && in.Shape[axis] >= 0 && extent != in.Shape[axis] {
			return false
		}
	}
	return true
}

func (m *Model) chooseOutputs(outputs []media.TensorSpec) ([]media.TensorSpec, error) {
	if len(outputs) == 0 {
		return nil, errors.New("it has no outputs")
	}
	if len(m.config.Outputs) == 0 {
		return outputs, nil
	}
	chosen := make([]media.TensorSpec, 0, len(m.config.Outputs))
	for _, name := range m.config.Outputs {
		at := slices.IndexFunc(outputs, func(s media.TensorSpec) bool { return s.Name == name })
		if at < 0 {
			return nil, differ("output.tensors", "there is no output %q", name)
		}
		chosen = append(chosen, outputs[at])
	}
	return chosen, nil
}

func (m *Model) agreeOutput(o media.TensorSpec) error {
	if o.Datatype.Size() == 0 && o.Datatype != media.Bytes {
		return differ("output.tensors", "output %s is of a datatype that cannot be read", o.Name)
	}
	if len(o.Shape) == 0 {
		return differ("output.tensors", "output %s has no batch axis", o.Name)
	}
	return m.agreeBatch("output "+o.Name, o)
}

// agreeBatch checks a tensor's first axis. A fixed one admits batches of that size alone, so only 1 is of use.
func (m *Model) agreeBatch(what string, s media.TensorSpec) error {
	if s.Shape[0] < 0 || s.Shape[0] == 1 && m.config.MaxBatch == 1 {
		return nil
	}
	change := ""
	if s.Shape[0] == 1 {
		change = "batch.max: 1"
	}
	return differ(change, "the %s's batch axis is fixed at %d, and batches are of 1 to %d: it must be free, or 1 with a largest batch of 1",
		what, s.Shape[0], m.config.MaxBatch)
}

func (m *Model) describe() string {
	name := m.config.InputName
	if name == "" {
		name = "input"
	}
	text := m.packer.Spec(name).String()
	for _, pair := range m.config.States {
		text += fmt.Sprintf(", state %s → %s", pair.Input, pair.Output)
	}
	for _, c := range m.config.Constants {
		text += fmt.Sprintf(", %s = %g", c.Name, c.Value)
	}
	text += fmt.Sprintf(", batches of 1 to %d", m.config.MaxBatch)
	if len(m.config.Outputs) > 0 {
		text += " → " + strings.Join(m.config.Outputs, ", ")
	}
	return text
}

// describe shows a description to people. A server's words end up in it, so it is cut.
func describe(d Description) string {
	list := func(specs []media.TensorSpec) string {
		texts := make([]string, len(specs))
		for i, s := range specs {
			texts[i] = s.String()
		}
		return strings.Join(texts, ", ")
	}
	return cut(list(d.Inputs)+" → "+list(d.Outputs), 1024)
}
