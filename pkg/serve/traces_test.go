package serve

import (
	"compress/gzip"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracev1 "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
	_ "google.golang.org/grpc/encoding/gzip" // spans come so
	"google.golang.org/protobuf/proto"

	"github.com/sluice-dev/sluice/pkg/config"
	"github.com/sluice-dev/sluice/pkg/trace"
)

// receiver is a collector that keeps what it gets.
type receiver struct {
	collector.UnimplementedTraceServiceServer
	mu  sync.Mutex
	got []*tracev1.ResourceSpans
}

func (r *receiver) Export(_ context.Context, m *collector.ExportTraceServiceRequest) (*collector.ExportTraceServiceResponse, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.got = append(r.got, m.GetResourceSpans()...)
	return &collector.ExportTraceServiceResponse{}, nil
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	if request.URL.Path != "/v1/traces" {
		http.NotFound(w, request)
		return
	}
	m := &collector.ExportTraceServiceRequest{}
	unzipped, err := gzip.NewReader(request.Body)
	if err == nil {
		var body []byte
		if body, err = io.ReadAll(unzipped); err == nil {
			err = proto.Unmarshal(body, m)
		}
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	_, _ = r.Export(request.Context(), m)
}

// collect starts a collector for a protocol, and gives its address.
func collect(t *testing.T, scheme string) (*receiver, string) {
	t.Helper()
	r := &receiver{}
	if scheme == "http" {
		server := httptest.NewServer(r)
		t.Cleanup(server.Close)
		return r, server.URL + "/v1/traces"
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	collector.RegisterTraceServiceServer(server, r)
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(l)
	}()
	t.Cleanup(func() {
		server.Stop()
		<-served
	})
	return r, "grpc://" + l.Addr().String()
}

// TestTracesReachTheCollector sends a unit's spans by both protocols: they have the unit's own ids and come before the process ends.
func TestTracesReachTheCollector(t *testing.T) {
	t.Parallel()
	for _, scheme := range []string{"grpc", "http"} {
		t.Run(scheme, func(t *testing.T) {
			t.Parallel()
			r, endpoint := collect(t, scheme)
			registry := prometheus.NewRegistry()
			traces, err := NewTraces(TracesConfig{
				Trace: config.Trace{Endpoint: endpoint, Sample: 1}, Service: "sluice-test", Logger: slog.New(slog.DiscardHandler), Registry: registry,
			})
			if err != nil {
				t.Fatal(err)
			}
			unit, now := trace.Of("s").Unit("camera", 7), time.Now()
			if !traces.Tracer().Takes(unit) {
				t.Error("a unit is not traced where all are")
			}
			span := traces.Tracer().Begin(unit, "unit", now, trace.Unit("s", "camera", 7)...)
			trace.Stage(span, "receive", now, now.Add(time.Millisecond))
			span.End()
			if err := traces.Close(); err != nil {
				t.Error(err)
			}
			r.mu.Lock()
			defer r.mu.Unlock()
			if len(r.got) != 1 || len(r.got[0].GetScopeSpans()) != 1 || len(r.got[0].GetScopeSpans()[0].GetSpans()) != 2 {
				t.Fatalf("the collector got %v", r.got)
			}
			if resource := r.got[0].GetResource().String(); !strings.Contains(resource, "sluice-test") {
				t.Errorf("the spans are of %s", resource)
			}
			stage, whole := r.got[0].GetScopeSpans()[0].GetSpans()[0], r.got[0].GetScopeSpans()[0].GetSpans()[1]
			if string(whole.GetTraceId()) != string(unit.ID[:]) || string(whole.GetSpanId()) != string(unit.Span[:]) || len(whole.GetParentSpanId()) > 0 {
				t.Errorf("the unit's span is %v, want trace %x, span %x", whole, unit.ID, unit.Span)
			}
			if string(stage.GetParentSpanId()) != string(unit.Span[:]) || stage.GetEndTimeUnixNano()-stage.GetStartTimeUnixNano() != 1e6 {
				t.Errorf("the stage's span is %v", stage)
			}
			for name, want := range map[string]float64{"sluice_trace_spans_total": 2, "sluice_trace_spans_sent_total": 2} {
				if got := metric(t, registry, name); got != want {
					t.Errorf("%s is %g, want %g", name, got, want)
				}
			}
		})
	}
}

func metric(t *testing.T, registry *prometheus.Registry, name string) float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			return f.GetMetric()[0].GetCounter().GetValue()
		}
	}
	t.Fatalf("there is no %s", name)
	return 0
}

// TestNoCollectorHoldsNobodyUp ends a process whose collector cannot be reached: what was lost is in the log.
func TestNoCollectorHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	endpoint := "grpc://" + l.Addr().String()
	_ = l.Close()
	var out lines
	traces, err := NewTraces(TracesConfig{
		Trace: config.Trace{Endpoint: endpoint, Sample: 1}, Service: "sluice-test", Logger: slog.New(slog.NewTextHandler(&out, nil)), Registry: prometheus.NewRegistry(),
	})
	if err != nil {
		t.Fatal(err)
	}
	traces.Tracer().Begin(trace.Of("s").Unit("camera", 1), "unit", time.Now()).End()
	if err := traces.Close(); err != nil {
		t.Error(err)
	}
	if said := out.String(); !strings.Contains(said, "spans are lost") || !strings.Contains(said, endpoint) {
		t.Errorf("the log says %q", said)
	}
}

// lines is a log that may be written and read at once.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func TestNoTraces(t *testing.T) {
	t.Parallel()
	traces, err := NewTraces(TracesConfig{Trace: config.Trace{Sample: 1}, Registry: prometheus.NewRegistry()})
	if err != nil || traces.Tracer() != nil || traces.Tracer().Takes(trace.Of("s").Unit("camera", 1)) || traces.Close() != nil {
		t.Errorf("without a collector: %v, %v", traces, err)
	}
}

// TestTracesAreOfOneRegistry makes the traces of a process twice.
func TestTracesAreOfOneRegistry(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	counts := newSpanCounts()
	registry.MustRegister(counts.ended)
	if _, err := NewTraces(TracesConfig{Trace: config.Trace{Endpoint: "grpc://127.0.0.1:1"}, Registry: registry}); err == nil {
		t.Error("metrics that are there already are no error")
	}
}
