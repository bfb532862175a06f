package serve

import (
	"context"
	"encoding/binary"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/url"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	oteltrace "go.opentelemetry.io/otel/trace"

	"github.com/sluice-dev/sluice/pkg/config"
	"github.com/sluice-dev/sluice/pkg/trace"
)

const (
	// lastSpans bounds how long Close goes on sending what is left.
	lastSpans = time.Second
	// joinLimit bounds the rest of Close, which waits for nobody outside of the process.
	joinLimit = 5 * time.Second
)

// TracesConfig configures the sending of spans.
type TracesConfig struct {
	// Trace is as Validate accepts it. An empty endpoint sends nothing.
	Trace config.Trace
	// Service is the name of the service.
	Service  string
	Logger   *slog.Logger
	Registry prometheus.Registerer
}

// Traces sends the spans of a process to a collector, some seconds late and a few at a time. At most 2048 wait, and what is more is lost, so that nobody waits for a collector.
// The variables of OpenTelemetry's SDK hold too: OTEL_EXPORTER_OTLP_HEADERS and OTEL_EXPORTER_OTLP_CERTIFICATE for a collector that asks for them, OTEL_RESOURCE_ATTRIBUTES,
// OTEL_BSP_SCHEDULE_DELAY and the like. A nil Traces is of a process that traces nothing. It is safe for concurrent use.
type Traces struct {
	provider *sdktrace.TracerProvider
	reporter *reporter
	tracer   *trace.Tracer
}

// NewTraces makes ready for sending; nil where the configuration names no collector. That none can be reached is no error. Close must be called.
func NewTraces(cfg TracesConfig) (*Traces, error) {
	if cfg.Trace.Endpoint == "" {
		return nil, nil
	}
	counts := newSpanCounts()
	for _, c := range []prometheus.Collector{counts.ended, counts.sent} {
		if err := cfg.Registry.Register(c); err != nil {
			return nil, fmt.Errorf("register the metrics of traces: %w", err)
		}
	}
	client, err := otlpClient(cfg.Trace.Endpoint)
	if err != nil {
		return nil, err
	}
	exporter, err := otlptrace.New(context.Background(), client)
	if err != nil {
		return nil, fmt.Errorf("trace.endpoint: %s: %w", cfg.Trace.Endpoint, err)
	}
	to := &reporter{SpanExporter: exporter, endpoint: cfg.Trace.Endpoint, logger: cfg.Logger, sent: counts.sent}
	provider := sdktrace.NewTracerProvider(
		sdktrace.WithSampler(sdktrace.AlwaysSample()), // who begins a span has decided
		sdktrace.WithIDGenerator(SpanIDs{}),
		sdktrace.WithResource(describeProcess(cfg)),
		sdktrace.WithSpanProcessor(counts),
		sdktrace.WithBatcher(to),
	)
	return &Traces{provider, to, trace.NewTracer(provider, trace.ShareOf(cfg.Trace.Sample))}, nil
}

// Tracer gives the tracer; nil of a nil Traces.
func (t *Traces) Tracer() *trace.Tracer {
	if t == nil {
		return nil
	}
	return t.tracer
}

// Close sends what is left, for at most a second, and joins the goroutines that send. Spans that end later are lost.
func (t *Traces) Close() error {
	if t == nil {
		return nil
	}
	late := time.AfterFunc(lastSpans, t.reporter.giveUp)
	defer late.Stop()
	ctx, cancel := context.WithTimeout(context.Background(), lastSpans+joinLimit)
	defer cancel()
	if err := t.provider.Shutdown(ctx); err != nil {
		return fmt.Errorf("end the sending of traces: %w", err)
	}
	return nil
}

// otlpClient gives the client for the protocol that the endpoint's scheme names.
func otlpClient(endpoint string) (otlptrace.Client, error) {
	u, err := url.Parse(endpoint)
	if err != nil {
		return nil, fmt.Errorf("trace.endpoint: %w", err)
	}
	switch u.Scheme {
	case "grpc":
		u.Scheme = "http" // as the SDK writes it
	case "grpcs":
		u.Scheme = "https"
	default:
		return otlptracehttp.NewClient(otlptracehttp.WithEndpointURL(endpoint), otlptracehttp.WithCompression(otlptracehttp.GzipCompression)), nil
	}
	return otlptracegrpc.NewClient(otlptracegrpc.WithEndpointURL(u.String()), otlptracegrpc.WithCompressor("gzip")), nil
}

