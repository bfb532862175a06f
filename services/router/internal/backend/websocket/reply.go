package websocket

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/pkg/tensor"
	"github.com/sluice-dev/sluice/services/router/internal/backend"
)

const (
	maxTensors = 64
	maxName    = 256
	// The sizes of answers: text takes at most textElement bytes for an element, with its brackets and its white space, and envelope is room for all the rest.
	textElement = 64
	envelope    = 64 << 10
	// mostCompute is longer than any batch is waited for.
	mostCompute = time.Hour
)

// failure makes an error of what a server says instead of an answer; nil when it does not.
func (a *answer) failure() error {
	switch {
	case a.Error == nil:
		return nil
	case a.Code == "UNAVAILABLE":
		return backend.Fail(media.BackendUnavailable, "the server takes no requests now", *a.Error)
	case a.Code == "TIMEOUT":
		return backend.Fail(media.BackendTimeout, "the server gave up in time", *a.Error)
	default:
		return backend.Fail(media.BackendRejected, "the server answers with an error", *a.Error)
	}
}

// compute gives what the server says that the batch took on the model; 0 when it does not say, or says what cannot be.
func (a *answer) compute() time.Duration {
	var seconds float64
	if len(a.Compute) == 0 || json.Unmarshal(a.Compute, &seconds) != nil || !(seconds > 0 && seconds < mostCompute.Seconds()) {
		return 0
	}
	return time.Duration(seconds * float64(time.Second))
}

// check finds what is wrong with an answer whatever was asked.
func (a *answer) check() error {
	if a.flaw != nil {
		return a.flaw
	}
	members := 0
	for _, there := range []bool{a.Error != nil, a.Outputs != nil, a.Results != nil} {
		if there {
			members++
		}
	}
	if members != 1 {
		return errors.New("exactly one of outputs, results and error is wanted")
	}
	return nil
}

// tensors reads the answer to a batch: what only the framing knows is checked here, names, types and shapes are compared by the caller. Those of a binary answer alias the
// message.
func (a *answer) tensors(wanted []tensor.Declared, frames int) ([]media.RawTensor, error) {
	switch {
	case a.Results != nil && a.binary:
		return nil, errors.New("results are text, and the message is binary")
	case a.Results != nil:
		return a.results(wanted, frames)
	case a.binary:
		return a.parts()
	default:
		return a.numbers(wanted)
	}
}

// parts cuts the payload of a binary answer into its tensors.
func (a *answer) parts() ([]media.RawTensor, error) {
	var headers []tensorHeader
	if err := json.Unmarshal(a.Outputs, &headers); err != nil {
		return nil, errors.New("outputs of a binary message are a list of {name, dtype, shape}")
	}
	if len(headers) > maxTensors {
		return nil, fmt.Errorf("%d outputs: at most %d can be used", len(headers), maxTensors)
	}
	tensors := make([]media.RawTensor, len(headers))
	rest := a.payload
	for i, h := range headers {
		shape, err := backend.Extents(h.Shape, 0)
		if err != nil {
			return nil, fmt.Errorf("output %d: %w", i, err)
		}
		size, ok := sizeOf(h.Dtype, shape, rest)
		switch {
		case !ok:
			return nil, fmt.Errorf("output %d: %.32q %v cannot be in %d bytes", i, h.Dtype, shape, len(rest))
		case h.Size != nil && *h.Size != size:
			return nil, fmt.Errorf("output %d: a size of %d, and it has %d bytes", i, *h.Size, size)
		}
		tensors[i] = media.RawTensor{Name: h.Name, Datatype: h.Dtype, Shape: shape, Data: rest[:size:size]}
		rest = rest[size:]
	}
	if len(rest) > 0 {
		return nil, fmt.Errorf("%d bytes after the last output", len(rest))
	}
	return tensors, nil
}

// sizeOf gives the bytes of a tensor at the beginning of data; it is false when they cannot be there.
func sizeOf(datatype media.Datatype, shape []int, data []byte) (int, bool) {
	if datatype != media.Bytes {
		size, ok := tensor.Bytes(datatype, shape)
		return size, ok && size <= len(data)
	}
	elements := 1
	if slices.Contains(shape, 0) {
		elements = 0
	}
	for _, extent := range shape {
		if elements *= extent; elements > len(data) { // each takes four bytes at least
			return 0, false
		}
	}
	rest := data
	for range elements {
		var ok bool
		if _, rest, ok = media.CutElement(rest); !ok {
			return 0, false
		}
	}
	return len(data) - len(rest), true
}

