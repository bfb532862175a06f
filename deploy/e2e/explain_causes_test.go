//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/sluice-dev/sluice/deploy/e2e/stack"
	"github.com/sluice-dev/sluice/proto/gen/inference"
	sluicev1 "github.com/sluice-dev/sluice/proto/gen/sluice/v1"
)

// faultDeadline is the deadline of most of the models, and longFault that of those whose frames must wait for long.
const (
	faultDeadline = 250 * time.Millisecond
	longFault     = 20 * time.Second
)

// provoking is a tensor that the faulty models misbehave at; routers try a model with zeros first.
func provoking() []byte { return bytes.Repeat([]byte{0x3f}, 4*4) }

// harmless is a message of a type that nothing goes wrong with: zeros, or what looks like a picture and is none.
func harmless(protocol string) []byte {
	if protocol == tensorType {
		return make([]byte, 4*4)
	}
	return emptyPNG(64)
}

// calmCauses are the ends that neither stop nor kill anything, so that all of them may come about at once.
func calmCauses() []cause {
	order, queue := []sluicev1.Life_Stage{sluicev1.Life_ORDER}, []sluicev1.Life_Stage{sluicev1.Life_QUEUE, sluicev1.Life_INFER}
	infer, picture := []sluicev1.Life_Stage{sluicev1.Life_INFER}, "image/png"
	one := func(e *explained) { e.send(provoking()) }
	return []cause{
		{"RESULT", []sluicev1.Life_Stage{sluicev1.Life_HOMEWARD}, "echo", tensorType, one, false},
		{"SUPERSEDED", []sluicev1.Life_Stage{sluicev1.Life_TURN, sluicev1.Life_SLOT, sluicev1.Life_QUEUE}, "slow", tensorType, func(e *explained) {
			for range 20 {
				e.send(provoking())
			}
		}, false},
		{"EXPIRED", []sluicev1.Life_Stage{sluicev1.Life_TURN}, "echo", tensorType, func(e *explained) {
			halves := twoChunks(provoking())
			e.send(halves[0])
			<-time.After(2 * faultDeadline) // the pace of a sender that is too slow
			e.send(halves[1])
		}, false},
		{"OVERLOADED", []sluicev1.Life_Stage{sluicev1.Life_TURN}, "pictures", picture, func(e *explained) { e.send(emptyPNG(6000)) }, false},
		{"DAMAGED", order, "echo", tensorType, func(e *explained) {
			// Of two messages at most the chunks are kept: a third one makes room.
			for id := range uint32(3) {
				e.send(chunks(id, make([]byte, 65<<10))[0])
			}
		}, false},
		{"RATE_LIMITED", order, "echo", tensorType, func(e *explained) {
			for range 12 {
				e.send(make([]byte, 250_000))
			}
		}, false},
		{"TOO_LARGE", order, "echo", tensorType, func(e *explained) { e.send(chunks(1, make([]byte, 1200<<10))...) }, false},
		{"DRAINING", []sluicev1.Life_Stage{sluicev1.Life_OUTWARD}, "hangs-on", tensorType, func(e *explained) {
			e.send(provoking())
			stack.Eventually(e.t, outcomeLimit, "the frame is away", func() error {
				request := fmt.Sprintf(`{"session": %q, "stream": "hangs-on", "sequence": %d}`, e.ID, e.sent)
				out, err := stack.TryCommand(e.t, "", explainLimit, stack.Tool(e.t, "grpcurl"), "-plaintext", "-d", request, e.stack.EdgeGRPC, "sluice.v1.InspectService/Explain")
				if err == nil && !containsAll(out, `"OUTWARD"`, `"inFlight"`) {
					err = errors.New(out)
				}
				return err
			})
			if err := e.Delete(e.t.Context()); err != nil {
				e.t.Fatal(err)
			}
		}, true},
		{"BACKEND_UNAVAILABLE", queue, "away", tensorType, one, false},
		{"BACKEND_TIMEOUT", infer, "hangs", tensorType, one, false},
		{"BACKEND_PROTOCOL", infer, "garbles", tensorType, one, false},
		{"BACKEND_REJECTED", infer, "refuses", tensorType, one, false},
		{"DECODER", []sluicev1.Life_Stage{sluicev1.Life_DECODE}, "pictures", picture, func(e *explained) { e.send(emptyPNG(64)) }, false},
		{"UNSUPPORTED", order, "pictures", picture, func(e *explained) { e.send(hugePNG()) }, false},
	}
}

