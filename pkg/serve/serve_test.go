package serve

import (
	"context"
	"errors"
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
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	sluicev1 "github.com/sluice-dev/sluice/proto/gen/sluice/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// router answers Stream by panicking, echoing or waiting, as the session's name says.
type router struct {
	sluicev1.UnimplementedRouterServiceServer
}

func (router) Stream(s sluicev1.RouterService_StreamServer) error {
	first, err := s.Recv()
	if err != nil {
		return err
	}
	switch first.GetOpen().GetSession() {
	case "panic":
		panic("secret of the server")
	case "wait":
		<-s.Context().Done()
		return s.Context().Err()
	}
	for {
		if err := s.Send(&sluicev1.StreamResponse{}); err != nil {
			return err
		}
		if _, err := s.Recv(); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// callWindow is that of the tests' servers.
const callWindow = 2 << 20

// start runs a server; stop ends it and gives Serve's error, however often it is called.
func start(t *testing.T, perSecond float64, grace time.Duration) (c sluicev1.RouterServiceClient, conn *grpc.ClientConn, stop func() error) {
	t.Helper()
	g, err := NewGRPC(GRPCConfig{
		Logger: slog.New(slog.DiscardHandler), Registry: prometheus.NewRegistry(), MaxStreams: 100, MaxMessage: 1 << 20, CallWindow: callWindow,
		CallsPerSecond: perSecond, Grace: grace,
	}, func(r grpc.ServiceRegistrar) { sluicev1.RegisterRouterServiceServer(r, router{}) })
	if err != nil {
		t.Fatal(err)
	}
	g.SetServing(true)
	l, err := Listen("listen", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- g.Serve(ctx, l) }()
	stop = sync.OnceValue(func() error {
		cancel()
		return <-served
	})
	conn, err = grpc.NewClient(l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = conn.Close()
		_ = stop()
	})
	return sluicev1.NewRouterServiceClient(conn), conn, stop
}

func open(t *testing.T, c sluicev1.RouterServiceClient, session string) (sluicev1.RouterService_StreamClient, error) {
	t.Helper()
	s, err := c.Stream(t.Context())
	if err != nil {
		return nil, err
	}
	if err := s.Send(&sluicev1.StreamRequest{Body: &sluicev1.StreamRequest_Open{Open: &sluicev1.Open{Session: &session}}}); err != nil {
		return nil, err
	}
	_, err = s.Recv()
	return s, err
}

// TestCallWindow sends to a handler that does not read. What fits the window leaves; without one of its own, a call stops at 64 KiB.
func TestCallWindow(t *testing.T) {
	t.Parallel()
	c, _, _ := start(t, 1000, 0)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	s, err := c.Stream(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Send(&sluicev1.StreamRequest{Body: &sluicev1.StreamRequest_Open{Open: &sluicev1.Open{Session: new("wait")}}}); err != nil {
		t.Fatal(err)
	}
	frame := &sluicev1.StreamRequest{Body: &sluicev1.StreamRequest_Frame{Frame: &sluicev1.Frame{Payload: make([]byte, 256<<10)}}}
	for sent := 0; sent < callWindow-512<<10; sent += 256 << 10 {
		if err := s.Send(frame); err != nil {
			t.Fatalf("after %d KiB: %v", sent>>10, err)
		}
	}
}

func TestMiddleware(t *testing.T) {
	t.Parallel()
	c, conn, _ := start(t, 1000, time.Second)
	if _, err := open(t, c, ""); status.Code(err) != codes.InvalidArgument {
		t.Errorf("an Open without a session: %v, want InvalidArgument", err)
	}
	_, err := open(t, c, "panic")
	if status.Code(err) != codes.Internal || strings.Contains(err.Error(), "secret") {
		t.Errorf("a panic reached the client as %v", err)
	}
	s, err := open(t, c, "fine")
	if err != nil {
		t.Fatal(err)
	}
	// The second message breaks the rules; it is the service's to judge.
	if err := s.Send(&sluicev1.StreamRequest{}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Recv(); err != nil {
		t.Errorf("second message: %v", err)
	}
	h, err := healthpb.NewHealthClient(conn).Check(t.Context(), &healthpb.HealthCheckRequest{Service: "sluice.v1.RouterService"})
	if err != nil || h.GetStatus() != healthpb.HealthCheckResponse_SERVING {
		t.Errorf("health: %v, %v", h, err)
	}
}

func TestOpeningIsLimited(t *testing.T) {
	t.Parallel()
	c, conn, _ := start(t, 1, time.Second)
	if _, err := open(t, c, "a"); err != nil {
		t.Fatal(err)
	}
	if _, err := open(t, c, "b"); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("second call within a second: %v, want ResourceExhausted", err)
	}
	probe := healthpb.NewHealthClient(conn)
	if _, err := probe.Check(t.Context(), &healthpb.HealthCheckRequest{}); err != nil {
		t.Errorf("a probe meanwhile: %v", err)
	}
	watch, err := probe.Watch(t.Context(), &healthpb.HealthCheckRequest{})
	if err == nil {
		_, err = watch.Recv()
	}
	if err != nil {
		t.Errorf("an edge's watch over the health meanwhile: %v", err)
	}
}

func TestServeEndsThoughACallHangs(t *testing.T) {
	t.Parallel()
	c, _, stop := start(t, 1000, 10*time.Millisecond)
	s, err := c.Stream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	session := "wait"
	if err := s.Send(&sluicev1.StreamRequest{Body: &sluicev1.StreamRequest_Open{Open: &sluicev1.Open{Session: &session}}}); err != nil {
		t.Fatal(err)
	}
	if err := stop(); err != nil {
		t.Errorf("Serve: %v", err)
	}
	if _, err := s.Recv(); err == nil {
		t.Error("the hanging call was not cut off")
	}
}

func TestListenNamesTheKey(t *testing.T) {
	t.Parallel()
	l, err := Listen("http.listen", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	_, err = Listen("http.listen", l.Addr().String())
	if err == nil || !strings.Contains(err.Error(), "http.listen") || !strings.Contains(err.Error(), l.Addr().String()+" is taken") {
		t.Errorf("taken port: %v", err)
	}
	if _, err = Listen("admin.listen", "127.0.0.1:notaport"); err == nil || !strings.Contains(err.Error(), "admin.listen") {
		t.Errorf("nonsense: %v", err)
	}
}

func TestAdmin(t *testing.T) {
	t.Parallel()
	notReady := errors.New("no router has answered yet")
	for _, c := range []struct {
		path   string
		pprof  bool
		ready  error
		status int
		body   string
	}{
		{"/livez", false, notReady, 200, "ok"},
		{"/readyz", false, nil, 200, "ok"},
		{"/readyz", false, notReady, 503, "no router has answered yet"},
		{"/metrics", false, nil, 200, "go_goroutines"},
		{"/metrics", false, nil, 200, `sluice_build_info{go="go`},
		{"/metrics", false, nil, 200, "sluice_ready 1\n"},
		{"/metrics", false, notReady, 200, "sluice_ready 0\n"},
		{"/debug/pprof/", false, nil, 404, ""},
		{"/debug/pprof/", true, nil, 200, "goroutine"},
	} {
		w := httptest.NewRecorder()
		h := Admin(AdminConfig{Pprof: c.pprof, Registry: NewRegistry(), Ready: func() error { return c.ready }})
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, c.path, nil))
		if w.Code != c.status || !strings.Contains(w.Body.String(), c.body) {
			t.Errorf("GET %s (pprof %v): %d %.80q, want %d %q", c.path, c.pprof, w.Code, w.Body, c.status, c.body)
		}
	}
}

func TestHTTPEndsThoughARequestHangs(t *testing.T) {
	t.Parallel()
	entered, leave := make(chan struct{}), make(chan struct{})
	s := &http.Server{ReadHeaderTimeout: time.Second, Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		close(entered)
		<-leave
	})}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- HTTP(ctx, s, l, 10*time.Millisecond) }()
	answered := make(chan struct{})
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	go func() {
		defer close(answered)
		r, err := client.Get("http://" + l.Addr().String())
		if err == nil {
			_ = r.Body.Close()
			t.Error("the hanging request was answered")
		}
	}()
	<-entered
	cancel()
	if err := <-served; err != nil {
		t.Errorf("HTTP: %v", err)
	}
	close(leave)
	<-answered
}