// describeProcess says whose spans they are. What cannot be found out is left out.
func describeProcess(cfg TracesConfig) *resource.Resource {
	r, err := resource.New(context.Background(),
		resource.WithService(), resource.WithHost(), resource.WithTelemetrySDK(),
		resource.WithAttributes(attribute.String("service.name", cfg.Service), attribute.String("service.version", Version())),
		resource.WithFromEnv(),
	)
	if err != nil {
		cfg.Logger.Warn("part of the resource attributes of traces is missing", "error", err)
	}
	return r
}

// SpanIDs gives the spans that stand for units their units' own ids, and all others random ones, as trace.NewTracer asks of its provider.
type SpanIDs struct{}

// NewIDs implements sdktrace.IDGenerator.
func (s SpanIDs) NewIDs(ctx context.Context) (oteltrace.TraceID, oteltrace.SpanID) {
	if t, ok := trace.Wanted(ctx); ok {
		return t.ID, t.Span
	}
	var id oteltrace.TraceID
	binary.BigEndian.PutUint64(id[:8], random())
	binary.BigEndian.PutUint64(id[8:], random())
	return id, s.NewSpanID(ctx, id)
}

// NewSpanID implements sdktrace.IDGenerator.
func (SpanIDs) NewSpanID(context.Context, oteltrace.TraceID) (id oteltrace.SpanID) {
	binary.BigEndian.PutUint64(id[:], random())
	return id
}

// random gives a number that is not zero.
func random() uint64 { return rand.Uint64() | 1 } //nolint:gosec // ids are no secrets

// spanCounts counts spans. What ended, was not sent and does not wait is lost.
type spanCounts struct{ ended, sent prometheus.Counter }

func newSpanCounts() *spanCounts {
	return &spanCounts{
		ended: prometheus.NewCounter(prometheus.CounterOpts{Name: "sluice_trace_spans_total", Help: "Spans of traced units that ended."}),
		sent:  prometheus.NewCounter(prometheus.CounterOpts{Name: "sluice_trace_spans_sent_total", Help: "Spans that the collector took."}),
	}
}

// OnStart implements sdktrace.SpanProcessor.
func (*spanCounts) OnStart(context.Context, sdktrace.ReadWriteSpan) {}

// OnEnd implements sdktrace.SpanProcessor.
func (c *spanCounts) OnEnd(sdktrace.ReadOnlySpan) { c.ended.Inc() }

// Shutdown implements sdktrace.SpanProcessor.
func (*spanCounts) Shutdown(context.Context) error { return nil }

// ForceFlush implements sdktrace.SpanProcessor.
func (*spanCounts) ForceFlush(context.Context) error { return nil }

// reporter is an exporter that says in the log, rather than to a handler that the whole process shares, why spans are lost.
type reporter struct {
	sdktrace.SpanExporter
	endpoint string
	logger   *slog.Logger
	sent     prometheus.Counter

	mu     sync.Mutex
	cancel context.CancelFunc // ends what is being sent; nil before anything was
	over   bool               // no more is sent
}

// giveUp ends the sending. What waits is lost.
func (r *reporter) giveUp() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.over = true
	if r.cancel != nil {
		r.cancel()
	}
}

// sending gives a context that ends when the sending is given up.
func (r *reporter) sending(ctx context.Context) (context.Context, context.CancelFunc) {
	r.mu.Lock()
	defer r.mu.Unlock()
	ctx, r.cancel = context.WithCancel(ctx)
	if r.over {
		r.cancel()
	}
	return ctx, r.cancel
}

// ExportSpans implements sdktrace.SpanExporter. The SDK calls it once at a time.
func (r *reporter) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	ctx, cancel := r.sending(ctx)
	defer cancel()
	if err := r.SpanExporter.ExportSpans(ctx, spans); err != nil {
		r.logger.WarnContext(ctx, "spans are lost: the collector does not take them", "endpoint", r.endpoint, "spans", len(spans), "error", err)
		return nil
	}
	r.sent.Add(float64(len(spans)))
	return nil
}
