package trace

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/sluice-dev/sluice/pkg/media"
)

// Scope names the spans' instrumentation.
const Scope = "github.com/sluice-dev/sluice"

// Tracer begins the spans of units. A nil Tracer traces nothing. It is safe for concurrent use.
type Tracer struct {
	spans trace.Tracer
	share Share
}

// NewTracer makes a tracer that traces a share of the units about which nobody decided before. The provider must sample whatever it is given, and take the ids of spans
// without a parent from [Wanted].
func NewTracer(provider trace.TracerProvider, share Share) *Tracer {
	return &Tracer{provider.Tracer(Scope), share}
}

// Takes decides whether a unit is traced.
func (t *Tracer) Takes(unit media.Trace) bool { return t != nil && t.share.Takes(unit) }

// Begin begins the span that stands for all of a unit, with the ids of the unit's trace.
func (t *Tracer) Begin(unit media.Trace, name string, at time.Time, attributes ...attribute.KeyValue) trace.Span {
	ctx := context.WithValue(context.Background(), wanted{}, unit)
	_, span := t.spans.Start(ctx, name, trace.WithTimestamp(at), trace.WithSpanKind(trace.SpanKindServer), trace.WithAttributes(attributes...))
	return span
}

// Continue begins a span of a unit that another process traces: it told the parent.
func (t *Tracer) Continue(parent media.Trace, name string, at time.Time, attributes ...attribute.KeyValue) trace.Span {
	ctx := trace.ContextWithRemoteSpanContext(context.Background(), Context(parent, true))
	_, span := t.spans.Start(ctx, name, trace.WithTimestamp(at), trace.WithSpanKind(trace.SpanKindServer), trace.WithAttributes(attributes...))
	return span
}

// wanted is the key of Wanted.
type wanted struct{}

// Wanted gives the ids that a span without a parent is to have.
func Wanted(ctx context.Context) (media.Trace, bool) {
	t, ok := ctx.Value(wanted{}).(media.Trace)
	return t, ok
}

// Context gives a trace in OpenTelemetry's form.
func Context(t media.Trace, sampled bool) trace.SpanContext {
	return trace.NewSpanContext(trace.SpanContextConfig{TraceID: t.ID, SpanID: t.Span, TraceFlags: trace.TraceFlags(0).WithSampled(sampled)})
}

// Parent gives what another process needs to know to continue a span's trace; not valid for a nil span.
func Parent(span trace.Span) (t media.Trace) {
	if span != nil {
		c := span.SpanContext()
		t = media.Trace{ID: c.TraceID(), Span: c.SpanID()}
	}
	return t
}

// Child begins a part of a span, and gives a context in which it is the span, for what is called meanwhile. The parent must not be nil.
func Child(ctx context.Context, parent trace.Span, name string, at time.Time, options ...trace.SpanStartOption) (context.Context, trace.Span) {
	ctx = trace.ContextWithSpan(ctx, parent)
	return parent.TracerProvider().Tracer(Scope).Start(ctx, name, append(options, trace.WithTimestamp(at))...)
}

// Stage records a part of a span that is over. Where the parent is nil nothing is recorded.
func Stage(parent trace.Span, name string, from, to time.Time, attributes ...attribute.KeyValue) {
	if parent == nil {
		return
	}
	_, span := Child(context.Background(), parent, name, from, trace.WithAttributes(attributes...))
	span.End(trace.WithTimestamp(to))
}

// Part begins a part of the context's span, for which the caller calls End. Where nothing is traced it costs nothing, and neither do the methods of the span that it gives.
func Part(ctx context.Context, name string, kind trace.SpanKind) (context.Context, trace.Span) {
	span := trace.SpanFromContext(ctx)
	if !span.IsRecording() {
		return ctx, span
	}
	return span.TracerProvider().Tracer(Scope).Start(ctx, name, trace.WithSpanKind(kind))
}

// Ended notes on a span what became of a unit for a model.
func Ended(span trace.Span, o media.Outcome) {
	span.SetAttributes(Outcome(o)...)
	if o.Error != media.NoError {
		span.SetStatus(codes.Error, o.Error.String())
	}
}
