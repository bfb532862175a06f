// Package echo is a model server for tests that gives each frame back as it came, so that a test can tell whose answer it got.
package echo

import (
	"context"
	"fmt"
	"net"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/sluice-dev/sluice/proto/gen/inference"
)

const (
	// Model is the model's name.
	Model = "echo"
	// Values is the number of FP32 values of a frame.
	Values = 2

	bytesPerValue = 4
	batch         = 16
)

// Options say how the model serves.
type Options struct {
	// Takes is the time that each batch takes, however large.
	Takes time.Duration
	// Deadline is the model's.
	Deadline time.Duration
}

// model serves the Open Inference Protocol.
type model struct {
	inference.UnimplementedGRPCInferenceServiceServer
	takes time.Duration
}

// Serve runs a model server on the loopback address until the test ends and gives a router's configuration with its model.
func Serve(t testing.TB, options Options) (router string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	inference.RegisterGRPCInferenceServiceServer(server, model{takes: options.Takes})
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	t.Cleanup(func() {
		server.Stop()
		if err := <-done; err != nil {
			t.Errorf("the echoing model server: %v", err)
		}
	})
	return fmt.Sprintf(`
models:
  - name: %s
    backend: {oip: {targets: [%q]}}
    input: {kind: tensor, dtype: FP32, shape: [%d]}
    output: {decoder: tensors}
    batch: {max: %d}
    deadline: %s
`, Model, "dns:///"+listener.Addr().String(), Values, batch, options.Deadline)
}

func (model) ServerLive(context.Context, *inference.ServerLiveRequest) (*inference.ServerLiveResponse, error) {
	return &inference.ServerLiveResponse{Live: true}, nil
}

func (model) ServerReady(context.Context, *inference.ServerReadyRequest) (*inference.ServerReadyResponse, error) {
	return &inference.ServerReadyResponse{Ready: true}, nil
}

func (model) ModelReady(context.Context, *inference.ModelReadyRequest) (*inference.ModelReadyResponse, error) {
	return &inference.ModelReadyResponse{Ready: true}, nil
}

func (model) ModelMetadata(_ context.Context, r *inference.ModelMetadataRequest) (*inference.ModelMetadataResponse, error) {
	type tensor = inference.ModelMetadataResponse_TensorMetadata
	shape := []int64{-1, Values}
	return &inference.ModelMetadataResponse{
		Name: r.GetName(), Inputs: []*tensor{{Name: "in", Datatype: "FP32", Shape: shape}}, Outputs: []*tensor{{Name: "out", Datatype: "FP32", Shape: shape}},
	}, nil
}

func (m model) ModelInfer(ctx context.Context, r *inference.ModelInferRequest) (*inference.ModelInferResponse, error) {
	raw := r.GetRawInputContents()
	if len(raw) != 1 || len(raw[0])%(bytesPerValue*Values) != 0 {
		return nil, status.Error(codes.InvalidArgument, "one raw tensor of whole frames is wanted")
	}
	select {
	case <-time.After(m.takes):
	case <-ctx.Done():
		return nil, status.FromContextError(ctx.Err()).Err()
	}
	return &inference.ModelInferResponse{
		ModelName: r.GetModelName(), ModelVersion: "1", Id: r.GetId(),
		Outputs: []*inference.ModelInferResponse_InferOutputTensor{
			{Name: "out", Datatype: "FP32", Shape: []int64{int64(len(raw[0]) / (bytesPerValue * Values)), Values}},
		},
		RawOutputContents: [][]byte{raw[0]},
	}, nil
}
