package backend

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/sluice-dev/sluice/pkg/media"
)

// terms is what a target and the configuration agree on: the form of every request and of every answer.
type terms struct {
	input   string             // name of the input tensor
	outputs []media.TensorSpec // in the order in which they are handed on
	names   []string           // of outputs
}

// agree compares what a target says with what is configured.
func (c Config) agree(target string, d Description) (*terms, error) {
	mismatch := func(problem error) error {
		return &Mismatch{
			Model: c.Name, Target: target, Problem: printable(problem.Error()),
			Configured: c.describe(), Served: describe(d),
		}
	}
	input, err := c.agreeInput(d.Inputs)
	if err != nil {
		return nil, mismatch(err)
	}
	outputs, err := c.chooseOutputs(d.Outputs)
	if err != nil {
		return nil, mismatch(err)
	}
	agreed := &terms{input: input, outputs: outputs}
	for _, o := range outputs {
		if slices.Contains(agreed.names, o.Name) {
			return nil, mismatch(fmt.Errorf("output %s is declared twice", o.Name))
		}
		if err := c.agreeOutput(o); err != nil {
			return nil, mismatch(err)
		}
		agreed.names = append(agreed.names, o.Name)
	}
	if c.Accept != nil {
		if err := c.Accept(outputs); err != nil {
			return nil, mismatch(err)
		}
	}
	return agreed, nil
}

func (c Config) agreeInput(inputs []media.TensorSpec) (string, error) {
	if len(inputs) != 1 {
		return "", fmt.Errorf("it takes %d inputs, and only one can be given", len(inputs))
	}
	served, want := inputs[0], c.Input.Spec(inputs[0].Name)
	if c.InputName != "" && served.Name != c.InputName {
		return "", fmt.Errorf("there is no input %q", c.InputName)
	}
	if served.Datatype != want.Datatype {
		return "", fmt.Errorf("the input's datatype is %s", served.Datatype)
	}
	fits := len(served.Shape) == len(want.Shape)
	for axis := 1; fits && axis < len(want.Shape); axis++ {
		fits = served.Shape[axis] < 0 || served.Shape[axis] == want.Shape[axis]
	}
	if !fits {
		return "", errors.New("the input's shape is another")
	}
	return served.Name, c.agreeBatch("input", served)
}

func (c Config) chooseOutputs(outputs []media.TensorSpec) ([]media.TensorSpec, error) {
	if len(outputs) == 0 {
		return nil, errors.New("it has no outputs")
	}
	if len(c.Outputs) == 0 {
		return outputs, nil
	}
	chosen := make([]media.TensorSpec, 0, len(c.Outputs))
	for _, name := range c.Outputs {
		at := slices.IndexFunc(outputs, func(s media.TensorSpec) bool { return s.Name == name })
		if at < 0 {
			return nil, fmt.Errorf("there is no output %q", name)
		}
		chosen = append(chosen, outputs[at])
	}
	return chosen, nil
}

func (c Config) agreeOutput(o media.TensorSpec) error {
	if o.Datatype.Size() == 0 {
		return fmt.Errorf("output %s is of a datatype that cannot be read", o.Name)
	}
	if len(o.Shape) == 0 {
		return fmt.Errorf("output %s has no batch axis", o.Name)
	}
	return c.agreeBatch("output "+o.Name, o)
}

// agreeBatch checks a tensor's first axis. A fixed one admits batches of that size alone, so only 1 is of use.
func (c Config) agreeBatch(what string, s media.TensorSpec) error {
	if s.Shape[0] < 0 || s.Shape[0] == 1 && c.MaxBatch == 1 {
		return nil
	}
	return fmt.Errorf("the %s's batch axis is fixed at %d, and batches are of 1 to %d: it must be free, or 1 with a largest batch of 1",
		what, s.Shape[0], c.MaxBatch)
}

func (c Config) describe() string {
	name := c.InputName
	if name == "" {
		name = "input"
	}
	text := fmt.Sprintf("%s, batches of 1 to %d", c.Input.Spec(name), c.MaxBatch)
	if len(c.Outputs) > 0 {
		text += " → " + strings.Join(c.Outputs, ", ")
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