// twoChunks cuts a message in two halves, as DESIGN 2.4 says.
func twoChunks(message []byte) [2][]byte {
	var halves [2][]byte
	for i := range halves {
		b := []byte("SLC1")
		for _, word := range []uint32{1, uint32(i), 2} {
			b = binary.BigEndian.AppendUint32(b, word)
		}
		halves[i] = append(b, message[i*len(message)/2:(i+1)*len(message)/2]...)
	}
	return halves
}

// emptyPNG is a well-formed header of a picture of side × side pixels and nothing of the picture.
func emptyPNG(side uint32) []byte {
	chunk := func(kind string, data []byte) []byte {
		b := binary.BigEndian.AppendUint32(nil, uint32(len(data)))
		body := append([]byte(kind), data...)
		return binary.BigEndian.AppendUint32(append(b, body...), crc32.ChecksumIEEE(body))
	}
	header := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, side), side)
	return bytes.Join([][]byte{
		[]byte("\x89PNG\r\n\x1a\n"), chunk("IHDR", append(header, 8, 2, 0, 0, 0)), chunk("IDAT", []byte{0x78, 0x9c, 1, 0, 0, 0xff, 0xff}), chunk("IEND", nil),
	}, nil)
}

// faults serves models over the Open Inference Protocol, each of which does by its name what a model server should not.
type faults struct {
	inference.UnimplementedGRPCInferenceServiceServer
}

// serveFaults runs it until the test ends and gives the router's configuration of its models, and of one whose server is not there.
func serveFaults(t *testing.T) (models string) {
	t.Helper()
	address := serveGRPC(t, func(s *grpc.Server) { inference.RegisterGRPCInferenceServiceServer(s, faults{}) })
	nobody, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := nobody.Close(); err != nil {
		t.Fatal(err)
	}
	models = "\nmodels:"
	for name, m := range map[string]struct {
		server   string
		deadline time.Duration
	}{
		"echo": {address, faultDeadline}, "slow": {address, longFault}, "hangs": {address, faultDeadline}, "hangs-on": {address, longFault},
		"garbles": {address, faultDeadline}, "refuses": {address, faultDeadline}, "away": {nobody.Addr().String(), faultDeadline},
	} {
		models += fmt.Sprintf(`
  - name: %s
    backend: {oip: {targets: [%q]}}
    input: {kind: tensor, dtype: FP32, shape: [4]}
    output: {decoder: tensors}
    batch: {max: 1}
    deadline: %s
`, name, "dns:///"+m.server, m.deadline)
	}
	return models + fmt.Sprintf(`
  - name: pictures
    backend: {oip: {targets: [%q]}}
    input: {width: 8, height: 8, fit: stretch, color: RGB, layout: NHWC, dtype: UINT8}
    output: {decoder: tensors}
    batch: {max: 1}
    deadline: %s
`, "dns:///"+address, longFault)
}

