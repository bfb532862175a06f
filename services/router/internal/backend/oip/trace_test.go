package oip_test

import (
	"context"
	"testing"
	"time"

	oteltrace "go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc/metadata"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/pkg/serve/tracetest"
	"github.com/sluice-dev/sluice/pkg/trace"
	"github.com/sluice-dev/sluice/proto/gen/inference"
	"github.com/sluice-dev/sluice/services/router/internal/backend"
	"github.com/sluice-dev/sluice/services/router/internal/backend/backendtest"
	"github.com/sluice-dev/sluice/services/router/internal/backend/oip"
)

// listening is a model server that notes what the calls for batches say of traces.
type listening struct {
	*backendtest.Server
	told chan []string
}

func (l listening) ModelInfer(ctx context.Context, r *inference.ModelInferRequest) (*inference.ModelInferResponse, error) {
	incoming, _ := metadata.FromIncomingContext(ctx)
	l.told <- incoming.Get("traceparent")
	return l.Server.ModelInfer(ctx, r)
}

// TestTheServerIsToldOfTheTrace runs a batch that is traced, and one that is not: the first one's call is a span, of which the server is told.
func TestTheServerIsToldOfTheTrace(t *testing.T) {
	t.Parallel()
	config := small()
	server := listening{&backendtest.Server{Model: "small", Driver: backendtest.NewFake("fake", config)}, make(chan []string, 8)}
	address := backendtest.Serve(t, server)
	model, err := backend.New(config, open(t, oip.Config{Target: address, Model: "small"}))
	if err != nil {
		t.Fatal(err)
	}
	defer model.Close()
	if err := model.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	for len(server.told) > 0 { // of the warming up
		if told := <-server.told; len(told) > 0 {
			t.Errorf("before any batch the server was told of %v", told)
		}
	}
	infer := func(ctx context.Context) []string {
		t.Helper()
		reply, err := model.Infer(ctx, 0, backendtest.Frames(make([]byte, 12)))
		if err != nil {
			t.Fatal(err)
		}
		reply.Release()
		return <-server.told
	}
	if told := infer(t.Context()); len(told) > 0 {
		t.Errorf("of a batch that is not traced the server was told %v", told)
	}
	tracer, recorder := tracetest.New(1)
	batch := tracer.Begin(trace.Of("s").Unit("camera", 1), "batch", time.Now())
	told := infer(oteltrace.ContextWithSpan(t.Context(), batch))
	batch.End()
	calls := recorder.Named("backend")
	if len(calls) != 1 || len(recorder.Named("gather")) != 1 || tracetest.Attribute(calls[0], "sluice.target") != address {
		t.Fatalf("the batch's spans are %v", recorder.All())
	}
	at := calls[0].SpanContext()
	if want := (media.Trace{ID: at.TraceID(), Span: at.SpanID()}).String(); len(told) != 1 || told[0] != want {
		t.Errorf("the server was told %v, want %s", told, want)
	}
}
