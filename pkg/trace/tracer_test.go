package trace_test

import (
	"testing"
	"time"

	oteltrace "go.opentelemetry.io/otel/trace"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/pkg/serve/tracetest"
	"github.com/sluice-dev/sluice/pkg/trace"
)

// TestPartsCostNothingWhereNothingIsTraced counts what it allocates to have parts of what is not traced.
func TestPartsCostNothingWhereNothingIsTraced(t *testing.T) {
	var tracer *trace.Tracer
	ctx, unit := t.Context(), trace.Of("s").Unit("camera", 1)
	if allocations := testing.AllocsPerRun(100, func() {
		within, span := trace.Part(ctx, "gather", oteltrace.SpanKindInternal)
		span.End()
		if within != ctx || span.IsRecording() || tracer.Takes(unit) || trace.Parent(nil).Valid() {
			t.Error("something is traced")
		}
		trace.Stage(nil, "queue", time.Time{}, time.Time{})
	}); allocations > 0 {
		t.Errorf("%v allocations, want none", allocations)
	}
}

// TestAnotherProcessContinues has a second process go on with a unit's trace, from what the first one told of it.
func TestAnotherProcessContinues(t *testing.T) {
	t.Parallel()
	edge, edges := tracetest.New(1)
	router, routers := tracetest.New(0)
	now, unit := time.Now(), trace.Of("s").Unit("camera", 1)
	whole := edge.Begin(unit, "unit", now)
	told, ok := media.ParseTrace(trace.Parent(whole).String())
	if !ok || told != unit {
		t.Fatalf("the edge tells of %v, want %v", told, unit)
	}
	frame := router.Continue(told, "frame", now)
	within, batch := trace.Child(t.Context(), frame, "batch", now)
	_, reply := trace.Part(within, "reply", oteltrace.SpanKindInternal)
	for _, s := range []oteltrace.Span{reply, batch, frame, whole} {
		s.End()
	}
	parent := unit.Span
	for _, s := range append(routers.Named("frame"), append(routers.Named("batch"), routers.Named("reply")...)...) {
		if s.SpanContext().TraceID() != unit.ID || s.Parent().SpanID() != parent {
			t.Errorf("%s is %v below %v, want trace %x below %x", s.Name(), s.SpanContext(), s.Parent(), unit.ID, parent)
		}
		parent = s.SpanContext().SpanID()
	}
	if len(edges.All()) != 1 || len(routers.All()) != 3 {
		t.Errorf("%d spans at the edge and %d in the router, want 1 and 3", len(edges.All()), len(routers.All()))
	}
}

func TestOutcomes(t *testing.T) {
	t.Parallel()
	for want, o := range map[string]media.Outcome{
		"result":                {Result: &media.Result{}},
		"drop EXPIRED":          {Drop: media.Expired},
		"error BACKEND_TIMEOUT": {Error: media.BackendTimeout, BatchSize: 2},
	} {
		tracer, recorder := tracetest.New(1)
		span := tracer.Begin(trace.Of("s").Unit("camera", 1), "unit", time.Now())
		trace.Ended(span, o)
		span.End()
		s := recorder.All()[0]
		got := tracetest.Attribute(s, "sluice.outcome")
		if reason := tracetest.Attribute(s, "sluice.reason"); reason != "" {
			got += " " + reason
		}
		if failed := s.Status().Description != ""; got != want || failed != (o.Error != media.NoError) {
			t.Errorf("%+v is %q, failed %v; want %q", o, got, failed, want)
		}
	}
}
