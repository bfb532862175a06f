// Package oip runs models on servers that speak the Open Inference Protocol, version 2, over gRPC: Triton, KServe, MLServer, OpenVINO Model
// Server. Tensors are sent as raw bytes; both raw and typed answers are taken.
package oip

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"math"
	"strconv"
	"sync/atomic"
	"time"

	oteltrace "go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/pkg/serve"
	"github.com/sluice-dev/sluice/pkg/tensor"
	"github.com/sluice-dev/sluice/pkg/wire"
	"github.com/sluice-dev/sluice/proto/gen/inference"
	"github.com/sluice-dev/sluice/services/router/internal/backend"
)

// Config says where a model is served.
type Config struct {
	// Target is a gRPC target, such as dns:///triton:8001. Calls go round all addresses that it resolves to; see serve.DNS for names.
	Target string
	// Model is the model's name on the server.
	Model string
	// Version is its version; empty lets the server choose.
	Version string
	// Credentials secure the connection; nil is plain text.
	Credentials credentials.TransportCredentials
	// Correlate tells the server with each batch whose frames they are; see correlate.go.
	Correlate bool
	// Codec writes requests, which are protobuf messages to it; nil sends their tensors from where they lie. It is there for comparing the two.
	Codec encoding.CodecV2
	// MaxReply bounds an answer whose size the model does not declare, in bytes; 0 means 64 MiB.
	MaxReply int
}

const (
	defaultMaxReply = 64 << 20
	// maxControl bounds the answers about readiness and metadata.
	maxControl = 1 << 20
	// typedOverhead is how much larger than its tensor a typed answer can be: 10 bytes for a negative INT32 in 4, rounded up.
	typedOverhead = 3
	// envelope is room for names and shapes.
	envelope = 64 << 10
	// maxHeaders bounds the headers and trailers of an answer, among them the server's words about an error. Beyond it the connection is given up.
	maxHeaders = 1 << 20
)

// Driver runs one model on one target. See [backend.Driver].
type Driver struct {
	config Config
	conn   *grpc.ClientConn
	client inference.GRPCInferenceServiceClient
	lender *wire.Lender // nil where the connection is encrypted
	// The id of a request is the driver's own, which nobody else has, and a number: what is an answer to others is then none to it.
	name string
	ids  atomic.Uint64

	gate backend.Gate
}

// Open makes a driver. It connects in the background, so a target that is away is no error here.
func Open(config Config) (*Driver, error) {
	if config.Target == "" || config.Model == "" {
		return nil, errors.New("an oip backend needs a target and a model")
	}
	if config.MaxReply < 0 {
		return nil, fmt.Errorf("target %s: a largest answer of %d bytes: must not be negative", config.Target, config.MaxReply)
	}
	if config.MaxReply == 0 {
		config.MaxReply = defaultMaxReply
	}
	var lender *wire.Lender
	secure := []grpc.DialOption{grpc.WithTransportCredentials(config.Credentials)}
	switch {
	case config.Credentials == nil && config.Codec == nil:
		lender = &wire.Lender{}
		secure = lender.DialOptions()
	case config.Credentials == nil:
		secure = []grpc.DialOption{grpc.WithTransportCredentials(insecure.NewCredentials())}
	}
	conn, err := grpc.NewClient(config.Target, append(secure,
		grpc.WithDefaultServiceConfig(`{"loadBalancingConfig": [{"round_robin": {}}]}`),
		grpc.WithDisableServiceConfig(), // how calls are made is this program's business, not DNS's
		grpc.WithResolvers(serve.DNS()),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: time.Second},
			MinConnectTimeout: 2 * time.Second,
		}),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 10 * time.Second, Timeout: 5 * time.Second}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxControl)),
		grpc.WithMaxHeaderListSize(maxHeaders),
		grpc.WithStatsHandler(trailerWatch{}),
	)...)
	if err != nil {
		return nil, fmt.Errorf("target %s: %w", config.Target, err)
	}
	return &Driver{config: config, conn: conn, client: inference.NewGRPCInferenceServiceClient(conn), name: rand.Text() + "-", lender: lender}, nil
}

// Target gives the gRPC target.
func (d *Driver) Target() string { return d.config.Target }

