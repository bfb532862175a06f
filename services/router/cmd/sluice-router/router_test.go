package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/pkg/wire"
	sluicev1 "github.com/sluice-dev/sluice/proto/gen/sluice/v1"
	"github.com/sluice-dev/sluice/services/router/internal/backend/backendtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// shipped writes a copy of the shipped configuration in which old is changed. The test fails with advice when the files that it names have not been fetched.
func shipped(t *testing.T, old, changed string) string {
	t.Helper()
	models := filepath.Dir(backendtest.Fetched(t, "models/faces.onnx"))
	backendtest.Fetched(t, "onnxruntime/libonnxruntime.so")
	text, err := os.ReadFile(filepath.Join("..", "..", "..", "..", "deploy", "config", "router.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	whole := strings.ReplaceAll(string(text), "../../.cache", filepath.Dir(models))
	if old != "" && !strings.Contains(whole, old) {
		t.Fatalf("the shipped configuration does not hold %q", old)
	}
	file := filepath.Join(t.TempDir(), "router.yaml")
	if err := os.WriteFile(file, []byte(strings.Replace(whole, old, changed, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// running is a router started as from the command line.
type running struct {
	conn    *grpc.ClientConn
	admin   string
	hangups chan<- os.Signal
	logs    *logs
	stop    func() error
}

// logs collects what a router writes and finds the addresses that it listens on.
type logs struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func launch(t *testing.T, args ...string) *running {
	t.Helper()
	admin := freeAddress(t)
	out := &logs{}
	hangups := make(chan os.Signal, 1)
	cmd := command(nil, hangups, out)
	cmd.SetArgs(append([]string{"--listen", "127.0.0.1:0", "--admin.listen", admin, "--drain", "5s"}, args...))
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- cmd.ExecuteContext(ctx) }()
	r := &running{admin: "http://" + admin, hangups: hangups, logs: out}
	r.stop = sync.OnceValue(func() error {
		if r.conn != nil {
			_ = r.conn.Close()
		}
		cancel()
		return <-ended
	})
	t.Cleanup(func() { _ = r.stop() })
	deadline := time.NewTimer(60 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case err := <-ended:
			ended <- err
			t.Fatalf("the router ended: %v\n%s", err, out)
		case <-deadline.C:
			t.Fatalf("the router is not ready after a minute:\n%s", out)
		case <-tick.C:
		}
		if found := regexp.MustCompile(`takes frames" listen=(\S+)`).FindStringSubmatch(out.String()); found != nil {
			conn, err := grpc.NewClient(found[1], grpc.WithTransportCredentials(insecure.NewCredentials()))
			if err != nil {
				t.Fatal(err)
			}
			r.conn = conn
			return r
		}
	}
}

// freeAddress gives an address that is free right now.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

func (r *running) get(t *testing.T, path string) (int, string) {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get(r.admin + path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

// edge is one session's call.
type edge struct {
	t       *testing.T
	stream  sluicev1.RouterService_StreamClient
	input   media.Input
	payload []byte
	place   media.Placement
}

func (r *running) open(t *testing.T, session string) *edge {
	t.Helper()
	stream, err := sluicev1.NewRouterServiceClient(r.conn).Stream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(&sluicev1.StreamRequest{Body: &sluicev1.StreamRequest_Open{Open: &sluicev1.Open{Session: new(session)}}}); err != nil {
		t.Fatal(err)
	}
	e := &edge{t: t, stream: stream}
	opened := e.recv().GetOpened()
	if e.input, err = wire.InputFromProto(opened.GetInputs()[0]); err != nil {
		t.Fatal(err)
	}
	e.payload, e.place = backendtest.Astronaut(t, e.input.Picture)
	return e
}

func (e *edge) recv() *sluicev1.StreamResponse {
	e.t.Helper()
	m, err := e.stream.Recv()
	if err != nil {
		e.t.Fatal(err)
	}
	return m
}

// show sends the picture as a frame.
func (e *edge) show(sequence uint32, in time.Duration) {
	e.t.Helper()
	now := time.Now()
	f := media.Frame{
		Stream: "camera", Sequence: sequence, InputID: e.input.ID, Due: []media.Due{{Model: "faces", Deadline: now.Add(in)}}, Placement: e.place, Payload: media.Payload{e.payload},
	}
	if err := e.stream.Send(&sluicev1.StreamRequest{Body: &sluicev1.StreamRequest_Frame{Frame: wire.FrameToProto(&f, now)}}); err != nil {
		e.t.Fatal(err)
	}
}

// outcome receives the next outcome.
func (e *edge) outcome() media.Outcome {
	e.t.Helper()
	for {
		if m := e.recv().GetOutcome(); m != nil {
			o, err := wire.OutcomeFromProto(m)
			if err != nil {
				e.t.Fatal(err)
			}
			return o
		}
	}
}

// TestFacesOfSessions runs the shipped configuration, with time enough for a busy machine: two sessions show a picture of a face to the real model.
func TestFacesOfSessions(t *testing.T) {
	r := launch(t, "--config", shipped(t, "deadline: 250ms", "deadline: 30s"))
	if status, body := r.get(t, "/readyz"); status != http.StatusOK {
		t.Errorf("/readyz: %d %s", status, body)
	}
	health, err := healthpb.NewHealthClient(r.conn).Check(t.Context(), &healthpb.HealthCheckRequest{Service: sluicev1.RouterService_ServiceDesc.ServiceName})
	if err != nil || health.GetStatus() != healthpb.HealthCheckResponse_SERVING {
		t.Errorf("health: %v, %v", health, err)
	}
	inspect := sluicev1.NewInspectServiceClient(r.conn)
	watch, err := inspect.WatchOutcomes(t.Context(), &sluicev1.WatchOutcomesRequest{Limit: new(uint32(20))})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := watch.Header(); err != nil {
		t.Fatal(err)
	}

	edges := []*edge{r.open(t, "one"), r.open(t, "two")}
	for sequence := range uint32(10) {
		for _, e := range edges {
			e.show(sequence+1, 30*time.Second)
		}
		for _, e := range edges {
			o := e.outcome()
			if o.Result == nil || len(o.Result.Detections) != 1 {
				t.Fatalf("frame %d: %+v, want one face", o.Sequence, o)
			}
			d := o.Result.Detections[0]
			if iou := backendtest.IoU(d.Box, backendtest.AstronautFace()); iou < 0.6 || d.Label != "face" || d.Score < 0.8 || len(d.Landmarks) != 5 {
				t.Errorf("frame %d: %+v, IoU %.2f with the face", o.Sequence, d, iou)
			}
		}
	}
	for i := range 20 {
		m, err := watch.Recv()
		if err != nil || m.GetOutcome().GetResult() == nil || m.GetOutcome().GetModel() != "faces" {
			t.Fatalf("watched outcome %d: %v, %v", i+1, m, err)
		}
	}
	list, err := inspect.ListSessions(t.Context(), &sluicev1.ListSessionsRequest{})
	if err != nil || len(list.GetSessions()) != 2 || list.GetTotals()[0].GetResults() != 20 || list.GetTotals()[0].GetInFlight() != 0 {
		t.Errorf("sessions %v, %v", list, err)
	}
	_, metrics := r.get(t, "/metrics")
	for _, line := range []string{
		`sluice_router_accepted_total{model="faces"} 20`, `sluice_router_outcomes_total{kind="result",model="faces",reason=""} 20`,
		`sluice_router_frames_received_total 20`, `sluice_router_sessions 2`, `sluice_router_in_flight{model="faces"} 0`,
	} {
		if !strings.Contains(metrics, line+"\n") {
			t.Errorf("the metrics lack %s", line)
		}
	}
	drains(t, r, edges)
}

// drains ends the router while a session is open: the session is asked to go, goes, and the router ends at once.
func drains(t *testing.T, r *running, edges []*edge) {
	t.Helper()
	if err := edges[1].stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	// The router ends when its connections are closed too, so it is stopped beside the last session.
	stopped := make(chan error, 1)
	e := edges[0]
	var ending sync.WaitGroup
	ending.Go(func() {
		for {
			m, err := e.stream.Recv()
			if err != nil {
				if !errors.Is(err, io.EOF) {
					t.Errorf("the draining call ended with %v", err)
				}
				return
			}
			if m.GetDrain() != nil {
				e.show(11, time.Second)
				_ = e.stream.CloseSend()
			}
		}
	})
	conn := r.conn
	r.conn = nil
	begin := time.Now()
	go func() { stopped <- r.stop() }()
	ending.Wait()
	_ = conn.Close()
	if err := <-stopped; err != nil {
		t.Errorf("the router ended with %v", err)
	}
	if took := time.Since(begin); took > 4*time.Second {
		t.Errorf("draining took %v", took)
	}
}

// TestDrainIsBounded has an edge that neither goes elsewhere nor takes what it is sent.
func TestDrainIsBounded(t *testing.T) {
	r := launch(t, "--config", shipped(t, "deadline: 250ms", "deadline: 30s"), "--drain", "300ms")
	e := r.open(t, "stubborn")
	for sequence := range uint32(4) {
		e.show(sequence+1, 30*time.Second)
	}
	conn := r.conn
	defer func() { _ = conn.Close() }()
	r.conn = nil // stays open
	begin := time.Now()
	if err := r.stop(); err != nil {
		t.Errorf("the router ended with %v", err)
	}
	if took := time.Since(begin); took > 3*time.Second {
		t.Errorf("the router ended after %v, though it drains for 300ms", took)
	}
}

// TestRefusesToStart shows what a user reads when the router cannot start.
func TestRefusesToStart(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	broken := filepath.Join(t.TempDir(), "broken.onnx")
	if err := os.WriteFile(broken, []byte("this is no model"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		old, new string
		args     []string
		want     []string
	}{
		"model file missing": {"models/faces.onnx", "models/nowhere.onnx", nil, []string{"models[0] (faces).backend.onnx.path", "nowhere.onnx", "make models"}},
		"model file broken":  {"{onnx: {path: ", fmt.Sprintf("{onnx: {path: %q}} # ", broken), nil, []string{"models[0] (faces)", "broken.onnx"}},
		"library missing":    {"libonnxruntime.so}", "libnowhere.so}", nil, []string{"onnx.library", "libnowhere.so"}},
		"layout of another":  {"layout: NCHW", "layout: NHWC", nil, []string{"faces", "configured", "served"}},
		"port taken":         {"", "", []string{"--listen", taken.Addr().String()}, []string{"listen", "taken", taken.Addr().String()}},
		"admin port taken":   {"", "", []string{"--admin.listen", taken.Addr().String()}, []string{"admin.listen", "taken"}},
		"bad certificate":    {`cert: "", key: ""`, fmt.Sprintf("cert: %q, key: %q", broken, broken), nil, []string{"tls"}},
	} {
		t.Run(name, func(t *testing.T) {
			cmd := command(nil, nil, io.Discard)
			cmd.SetArgs(append([]string{"--config", shipped(t, c.old, c.new), "--listen", "127.0.0.1:0", "--admin.listen", "127.0.0.1:0"}, c.args...))
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			err := cmd.ExecuteContext(ctx)
			if err == nil || ctx.Err() != nil {
				t.Fatal("it started")
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("it said %q, which does not name %q", err, want)
				}
			}
		})
	}
}

func TestCheckConfig(t *testing.T) {
	var out bytes.Buffer
	cmd := command(nil, nil, io.Discard)
	cmd.SetOut(&out)
	cmd.SetArgs([]string{"--config", shipped(t, "", ""), "--check-config"})
	if err := cmd.Execute(); err != nil || !strings.Contains(out.String(), "valid") {
		t.Errorf("said %q, %v", out.String(), err)
	}
}
