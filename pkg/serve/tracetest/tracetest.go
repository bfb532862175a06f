// Package tracetest records the spans of traced units for tests.
package tracetest

import (
	"slices"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/sluice-dev/sluice/pkg/serve"
	sluicetrace "github.com/sluice-dev/sluice/pkg/trace"
)

// Recorder keeps the spans that ended. It is safe for concurrent use.
type Recorder struct{ spans *tracetest.SpanRecorder }

// New gives a tracer of a fraction of all units, and what records its spans.
func New(fraction float64) (*sluicetrace.Tracer, *Recorder) {
	spans := tracetest.NewSpanRecorder()
	provider := sdktrace.NewTracerProvider(
		sdktrace.WithSampler(sdktrace.AlwaysSample()), sdktrace.WithIDGenerator(serve.SpanIDs{}), sdktrace.WithSpanProcessor(spans),
	)
	return sluicetrace.NewTracer(provider, sluicetrace.ShareOf(fraction)), &Recorder{spans}
}

// All gives the spans in the order in which they ended.
func (r *Recorder) All() []sdktrace.ReadOnlySpan { return r.spans.Ended() }

// Names gives the names of a span's parts, sorted.
func (r *Recorder) Names(parent trace.SpanID) []string {
	var names []string
	for _, s := range r.All() {
		if s.Parent().SpanID() == parent {
			names = append(names, s.Name())
		}
	}
	slices.Sort(names)
	return names
}

// Named gives the spans of a name, in the order in which they ended.
func (r *Recorder) Named(name string) []sdktrace.ReadOnlySpan {
	return slices.DeleteFunc(slices.Clone(r.All()), func(s sdktrace.ReadOnlySpan) bool { return s.Name() != name })
}

// Attribute gives the text of a span's attribute, empty where it has none.
func Attribute(s sdktrace.ReadOnlySpan, key string) string {
	for _, a := range s.Attributes() {
		if string(a.Key) == key {
			return a.Value.String()
		}
	}
	return ""
}
