package app

import (
	"bufio"
	"context"
	"encoding/json"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/sluice-dev/sluice/services/edge/internal/config"

	shared "github.com/sluice-dev/sluice/pkg/config"
	sluicev1 "github.com/sluice-dev/sluice/proto/gen/sluice/v1"
)

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func (r *rig) inspect() (sluicev1.InspectServiceClient, healthpb.HealthClient) {
	r.t.Helper()
	conn, err := grpc.NewClient(r.edge.grpc.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = conn.Close() })
	return sluicev1.NewInspectServiceClient(conn), healthpb.NewHealthClient(conn)
}

// An edge is alive without routers and ready once it knows what they serve, and says so by HTTP and by gRPC.
func TestReadiness(t *testing.T) {
	l := listen(t)
	r := startEdge(t, testConfig(l.Addr().String()))
	_, healthClient := r.inspect()
	healthy := func() bool {
		answer, err := healthClient.Check(t.Context(), &healthpb.HealthCheckRequest{})
		return err == nil && answer.GetStatus() == healthpb.HealthCheckResponse_SERVING
	}
	if status, _ := r.admin("/livez"); status != http.StatusOK {
		t.Errorf("/livez gives %d", status)
	}
	if status, reason := r.admin("/readyz"); status != http.StatusServiceUnavailable || !strings.Contains(reason, "router") || healthy() {
		t.Errorf("without a router /readyz gives %d %q", status, reason)
	}
	if status, text := r.get(r.base + "/models"); status != http.StatusServiceUnavailable || !strings.Contains(text, "NO_ROUTER") {
		t.Errorf("without a router /models gives %d %s", status, text)
	}
	startRouter(t, l)
	r.eventually("ready", func() bool { status, _ := r.admin("/readyz"); return status == http.StatusOK && healthy() })
	if status, text := r.get(r.base + "/models"); status != http.StatusOK || !strings.Contains(text, `"name":"faces"`) {
		t.Errorf("/models gives %d %s", status, text)
	}
	for _, path := range []string{"/metrics", "/livez", "/debug/pprof/"} {
		if status, _ := r.get(r.base + path); status != http.StatusNotFound {
			t.Errorf("the public side answers %s with %d", path, status)
		}
	}
	r.stop()
}

// A picture goes in and its result comes out, on the channel and as an event, and every account of it says the same.
func TestPictureThroughTheEdge(t *testing.T) {
	l := listen(t)
	startRouter(t, l)
	r := startEdge(t, testConfig(l.Addr().String()))
	r.eventually("ready", func() bool { return r.edge.ready() == nil })
	c := r.publish()
	inspection, _ := r.inspect()

	const pictures = 5
	for range pictures {
		if err := c.channel.Send(picture(t)); err != nil {
			t.Fatal(err)
		}
		var outcome struct {
			Session, Stream, Model string
			Sequence               uint32
			Result                 *struct{ Detections []json.RawMessage }
		}
		message := r.next(c)
		if err := json.Unmarshal(message["outcome"], &outcome); err != nil || outcome.Result == nil || len(outcome.Result.Detections) != 1 || outcome.Model != "faces" {
			t.Fatalf("got %s (%v), want a result of faces", message, err)
		}
	}

	list, err := inspection.ListSessions(t.Context(), &sluicev1.ListSessionsRequest{})
	if err != nil || len(list.GetSessions()) != 1 {
		t.Fatalf("ListSessions: %v, %v", list, err)
	}
	id := list.GetSessions()[0].GetSession()
	if !strings.Contains(c.results, id) || strings.Contains(c.location, id) {
		t.Errorf("the session %s has the location %s and its results at %s", id, c.location, c.results)
	}
	if total := list.GetTotals()[0]; total.GetModel() != "faces" || total.GetAccepted() != pictures || total.GetResults() != pictures {
		t.Errorf("inspection counts %v", total)
	}
	_, metrics := r.admin("/metrics")
	for _, line := range []string{"sluice_edge_sessions 1", `sluice_edge_accepted_total{model="faces"} 5`, `sluice_edge_in_flight{model="faces"} 0`} {
		if !slices.Contains(strings.Split(metrics, "\n"), line) {
			t.Errorf("/metrics does not say %s", line)
		}
	}
	life, err := inspection.Explain(t.Context(), &sluicev1.ExplainRequest{Session: &id, Stream: list.GetSessions()[0].GetStreams()[0].Stream, Sequence: new(uint32(2))})
	if err != nil || len(life.GetOutcomes()) != 1 || life.GetNotSampled() {
		t.Errorf("Explain: %v, %v", life, err)
	}
	if way := life.GetLives(); len(way) != 1 || way[0].GetVerdict() != "RESULT" || len(way[0].GetSteps()) < 3 || way[0].GetModel() != "faces" {
		t.Errorf("Explain tells of %v", way)
	}
	if busy := list.GetSessions()[0].GetActivity(); len(busy) != 1 || !(busy[0].GetUnitRate() > 0) || !(busy[0].GetModels()[0].GetLatencyP95() > 0) {
		t.Errorf("ListSessions tells of %v", busy)
	}

	remove, err := http.NewRequestWithContext(t.Context(), http.MethodDelete, c.location, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(remove)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("DELETE: %v, %v", response, err)
	}
	_ = response.Body.Close()
	if err := c.connection.Close(); err != nil {
		t.Error(err)
	}
	r.stop()
}

