//go:build e2e

package e2e

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"net"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/sluice-dev/sluice/deploy/e2e/counter"
	"github.com/sluice-dev/sluice/deploy/e2e/stack"
	"github.com/sluice-dev/sluice/proto/gen/inference"
)

// handValues and bigValues are the lengths of the tensors: one goes as a message, the other in chunks.
const (
	handValues = 63
	bigValues  = 80_000
)

// spans serves two models over the Open Inference Protocol that tell the smallest and the largest value of each tensor, and the sum.
type spans struct {
	inference.UnimplementedGRPCInferenceServiceServer
}

// serveSpans runs it until the test ends and gives the router's configuration of its models.
func serveSpans(t *testing.T) (models string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(grpc.MaxRecvMsgSize(64 << 20))
	inference.RegisterGRPCInferenceServiceServer(server, spans{})
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	t.Cleanup(func() {
		server.Stop()
		if err := <-done; err != nil {
			t.Errorf("the model server of tensors: %v", err)
		}
	})
	for name, length := range map[string]int{"hand": handValues, "big": bigValues} {
		models += fmt.Sprintf(`
  - name: %s
    backend: {oip: {targets: [%q]}}
    input: {kind: tensor, dtype: FP32, shape: [%d]}
    output: {decoder: tensors}
    batch: {max: 4}
    deadline: 1s
`, name, "dns:///"+listener.Addr().String(), length)
	}
	return models
}

func (spans) length(model string) (int, error) {
	switch model {
	case "hand":
		return handValues, nil
	case "big":
		return bigValues, nil
	}
	return 0, status.Errorf(codes.NotFound, "unknown model %q", model)
}

func (spans) ServerLive(context.Context, *inference.ServerLiveRequest) (*inference.ServerLiveResponse, error) {
	return &inference.ServerLiveResponse{Live: true}, nil
}

func (spans) ServerReady(context.Context, *inference.ServerReadyRequest) (*inference.ServerReadyResponse, error) {
	return &inference.ServerReadyResponse{Ready: true}, nil
}

func (spans) ModelReady(context.Context, *inference.ModelReadyRequest) (*inference.ModelReadyResponse, error) {
	return &inference.ModelReadyResponse{Ready: true}, nil
}

func (s spans) ModelMetadata(_ context.Context, r *inference.ModelMetadataRequest) (*inference.ModelMetadataResponse, error) {
	length, err := s.length(r.GetName())
	type tensor = inference.ModelMetadataResponse_TensorMetadata
	return &inference.ModelMetadataResponse{
		Name:    r.GetName(),
		Inputs:  []*tensor{{Name: "values", Datatype: "FP32", Shape: []int64{-1, int64(length)}}},
		Outputs: []*tensor{{Name: "span", Datatype: "FP64", Shape: []int64{-1, 3}}},
	}, err
}

func (s spans) ModelInfer(_ context.Context, r *inference.ModelInferRequest) (*inference.ModelInferResponse, error) {
	length, err := s.length(r.GetModelName())
	if err != nil {
		return nil, err
	}
	if len(r.GetRawInputContents()) != 1 || len(r.GetRawInputContents()[0])%(4*length) != 0 {
		return nil, status.Error(codes.InvalidArgument, "one raw tensor of whole frames is wanted")
	}
	raw, out := r.GetRawInputContents()[0], []byte(nil)
	for at := 0; at < len(raw); at += 4 * length {
		least, most, sum := math.Inf(1), math.Inf(-1), 0.0
		for i := at; i < at+4*length; i += 4 {
			value := float64(math.Float32frombits(binary.LittleEndian.Uint32(raw[i:])))
			least, most, sum = min(least, value), max(most, value), sum+value
		}
		for _, value := range []float64{least, most, sum} {
			out = binary.LittleEndian.AppendUint64(out, math.Float64bits(value))
		}
	}
	return &inference.ModelInferResponse{
		ModelName: r.GetModelName(), ModelVersion: "1", Id: r.GetId(),
		Outputs: []*inference.ModelInferResponse_InferOutputTensor{
			{Name: "span", Datatype: "FP64", Shape: []int64{int64(len(raw) / (4 * length)), 3}},
		},
		RawOutputContents: [][]byte{out},
	}, nil
}