// numbers reads the outputs of a text answer, which are of the datatypes wanted.
func (a *answer) numbers(wanted []tensor.Declared) ([]media.RawTensor, error) {
	var outputs map[string]json.RawMessage
	if err := json.Unmarshal(a.Outputs, &outputs); err != nil {
		return nil, errors.New("outputs of a text message are an object, of nested lists by name")
	}
	var tensors []media.RawTensor
	for name, text := range outputs {
		at := slices.IndexFunc(wanted, func(o tensor.Declared) bool { return o.Name == name })
		if at < 0 {
			return nil, fmt.Errorf("output %.64q was not asked for", name)
		}
		t, err := nested(text, wanted[at].Datatype, wanted[at].Shape)
		if err != nil {
			return nil, fmt.Errorf("output %s: %w", name, err)
		}
		t.Name = name
		tensors = append(tensors, t)
	}
	return tensors, nil
}

// results makes the one output wanted of each frame's own JSON.
func (a *answer) results(wanted []tensor.Declared, frames int) ([]media.RawTensor, error) {
	if len(wanted) != 1 || wanted[0].Datatype != media.Bytes {
		return nil, errors.New("results stand for a single output of BYTES")
	}
	var texts []json.RawMessage
	if err := json.Unmarshal(a.Results, &texts); err != nil || len(texts) != frames {
		return nil, fmt.Errorf("results are a list of %d, one for each frame", frames)
	}
	t := media.RawTensor{Name: wanted[0].Name, Datatype: media.Bytes, Shape: []int{frames}}
	for len(t.Shape) < len(wanted[0].Shape) {
		t.Shape = append(t.Shape, 1)
	}
	for _, text := range texts {
		t.Data = appendText(t.Data, text)
	}
	return []media.RawTensor{t}, nil
}

// limit gives the size that the answer to a batch may have: little more than declared, where sizes are declared.
func limit(frames int, outputs []tensor.Declared, most int) int {
	total := 0
	for _, output := range outputs {
		shape := slices.Clone(output.Shape)
		if output.Axis >= 0 && output.Axis < len(shape) {
			shape[output.Axis] = frames
		}
		size, ok := tensor.Bytes(output.Datatype, shape)
		if !ok || size > math.MaxInt32 {
			return most
		}
		total += size / output.Datatype.Size() * textElement
	}
	return min(total+envelope, most)
}

// description reads the answer to a question for what the model takes and gives.
func (a *answer) description() (backend.Description, error) {
	if a.flaw != nil {
		return backend.Description{}, a.flaw
	}
	if a.binary {
		return backend.Description{}, errors.New("a description is text, and the message is binary")
	}
	inputs, err := specs(a.Inputs)
	if err != nil {
		return backend.Description{}, fmt.Errorf("inputs: %w", err)
	}
	outputs, err := specs(a.Outputs)
	if err != nil {
		return backend.Description{}, fmt.Errorf("outputs: %w", err)
	}
	return backend.Description{Inputs: inputs, Outputs: outputs}, nil
}

// specs checks a list of tensors for sense.
func specs(text json.RawMessage) ([]media.TensorSpec, error) {
	var headers []tensorHeader
	if err := json.Unmarshal(text, &headers); err != nil {
		return nil, errors.New("a list of {name, dtype, shape} is wanted")
	}
	if len(headers) > maxTensors {
		return nil, fmt.Errorf("%d tensors: at most %d can be used", len(headers), maxTensors)
	}
	list := make([]media.TensorSpec, len(headers))
	for i, h := range headers {
		shape, err := backend.Extents(h.Shape, -1)
		if err != nil {
			return nil, fmt.Errorf("tensor %d: %w", i, err)
		}
		if h.Name == "" || len(h.Name) > maxName || len(h.Dtype) > maxName {
			return nil, fmt.Errorf("tensor %d: a name of %d bytes and a dtype of %d", i, len(h.Name), len(h.Dtype))
		}
		list[i] = media.TensorSpec{Name: h.Name, Datatype: h.Dtype, Shape: shape}
	}
	return list, nil
}