// Ready asks for the model's readiness.
func (d *Driver) Ready(ctx context.Context) error {
	if err := d.gate.Enter(); err != nil {
		return err
	}
	defer d.gate.Leave()
	ctx, seen := watchTrailer(ctx)
	answer, err := d.client.ModelReady(ctx, &inference.ModelReadyRequest{Name: d.config.Model, Version: d.config.Version})
	if err != nil {
		return failure(ctx, err, seen)
	}
	if !answer.GetReady() {
		return &backend.Error{Code: media.BackendUnavailable, Reason: fmt.Sprintf("model %s is not ready there, or not known", d.config.Model)}
	}
	return nil
}

// Describe asks for the model's metadata.
func (d *Driver) Describe(ctx context.Context) (backend.Description, error) {
	if err := d.gate.Enter(); err != nil {
		return backend.Description{}, err
	}
	defer d.gate.Leave()
	ctx, seen := watchTrailer(ctx)
	answer, err := d.client.ModelMetadata(ctx, &inference.ModelMetadataRequest{Name: d.config.Model, Version: d.config.Version})
	if err != nil {
		return backend.Description{}, failure(ctx, err, seen)
	}
	description, err := describe(answer)
	if err != nil {
		return backend.Description{}, backend.Fail(media.BackendProtocol, "the model's metadata cannot be used", err.Error())
	}
	return description, nil
}

// Scatters tells that payloads are sent from where they lie.
func (d *Driver) Scatters() bool { return d.config.Codec == nil }

// Infer sends one batch and waits for its answer.
func (d *Driver) Infer(ctx context.Context, batch backend.Request) (backend.Output, error) {
	if err := d.gate.Enter(); err != nil {
		return backend.Output{}, err
	}
	defer d.gate.Leave()
	request := &question{d.request(batch), batch.Pieces, batch.Keep, d.lender}
	var reply answer
	ctx, seen := watchTrailer(traced(ctx))
	err := d.conn.Invoke(ctx, inference.GRPCInferenceService_ModelInfer_FullMethodName, request, &reply,
		grpc.ForceCodecV2(codec{d.config.Codec}), grpc.MaxCallRecvMsgSize(d.limit(len(batch.Frames), batch.Outputs)))
	if err != nil {
		return backend.Output{}, failure(ctx, err, seen)
	}
	tensors, err := reply.tensors(request.ModelInferRequest)
	if err != nil {
		return backend.Output{}, backend.Fail(media.BackendProtocol, "the answer breaks the protocol", err.Error())
	}
	return backend.Output{Tensors: tensors, Compute: reply.compute()}, nil
}

// traced tells the server of the span that is open where the batch is traced (W3C Trace Context section 3.2).
func traced(ctx context.Context) context.Context {
	span := oteltrace.SpanContextFromContext(ctx)
	if !span.IsSampled() {
		return ctx
	}
	return metadata.AppendToOutgoingContext(ctx, "traceparent", media.Trace{ID: span.TraceID(), Span: span.SpanID()}.String())
}

func (d *Driver) request(batch backend.Request) *inference.ModelInferRequest {
	request := &inference.ModelInferRequest{
		ModelName:    d.config.Model,
		ModelVersion: d.config.Version,
		Id:           d.name + strconv.FormatUint(d.ids.Add(1), 10),
	}
	for _, input := range batch.Inputs {
		tensor := &inference.ModelInferRequest_InferInputTensor{Name: input.Name, Datatype: string(input.Datatype)}
		for _, extent := range input.Shape {
			tensor.Shape = append(tensor.Shape, int64(extent))
		}
		request.Inputs = append(request.Inputs, tensor)
		request.RawInputContents = append(request.RawInputContents, input.Data)
	}
	for _, output := range batch.Outputs {
		request.Outputs = append(request.Outputs, &inference.ModelInferRequest_InferRequestedOutputTensor{Name: output.Name})
	}
	if d.config.Correlate {
		correlate(request, batch.Frames)
	}
	return request
}

// limit gives the size that an answer for a batch may have: little more than declared, where sizes are declared.
func (d *Driver) limit(frames int, outputs []tensor.Declared) int {
	total := 0
	for _, output := range outputs {
		size := output.Datatype.Size()
		if size == 0 {
			return d.config.MaxReply
		}
		for axis, extent := range output.Shape {
			if axis == output.Axis {
				extent = frames
			}
			if extent < 0 || size > math.MaxInt32 {
				return d.config.MaxReply
			}
			size *= extent
		}
		total += size
	}
	return min(total*typedOverhead+envelope, d.config.MaxReply)
}

// Close closes the connection after the calls in progress.
func (d *Driver) Close() error { return d.gate.Close(d.conn.Close) }
