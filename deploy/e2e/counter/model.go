package counter

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/sluice-dev/sluice/proto/gen/inference"
)

// The model's picture, RGB, and its name.
const (
	modelName   = "counter"
	modelWidth  = 320
	modelHeight = 180
	pixelBytes  = 3
)

// ballast is a number that is long in JSON, and exact there.
const ballast = 1<<53 - 1

// Unreadable is the model's answer for a picture without a number that can be read.
const Unreadable = -1

// Options say how the model serves.
type Options struct {
	// Rate is how many pictures a second it takes; 0 is every one.
	Rate int
	// Batch is how many pictures it takes at once; 0 is 8.
	Batch int
	// Pace, if not nil, is what it takes for a batch. It has one batch in hand at a time then, as a device has.
	Pace *Pace
	// Ballast is how many long numbers follow in each answer, of 17 bytes as JSON: answers of a size that fills a slow reader's buffers.
	Ballast int
	// Asked, if not nil, is told of every batch, from any goroutine, with the call's context.
	Asked func(ctx context.Context)
}

// Pace is a duration that may change while a model runs. The zero value is none. It is safe for concurrent use.
type Pace struct{ nanoseconds atomic.Int64 }

// Set changes it for the batches to come.
func (p *Pace) Set(d time.Duration) { p.nanoseconds.Store(int64(d)) }

// model serves the counter as a model over the Open Inference Protocol: UINT8 pictures in, INT64 numbers out, in batches of any size.
type model struct {
	inference.UnimplementedGRPCInferenceServiceServer
	options Options
	device  sync.Mutex // held while a batch is in hand, where there is a pace
}

// Serve runs a model server on the loopback address until the test ends and gives a router's configuration with its model "counter", which takes rate pictures a second.
func Serve(t testing.TB, rate int) (router string) {
	t.Helper()
	return ServeWith(t, Options{Rate: rate})
}

// ServeWith is Serve for a model of other qualities.
func ServeWith(t testing.TB, options Options) (router string) {
	t.Helper()
	if options.Batch == 0 {
		options.Batch = 8
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(grpc.MaxRecvMsgSize(64 << 20))
	inference.RegisterGRPCInferenceServiceServer(server, &model{options: options})
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	t.Cleanup(func() {
		server.Stop()
		if err := <-done; err != nil {
			t.Errorf("the counter's model server: %v", err)
		}
	})
	return fmt.Sprintf(`
models:
  - name: %s
    backend: {oip: {targets: [%q]}}
    input: {width: %d, height: %d, fit: stretch, color: RGB, layout: NHWC, dtype: UINT8}
    output: {decoder: tensors}
    batch: {max: %d}
    rate: %d
    deadline: 500ms
`, modelName, "dns:///"+listener.Addr().String(), modelWidth, modelHeight, options.Batch, options.Rate)
}

func (*model) ServerLive(context.Context, *inference.ServerLiveRequest) (*inference.ServerLiveResponse, error) {
	return &inference.ServerLiveResponse{Live: true}, nil
}

func (*model) ServerReady(context.Context, *inference.ServerReadyRequest) (*inference.ServerReadyResponse, error) {
	return &inference.ServerReadyResponse{Ready: true}, nil
}

func (*model) ModelReady(_ context.Context, r *inference.ModelReadyRequest) (*inference.ModelReadyResponse, error) {
	return &inference.ModelReadyResponse{Ready: r.GetName() == modelName}, nil
}

func (m *model) ModelMetadata(_ context.Context, r *inference.ModelMetadataRequest) (*inference.ModelMetadataResponse, error) {
	if r.GetName() != modelName {
		return nil, status.Errorf(codes.NotFound, "unknown model %q", r.GetName())
	}
	type tensor = inference.ModelMetadataResponse_TensorMetadata
	return &inference.ModelMetadataResponse{
		Name:    modelName,
		Inputs:  []*tensor{{Name: "picture", Datatype: "UINT8", Shape: []int64{-1, modelHeight, modelWidth, pixelBytes}}},
		Outputs: []*tensor{{Name: "number", Datatype: "INT64", Shape: []int64{-1, int64(1 + m.options.Ballast)}}},
	}, nil
}

// ModelInfer reads the number in each picture.
func (m *model) ModelInfer(ctx context.Context, r *inference.ModelInferRequest) (*inference.ModelInferResponse, error) {
	const size = modelWidth * modelHeight * pixelBytes
	if r.GetModelName() != modelName || len(r.GetRawInputContents()) != 1 || len(r.GetRawInputContents()[0])%size != 0 {
		return nil, status.Error(codes.InvalidArgument, "one raw tensor of whole pictures is wanted")
	}
	if m.options.Asked != nil {
		m.options.Asked(ctx)
	}
	pictures := r.GetRawInputContents()[0]
	if err := m.work(ctx); err != nil {
		return nil, err
	}
	var numbers []byte
	for at := 0; at < len(pictures); at += size {
		numbers = binary.LittleEndian.AppendUint64(numbers, uint64(look(pictures[at:at+size])))
		for range m.options.Ballast {
			numbers = binary.LittleEndian.AppendUint64(numbers, ballast)
		}
	}
	return &inference.ModelInferResponse{
		ModelName: modelName, ModelVersion: "1", Id: r.GetId(),
		Outputs: []*inference.ModelInferResponse_InferOutputTensor{
			{Name: "number", Datatype: "INT64", Shape: []int64{int64(len(pictures) / size), int64(1 + m.options.Ballast)}},
		},
		RawOutputContents: [][]byte{numbers},
	}, nil
}

// work takes the time that a batch takes.
func (m *model) work(ctx context.Context) error {
	if m.options.Pace == nil {
		return nil
	}
	m.device.Lock()
	defer m.device.Unlock()
	select {
	case <-time.After(time.Duration(m.options.Pace.nanoseconds.Load())):
		return nil
	case <-ctx.Done():
		return status.FromContextError(ctx.Err()).Err()
	}
}

// look gives the number in an RGB picture of the model's size.
func look(picture []byte) int {
	number, ok := Read(modelWidth, modelHeight, func(x, y int) int {
		pixel := picture[pixelBytes*(y*modelWidth+x):]
		return (int(pixel[0]) + 2*int(pixel[1]) + int(pixel[2])) / 4
	})
	if !ok {
		return Unreadable
	}
	return number
}
