//go:build e2e

package e2e

import (
	"context"
	"encoding/hex"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracev1 "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
	_ "google.golang.org/grpc/encoding/gzip" // spans come so
	grpcmetadata "google.golang.org/grpc/metadata"

	"github.com/sluice-dev/sluice/deploy/e2e/counter"
	"github.com/sluice-dev/sluice/deploy/e2e/stack"
	"github.com/sluice-dev/sluice/pkg/trace"
)

// wholeTrace is the trace of a unit that a model answered: each span as service and name, below its parent. It is the one of pkg/trace.
var wholeTrace = []string{
	"sluice-edge unit < ",
	"sluice-edge receive < unit",
	"sluice-edge order < unit",
	"sluice-edge turn < unit",
	"sluice-edge decode < unit",
	"sluice-edge convert < unit",
	"sluice-edge uplink < unit",
	"sluice-edge slot < uplink",
	"sluice-router frame < uplink",
	"sluice-router intake < frame",
	"sluice-router queue < frame",
	"sluice-router infer < frame",
	"sluice-router batch < frame",
	"sluice-router gather < batch",
	"sluice-router backend < batch",
	"sluice-router reply < batch",
	"sluice-edge outcome < unit",
	"sluice-edge deliver < unit",
}

// serviceSpan is a span with the service that it is of.
type serviceSpan struct {
	*tracev1.Span
	service string
}

// otlp is a collector of traces. It is safe for concurrent use.
type otlp struct {
	collector.UnimplementedTraceServiceServer
	mu     sync.Mutex
	traces map[string][]serviceSpan // by the trace's id
}

func (o *otlp) Export(_ context.Context, m *collector.ExportTraceServiceRequest) (*collector.ExportTraceServiceResponse, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, of := range m.GetResourceSpans() {
		service := ""
		for _, a := range of.GetResource().GetAttributes() {
			if a.GetKey() == "service.name" {
				service = a.GetValue().GetStringValue()
			}
		}
		for _, scope := range of.GetScopeSpans() {
			for _, s := range scope.GetSpans() {
				id := hex.EncodeToString(s.GetTraceId())
				o.traces[id] = append(o.traces[id], serviceSpan{s, service})
			}
		}
	}
	return &collector.ExportTraceServiceResponse{}, nil
}

// collectTraces runs a collector until the test ends, and gives its address.
func collectTraces(t *testing.T) (*otlp, string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	o := &otlp{traces: make(map[string][]serviceSpan)}
	server := grpc.NewServer()
	collector.RegisterTraceServiceServer(server, o)
	done := make(chan error, 1)
	go func() { done <- server.Serve(l) }()
	t.Cleanup(func() {
		server.Stop()
		if err := <-done; err != nil {
			t.Errorf("the collector: %v", err)
		}
	})
	return o, "grpc://" + l.Addr().String()
}

// asked remembers what a model server was told of traces. It is safe for concurrent use.
type asked struct {
	mu      sync.Mutex
	parents map[string]bool
	silent  int // batches
}

func (a *asked) note(ctx context.Context) {
	incoming, _ := grpcmetadata.FromIncomingContext(ctx)
	a.mu.Lock()
	defer a.mu.Unlock()
	if told := incoming.Get("traceparent"); len(told) > 0 {
		a.parents[told[0]] = true
	} else {
		a.silent++
	}
}