// SIGTERM: no more sessions, every client is told, and the edge ends when they have gone.
func TestDrain(t *testing.T) {
	l := listen(t)
	startRouter(t, l)
	r := startEdge(t, testConfig(l.Addr().String()))
	r.eventually("ready", func() bool { return r.edge.ready() == nil })
	c := r.publish()
	events := r.follow(c.results)
	r.drain()
	if kind, data := event(t, events); kind != "drain" || !strings.Contains(data, "reconnectWithin") {
		t.Errorf("the first event is %s %s", kind, data)
	}
	response := r.post("v=0\r\n")
	if response.StatusCode != http.StatusServiceUnavailable || response.Header.Get("Retry-After") == "" {
		t.Errorf("a new session while draining: %d", response.StatusCode)
	}
	_ = response.Body.Close()
	if status, _ := r.admin("/readyz"); status != http.StatusServiceUnavailable {
		t.Errorf("/readyz gives %d while draining", status)
	}
	if err := c.connection.Close(); err != nil {
		t.Error(err)
	}
	if kind, data := event(t, events); kind != "summary" || !strings.Contains(data, "session") {
		t.Errorf("the last event is %s %s", kind, data)
	}
	r.stop()
}

// follow opens a stream of events.
func (r *rig) follow(address string) *bufio.Reader {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*soon)
	r.t.Cleanup(cancel)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = response.Body.Close() })
	return bufio.NewReader(response.Body)
}

// event reads up to the next event.
func event(t *testing.T, events *bufio.Reader) (kind, data string) {
	t.Helper()
	for {
		line, err := events.ReadString('\n')
		if err != nil {
			t.Fatalf("the events end: %v", err)
		}
		if rest, ok := strings.CutPrefix(line, "event: "); ok {
			kind = strings.TrimSpace(rest)
		}
		if rest, ok := strings.CutPrefix(line, "data: "); ok {
			return kind, rest
		}
	}
}

// What a user gets wrong is told with its key, and nothing stays open.
func TestOpenRefuses(t *testing.T) {
	taken := listen(t)
	defer func() { _ = taken.Close() }()
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, nil, 0o400); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		change func(*config.Config)
		want   []string
	}{
		"taken HTTP port":  {func(c *config.Config) { c.HTTP.Listen = taken.Addr().String() }, []string{"http.listen", "taken", taken.Addr().String()}},
		"taken gRPC port":  {func(c *config.Config) { c.GRPC.Listen = taken.Addr().String() }, []string{"grpc.listen", "taken"}},
		"taken admin port": {func(c *config.Config) { c.Admin.Listen = taken.Addr().String() }, []string{"admin.listen", "taken"}},
		"taken ICE port":   {func(c *config.Config) { c.ICE.TCP = taken.Addr().String() }, []string{"ice.tcp", "taken"}},
		"missing decoder":  {func(c *config.Config) { c.Decoder.Path = "/nowhere/sluice-decoder" }, []string{"decoder", "/nowhere/sluice-decoder"}},
		"no decoder":       {func(c *config.Config) { c.Decoder.Path = "/bin/false" }, []string{"decoder"}},
		"missing CA":       {func(c *config.Config) { c.Router.TLS.CA = "/nowhere/ca.pem" }, []string{"router.tls.ca", "/nowhere/ca.pem"}},
		"empty CA":         {func(c *config.Config) { c.Router.TLS.CA = shared.Path(empty) }, []string{"router.tls.ca", empty}},
		"missing cert": {
			func(c *config.Config) { c.HTTP.TLS = config.KeyPair{Cert: "/nowhere/c.pem", Key: "/nowhere/k.pem"} }, []string{"http.tls", "/nowhere/c.pem"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := testConfig("127.0.0.1:1")
			tc.change(&cfg)
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			err := Run(ctx, cfg, testLogger(t))
			for _, want := range tc.want {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("got %v, want an error that says %q", err, want)
				}
			}
		})
	}
}