// sentMessages is what the page that sends pictures and tensors by the SDK reports.
type sentMessages struct {
	State string
	// Sent and Unsent count the messages at an easy pace, Flooded and Given those of the burst after it, of which Last tells whether the last was sent.
	Sent, Unsent, Flooded, Given int
	Last                         bool
	Seen                         []struct {
		Stream, Model, End string
		Sequence           int
		Values             []float64
		Captured           *float64
	}
	Complaints []string
}

// What the SDK sends over data channels reaches the models whole, in chunks or not, as it was when it was sent; each outcome is about the moment that the SDK says; and when there is
// more than the network takes the newest goes.
func TestMessagesBySDK(t *testing.T) {
	beside(t, 0.7)
	const count, burst = 50, 40
	site := pages(t)
	s := stack.Start(t, stack.Options{
		Router: counter.Serve(t, 15) + serveSpans(t), EdgeFlags: []string{"--http.origins", site, "--limits.bitrate", "200Mbps"},
	})
	b := browse(t, "visit.mjs", time.Minute, map[string]any{
		"url": site + "/messages.html",
		"run": map[string]any{"edge": s.HTTP, "count": count, "burst": burst, "hand": handValues, "big": bigValues},
	})
	var report sentMessages
	b.next(t, &report)
	b.end()
	for _, complaint := range report.Complaints {
		t.Errorf("the page: %s", complaint)
	}
	if report.State != "connected" || report.Sent+report.Unsent != 3*count || report.Flooded+report.Given != burst || !report.Last {
		t.Fatalf("the session is %s; of %d messages %d were sent and %d not, of a burst of %d %d and %d, the last one %t",
			report.State, 3*count, report.Sent, report.Unsent, burst, report.Flooded, report.Given, report.Last)
	}
	if report.Given == 0 {
		t.Errorf("a burst of %d messages of %d bytes was sent whole: nothing was superseded", burst, 4*bigValues)
	}
	report.checkOutcomes(t, count)
}

// checkOutcomes compares what the models saw with what the SDK says that the outcomes are about.
func (r *sentMessages) checkOutcomes(t *testing.T, count int) {
	t.Helper()
	lengths := map[string]float64{"hand": handValues, "big": bigValues}
	results, ends := map[string]int{}, map[string]int{}
	for _, o := range r.Seen {
		ends[o.End]++
		stream := o.Model
		if o.Model == "counter" {
			stream = "images"
		}
		if o.Stream != stream || o.Captured == nil {
			t.Errorf("an outcome of no message: %+v", o)
			continue
		}
		if o.End != "result" {
			continue
		}
		results[o.Model]++
		number := *o.Captured
		switch {
		case o.Model == "counter" && (len(o.Values) != 1 || o.Values[0] != number):
			t.Errorf("the picture sent at %g shows the model %v", number, o.Values)
		case o.Model != "counter" && (len(o.Values) != 3 || o.Values[0] != number || o.Values[1] != number || o.Values[2] != number*lengths[o.Model]):
			t.Errorf("the tensor of %s sent at %g has the span and the sum %v", o.Model, number, o.Values)
		}
	}
	t.Logf("outcomes %v, results %v; %d messages superseded at an easy pace, %d of the burst", ends, results, r.Unsent, r.Given)
	for _, model := range []string{"counter", "hand", "big"} {
		if results[model] < count*6/10 {
			t.Errorf("%d results of %d messages for %s, want 6 of 10: it is a message each 100 ms", results[model], count, model)
		}
	}
}