// TestOneTraceOfOneFrame sends pictures through an edge and a router, half of which are traced, to a model server: exactly those have a trace, whose id follows from what the client was
// told, with all its spans from both services, and the model server is told of it. Nobody logs frames.
func TestOneTraceOfOneFrame(t *testing.T) {
	beside(t, 0.4)
	const half = .5
	o, endpoint := collectTraces(t)
	server := &asked{parents: make(map[string]bool)}
	s := stack.Start(t, stack.Options{
		Router:      counter.ServeWith(t, counter.Options{Rate: 15, Batch: 4, Asked: server.note}),
		EdgeFlags:   []string{"--trace.endpoint", endpoint, "--trace.sample", fmt.Sprint(half)},
		RouterFlags: []string{"--trace.endpoint", endpoint, "--trace.sample", "0"},
	})
	p, lines := publish(t, "", s.HTTP, 4*time.Second, stack.Clip(t, "faces-720p30.ivf"), "--model", "counter")
	checkAccount(t, p)
	s.Edge.Stop(t) // what they have is sent before they end
	s.Router.Stop(t)
	for _, process := range []*stack.Process{s.Edge, s.Router} {
		if n := strings.Count(process.Log(), "\n"); n > 30 {
			t.Errorf("%s logged %d lines about one session:\n%s", process.Name, n, process.Log())
		}
	}

	o.mu.Lock()
	defer o.mu.Unlock()
	session, share := trace.Of(p.Streams[0].Session), trace.ShareOf(half)
	want, answered := 0, 0
	for _, line := range lines {
		unit := session.Unit(line.Outcome.Stream, uint32(line.Outcome.Sequence))
		id := hex.EncodeToString(unit.ID[:])
		spans, traced := o.traces[id]
		if takes := share.Takes(unit); takes != traced {
			t.Errorf("unit %d is traced: %v, want %v", line.Outcome.Sequence, traced, takes)
		}
		if !traced {
			continue
		}
		want++
		if line.Outcome.Result != nil {
			checkWholeTrace(t, server, line.Outcome.Sequence, spans, answered == 0)
			answered++
		}
	}
	if skipped := p.Streams[0].Skipped; len(o.traces) < want || len(o.traces) > want+skipped || answered == 0 {
		t.Errorf("%d traces, want %d and some of %d that the client did not see; %d are of units with results", len(o.traces), want, skipped, answered)
	}
	if server.silent == 0 {
		t.Error("the model server was told of a trace with every batch")
	}
	t.Logf("%d outcomes, %d traced, of which %d have a result", len(lines), want, answered)
}

// checkWholeTrace holds a trace to what pkg/trace says of it, and shows it if asked to.
func checkWholeTrace(t *testing.T, server *asked, sequence int, spans []serviceSpan, show bool) {
	t.Helper()
	named := map[string]serviceSpan{}
	name := map[string]string{} // by id
	for _, s := range spans {
		named[s.GetName()] = s
		name[string(s.GetSpanId())] = s.GetName()
	}
	var tree []string
	for _, s := range spans {
		tree = append(tree, s.service+" "+s.GetName()+" < "+name[string(s.GetParentSpanId())])
		if parent, inside := named[name[string(s.GetParentSpanId())]]; inside && parent.service == s.service && s.GetStartTimeUnixNano() < parent.GetStartTimeUnixNano() {
			t.Errorf("unit %d: %s begins before %s", sequence, s.GetName(), parent.GetName())
		}
	}
	if got, want := slices.Sorted(slices.Values(tree)), slices.Sorted(slices.Values(wholeTrace)); !slices.Equal(got, want) {
		t.Errorf("the trace of unit %d is\n%s\nwant\n%s", sequence, strings.Join(got, "\n"), strings.Join(want, "\n"))
		return
	}
	backend := named["backend"]
	if told := fmt.Sprintf("00-%x-%x-01", backend.GetTraceId(), backend.GetSpanId()); !server.parents[told] {
		t.Errorf("unit %d: the model server was not told of %s", sequence, told)
	}
	for _, c := range []struct{ span, key, want string }{
		{"unit", "sluice.sequence", fmt.Sprint(sequence)}, {"unit", "sluice.outcome", "result"}, {"frame", "sluice.sequence", fmt.Sprint(sequence)},
		{"infer", "sluice.model", "counter"}, {"infer", "sluice.batch.size", "1"}, {"batch", "sluice.batch.size", "1"}, {"deliver", "sluice.sink", `data channel "outcomes"`},
	} {
		if got := attribute(named[c.span].Span, c.key); got != c.want {
			t.Errorf("unit %d: %s of %s is %q, want %q", sequence, c.key, c.span, got, c.want)
		}
	}
	if !show {
		return
	}
	begin := named["unit"].GetStartTimeUnixNano()
	slices.SortFunc(spans, func(a, b serviceSpan) int {
		return int(int64(a.GetStartTimeUnixNano()) - int64(b.GetStartTimeUnixNano()))
	})
	for _, s := range spans {
		at, took := time.Duration(s.GetStartTimeUnixNano()-begin), time.Duration(s.GetEndTimeUnixNano()-s.GetStartTimeUnixNano())
		t.Logf("%8s %8s  %-13s %s", at.Round(10*time.Microsecond), took.Round(10*time.Microsecond), s.service, s.GetName())
	}
}

// attribute gives a span's attribute as text.
func attribute(s *tracev1.Span, key string) string {
	for _, a := range s.GetAttributes() {
		if a.GetKey() == key {
			if text := a.GetValue().GetStringValue(); text != "" {
				return text
			}
			return fmt.Sprint(a.GetValue().GetIntValue())
		}
	}
	return ""
}