// serveGRPC serves until the test ends.
func serveGRPC(t *testing.T, register func(*grpc.Server)) (address string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(grpc.MaxRecvMsgSize(64 << 20))
	register(server)
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	t.Cleanup(func() {
		server.Stop()
		if err := <-done; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return listener.Addr().String()
}

func (faults) ServerLive(context.Context, *inference.ServerLiveRequest) (*inference.ServerLiveResponse, error) {
	return &inference.ServerLiveResponse{Live: true}, nil
}

func (faults) ServerReady(context.Context, *inference.ServerReadyRequest) (*inference.ServerReadyResponse, error) {
	return &inference.ServerReadyResponse{Ready: true}, nil
}

func (faults) ModelReady(context.Context, *inference.ModelReadyRequest) (*inference.ModelReadyResponse, error) {
	return &inference.ModelReadyResponse{Ready: true}, nil
}

func (faults) ModelMetadata(_ context.Context, r *inference.ModelMetadataRequest) (*inference.ModelMetadataResponse, error) {
	type tensor = inference.ModelMetadataResponse_TensorMetadata
	in := &tensor{Name: "in", Datatype: "FP32", Shape: []int64{-1, 4}}
	if r.GetName() == "pictures" {
		in = &tensor{Name: "in", Datatype: "UINT8", Shape: []int64{-1, 8, 8, 3}}
	}
	return &inference.ModelMetadataResponse{
		Name: r.GetName(), Inputs: []*tensor{in}, Outputs: []*tensor{{Name: "out", Datatype: "FP32", Shape: []int64{-1, 1}}},
	}, nil
}

// ModelInfer does what the model's name says, but for zeros.
func (faults) ModelInfer(ctx context.Context, r *inference.ModelInferRequest) (*inference.ModelInferResponse, error) {
	answer, name := make([]byte, 4), r.GetModelName()
	if raw := r.GetRawInputContents(); len(raw) != 1 || raw[0][0] == 0 {
		name = ""
	}
	switch name {
	case "hangs", "hangs-on":
		<-ctx.Done()
		return nil, status.FromContextError(ctx.Err()).Err()
	case "slow":
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
		}
	case "refuses":
		return nil, status.Error(codes.InvalidArgument, "a secret of the model server")
	case "garbles":
		answer = answer[:3]
	}
	return &inference.ModelInferResponse{
		ModelName: r.GetModelName(), ModelVersion: "1", Id: r.GetId(),
		Outputs:           []*inference.ModelInferResponse_InferOutputTensor{{Name: "out", Datatype: "FP32", Shape: []int64{1, 1}}},
		RawOutputContents: [][]byte{answer},
	}, nil
}

// failingRouter has one model, "broken", and fails at every frame. INTERNAL is a defect, and there is none to show it with: so the router is the test's own.
type failingRouter struct {
	sluicev1.UnimplementedRouterServiceServer
	sluicev1.UnimplementedInspectServiceServer
}

// serveFailingRouter runs it until the test ends.
func serveFailingRouter(t *testing.T) (address string) {
	t.Helper()
	return serveGRPC(t, func(s *grpc.Server) {
		sluicev1.RegisterRouterServiceServer(s, failingRouter{})
		sluicev1.RegisterInspectServiceServer(s, failingRouter{})
		healthv1.RegisterHealthServer(s, health.NewServer())
	})
}

func (failingRouter) models() ([]*sluicev1.Model, []*sluicev1.Input) {
	form := &sluicev1.Input_Tensor{Tensor: &sluicev1.TensorInput{Datatype: new("FP32"), Shape: []uint32{4}}}
	return []*sluicev1.Model{{
		Name: new("broken"), InputId: new(uint32(1)), Deadline: new(longFault.Seconds()), Result: new("tensors"), Ready: new(true), MaxBatch: new(uint32(1)),
	}}, []*sluicev1.Input{{Id: new(uint32(1)), Kind: form}}
}

func (r failingRouter) ListModels(context.Context, *sluicev1.ListModelsRequest) (*sluicev1.ListModelsResponse, error) {
	models, inputs := r.models()
	return &sluicev1.ListModelsResponse{Models: models, Inputs: inputs}, nil
}

func (r failingRouter) Stream(stream sluicev1.RouterService_StreamServer) error {
	models, inputs := r.models()
	opened := &sluicev1.Opened{Models: models, Inputs: inputs, Window: new(uint32(1)), Router: new("of the test")}
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		responses := []*sluicev1.StreamResponse{{Body: &sluicev1.StreamResponse_Opened{Opened: opened}}}
		if f := m.GetFrame(); f != nil {
			failure := &sluicev1.Outcome_Error{Error: &sluicev1.Error{Code: sluicev1.Error_INTERNAL.Enum()}}
			responses = []*sluicev1.StreamResponse{
				{Body: &sluicev1.StreamResponse_Outcome{Outcome: &sluicev1.Outcome{
					Stream: f.Stream, Sequence: f.Sequence, Model: f.GetDue()[0].Model, End: failure,
				}}},
				{Body: &sluicev1.StreamResponse_Credit{Credit: &sluicev1.Credit{Stream: f.Stream, InputId: f.InputId, Frames: new(uint32(1))}}},
			}
		}
		for _, response := range responses {
			if err := stream.Send(response); err != nil {
				return err
			}
		}
	}
}
