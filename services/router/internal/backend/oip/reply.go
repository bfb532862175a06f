package oip

import (
	"errors"
	"fmt"
	"time"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/proto/gen/inference"
	"github.com/sluice-dev/sluice/services/router/internal/backend"
)

const (
	maxTensors = 64
	maxName    = 256
)

// answer is a reply to ModelInfer, or what is wrong with its bytes.
type answer struct {
	message inference.ModelInferResponse
	err     error
}

// tensors checks what only the protocol knows and gives the tensors as bytes. Names, types and shapes are compared by the caller.
func (a *answer) tensors(request *inference.ModelInferRequest) ([]media.RawTensor, error) {
	if a.err != nil {
		return nil, errors.New("the answer is no protobuf of the protocol")
	}
	m := &a.message
	if id := m.GetId(); id != "" && id != request.GetId() {
		return nil, fmt.Errorf("the answer is for request %.64q, not %q", id, request.GetId())
	}
	if name := m.GetModelName(); name != "" && name != request.GetModelName() {
		return nil, fmt.Errorf("the answer is of model %.64q, not %q", name, request.GetModelName())
	}
	if version := m.GetModelVersion(); version != "" && request.GetModelVersion() != "" && version != request.GetModelVersion() {
		return nil, fmt.Errorf("the answer is of version %.64q, not %q", version, request.GetModelVersion())
	}
	outputs, raw := m.GetOutputs(), m.GetRawOutputContents()
	if len(outputs) > maxTensors {
		return nil, fmt.Errorf("%d outputs", len(outputs))
	}
	if len(raw) > 0 && len(raw) != len(outputs) {
		return nil, fmt.Errorf("%d outputs and %d raw contents", len(outputs), len(raw))
	}
	tensors := make([]media.RawTensor, len(outputs))
	for i, o := range outputs {
		shape, err := backend.Extents(o.GetShape(), 0)
		if err != nil {
			return nil, fmt.Errorf("output %d: %w", i, err)
		}
		tensors[i] = media.RawTensor{Name: o.GetName(), Datatype: media.Datatype(o.GetDatatype()), Shape: shape}
		switch {
		case tensors[i].Datatype.Size() == 0 && tensors[i].Datatype != media.Bytes:
			err = fmt.Errorf("datatype %.32q", o.GetDatatype())
		case len(raw) == 0:
			tensors[i].Data, err = encode(tensors[i].Datatype, o.GetContents())
		case total(o.GetContents()) > 0: // MLServer sends them along empty
			err = errors.New("both raw and typed contents")
		default:
			tensors[i].Data = raw[i]
		}
		if err != nil {
			return nil, fmt.Errorf("output %d: %w", i, err)
		}
	}
	return tensors, nil
}

// computeParameter is the response parameter, an integer, in which a server may say how many nanoseconds the batch took on the model.
const computeParameter = "sluice_compute_ns"

// compute gives what the server says that the batch took on the model; 0 when it does not say, or says what cannot be.
func (a *answer) compute() time.Duration {
	return max(0, time.Duration(a.message.GetParameters()[computeParameter].GetInt64Param()))
}

// describe checks a model's metadata for sense.
func describe(m *inference.ModelMetadataResponse) (backend.Description, error) {
	inputs, err := specs(m.GetInputs())
	if err != nil {
		return backend.Description{}, fmt.Errorf("input %w", err)
	}
	outputs, err := specs(m.GetOutputs())
	if err != nil {
		return backend.Description{}, fmt.Errorf("output %w", err)
	}
	return backend.Description{Inputs: inputs, Outputs: outputs}, nil
}

func specs(tensors []*inference.ModelMetadataResponse_TensorMetadata) ([]media.TensorSpec, error) {
	if len(tensors) > maxTensors {
		return nil, fmt.Errorf("count %d: at most %d can be used", len(tensors), maxTensors)
	}
	list := make([]media.TensorSpec, len(tensors))
	for i, t := range tensors {
		shape, err := backend.Extents(t.GetShape(), -1)
		if err != nil {
			return nil, fmt.Errorf("%d: %w", i, err)
		}
		if t.GetName() == "" || len(t.GetName()) > maxName || len(t.GetDatatype()) > maxName {
			return nil, fmt.Errorf("%d: a name of %d bytes and a datatype of %d", i, len(t.GetName()), len(t.GetDatatype()))
		}
		list[i] = media.TensorSpec{Name: t.GetName(), Datatype: media.Datatype(t.GetDatatype()), Shape: shape}
	}
	return list, nil
}
