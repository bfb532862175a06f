package stub

import (
	"context"
	"errors"
	"slices"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/sluice-dev/sluice/proto/gen/inference"
)

// ServerLive says yes.
func (*Server) ServerLive(context.Context, *inference.ServerLiveRequest) (*inference.ServerLiveResponse, error) {
	return &inference.ServerLiveResponse{Live: true}, nil
}

// ServerReady says yes unless told otherwise.
func (s *Server) ServerReady(context.Context, *inference.ServerReadyRequest) (*inference.ServerReadyResponse, error) {
	return &inference.ServerReadyResponse{Ready: s.ready()}, nil
}

// ModelReady says yes for its model unless told otherwise.
func (s *Server) ModelReady(_ context.Context, r *inference.ModelReadyRequest) (*inference.ModelReadyResponse, error) {
	return &inference.ModelReadyResponse{Ready: r.GetName() == s.cfg.Model && s.ready()}, nil
}

// ModelMetadata describes the model.
func (s *Server) ModelMetadata(_ context.Context, r *inference.ModelMetadataRequest) (*inference.ModelMetadataResponse, error) {
	if r.GetName() != s.cfg.Model {
		return nil, status.Errorf(codes.NotFound, "no model %q here", r.GetName())
	}
	tensor := func(name string, shape ...int64) []*inference.ModelMetadataResponse_TensorMetadata {
		return []*inference.ModelMetadataResponse_TensorMetadata{{Name: name, Datatype: "UINT8", Shape: append([]int64{-1}, shape...)}}
	}
	return &inference.ModelMetadataResponse{
		Name: s.cfg.Model, Versions: []string{"1"}, Platform: "stub", Inputs: tensor(Input, s.cfg.Shape...), Outputs: tensor(Output, int64(s.cfg.Echo)),
	}, nil
}

// ModelInfer runs a request: as a batch, or with others as the rules of its batcher say.
func (s *Server) ModelInfer(ctx context.Context, r *inference.ModelInferRequest) (*inference.ModelInferResponse, error) {
	data, n, err := s.read(r)
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	took, err := s.infer(ctx, n, headsOf(data, s.cfg.Width))
	var f failure
	if errors.As(err, &f) {
		return nil, status.Error(f.code, f.err.Error())
	}
	echo := make([]byte, 0, n*s.cfg.Echo)
	for ; len(data) > 0; data = data[s.cfg.Width:] {
		echo = append(echo, data[:s.cfg.Echo]...)
	}
	return &inference.ModelInferResponse{
		ModelName: s.cfg.Model, ModelVersion: "1", Id: r.GetId(),
		Parameters: map[string]*inference.InferParameter{
			ComputeParameter: {ParameterChoice: &inference.InferParameter_Int64Param{Int64Param: took.Nanoseconds()}},
		},
		Outputs:           []*inference.ModelInferResponse_InferOutputTensor{{Name: Output, Datatype: "UINT8", Shape: []int64{int64(n), int64(s.cfg.Echo)}}},
		RawOutputContents: [][]byte{echo},
	}, nil
}

// read checks a request and gives its bytes and the number of its frames.
func (s *Server) read(r *inference.ModelInferRequest) (data []byte, frames int, err error) {
	switch {
	case r.GetModelName() != s.cfg.Model:
		return nil, 0, errors.New("another model than the one served")
	case len(r.GetInputs()) != 1 || len(r.GetRawInputContents()) != 1:
		return nil, 0, errors.New("one raw input is wanted")
	}
	in, data := r.GetInputs()[0], r.GetRawInputContents()[0]
	shape := in.GetShape()
	if in.GetName() != Input || in.GetDatatype() != "UINT8" || len(shape) < 1 || !slices.Equal(shape[1:], s.cfg.Shape) || shape[0] < 1 || shape[0] > int64(s.cfg.Max) ||
		int64(len(data)) != product(shape) {
		return nil, 0, errors.New("another tensor than the metadata says, or a batch beyond the largest")
	}
	return data, int(shape[0]), nil
}

func product(shape []int64) int64 {
	size := int64(1)
	for _, extent := range shape {
		size *= extent
	}
	return size
}
