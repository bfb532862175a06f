package backendtest

import (
	"context"
	"encoding/binary"
	"math"
	"net"
	"slices"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/pkg/tensor"
	"github.com/sluice-dev/sluice/proto/gen/inference"
	"github.com/sluice-dev/sluice/services/router/internal/backend"
)

// Server serves a driver over the Open Inference Protocol, as a well-behaved model server would.
type Server struct {
	inference.UnimplementedGRPCInferenceServiceServer

	// Model is the only name that it knows.
	Model string
	// Driver answers.
	Driver backend.Driver
	// Asked is told each batch, from any goroutine; nil means nobody.
	Asked func(r *inference.ModelInferRequest)
	// Typed sends outputs, FP32 and INT64 only, as typed contents instead of raw bytes.
	Typed bool
}

// Serve starts a server on the loopback interface and gives its address. It stops when the test ends.
func Serve(tb testing.TB, server inference.GRPCInferenceServiceServer, options ...grpc.ServerOption) string {
	tb.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	s := grpc.NewServer(append([]grpc.ServerOption{grpc.MaxRecvMsgSize(64 << 20)}, options...)...)
	inference.RegisterGRPCInferenceServiceServer(s, server)
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := s.Serve(listener); err != nil {
			tb.Errorf("the model server: %v", err)
		}
	}()
	tb.Cleanup(func() {
		s.Stop()
		<-done
	})
	return listener.Addr().String()
}

// ServerLive says yes.
func (*Server) ServerLive(context.Context, *inference.ServerLiveRequest) (*inference.ServerLiveResponse, error) {
	return &inference.ServerLiveResponse{Live: true}, nil
}

// ServerReady says yes.
func (*Server) ServerReady(context.Context, *inference.ServerReadyRequest) (*inference.ServerReadyResponse, error) {
	return &inference.ServerReadyResponse{Ready: true}, nil
}

// ModelReady asks the driver.
func (s *Server) ModelReady(ctx context.Context, r *inference.ModelReadyRequest) (*inference.ModelReadyResponse, error) {
	return &inference.ModelReadyResponse{Ready: r.GetName() == s.Model && s.Driver.Ready(ctx) == nil}, nil
}

// ModelMetadata describes the driver's model.
func (s *Server) ModelMetadata(ctx context.Context, r *inference.ModelMetadataRequest) (*inference.ModelMetadataResponse, error) {
	if r.GetName() != s.Model {
		return nil, status.Errorf(codes.NotFound, "unknown model %q", r.GetName())
	}
	d, err := s.Driver.Describe(ctx)
	if err != nil {
		return nil, status.Error(codes.Internal, err.Error())
	}
	return &inference.ModelMetadataResponse{Name: s.Model, Inputs: metadata(d.Inputs), Outputs: metadata(d.Outputs)}, nil
}

func metadata(specs []media.TensorSpec) []*inference.ModelMetadataResponse_TensorMetadata {
	list := make([]*inference.ModelMetadataResponse_TensorMetadata, len(specs))
	for i, s := range specs {
		list[i] = &inference.ModelMetadataResponse_TensorMetadata{Name: s.Name, Datatype: string(s.Datatype), Shape: wide(s.Shape)}
	}
	return list
}

func wide(shape []int) []int64 {
	list := make([]int64, len(shape))
	for i, extent := range shape {
		list[i] = int64(extent)
	}
	return list
}

// ModelInfer runs a batch on the driver.
func (s *Server) ModelInfer(ctx context.Context, r *inference.ModelInferRequest) (*inference.ModelInferResponse, error) {
	if r.GetModelName() != s.Model || len(r.GetInputs()) == 0 || len(r.GetRawInputContents()) != len(r.GetInputs()) {
		return nil, status.Error(codes.InvalidArgument, "raw inputs of the model served are wanted")
	}
	if s.Asked != nil {
		s.Asked(r)
	}
	d, err := s.Driver.Describe(ctx)
	if err != nil {
		return nil, status.Error(codes.Internal, err.Error())
	}
	var request backend.Request
	for i, in := range r.GetInputs() {
		input := media.RawTensor{Name: in.GetName(), Datatype: media.Datatype(in.GetDatatype()), Data: r.GetRawInputContents()[i]}
		for _, extent := range in.GetShape() {
			input.Shape = append(input.Shape, int(extent))
		}
		request.Inputs = append(request.Inputs, input)
	}
	for _, o := range r.GetOutputs() {
		at := slices.IndexFunc(d.Outputs, func(s media.TensorSpec) bool { return s.Name == o.GetName() })
		if at < 0 {
			return nil, status.Errorf(codes.InvalidArgument, "there is no output %q", o.GetName())
		}
		request.Outputs = append(request.Outputs, tensor.Declared{TensorSpec: d.Outputs[at]})
	}
	output, err := s.Driver.Infer(ctx, request)
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	if output.Release != nil {
		defer output.Release()
	}
	return s.answer(r, output.Tensors), nil
}

func (s *Server) answer(r *inference.ModelInferRequest, tensors []media.RawTensor) *inference.ModelInferResponse {
	response := &inference.ModelInferResponse{ModelName: s.Model, ModelVersion: "1", Id: r.GetId()}
	for _, t := range tensors {
		out := &inference.ModelInferResponse_InferOutputTensor{Name: t.Name, Datatype: string(t.Datatype), Shape: wide(t.Shape)}
		if s.Typed {
			out.Contents = typed(t)
		} else {
			response.RawOutputContents = append(response.RawOutputContents, t.Data)
		}
		response.Outputs = append(response.Outputs, out)
	}
	return response
}

// typed gives the contents of an FP32 or INT64 tensor; of another it gives none.
func typed(t media.RawTensor) *inference.InferTensorContents {
	contents := &inference.InferTensorContents{}
	switch t.Datatype {
	case media.FP32:
		for at := 0; at < len(t.Data); at += 4 {
			contents.Fp32Contents = append(contents.Fp32Contents, math.Float32frombits(binary.LittleEndian.Uint32(t.Data[at:])))
		}
	case media.Int64:
		for at := 0; at < len(t.Data); at += 8 {
			contents.Int64Contents = append(contents.Int64Contents, int64(binary.LittleEndian.Uint64(t.Data[at:])))
		}
	default:
	}
	return contents
}
