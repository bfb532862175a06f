package uplink

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/stats"

	"github.com/sluice-dev/sluice/pkg/media"
	sluicev1 "github.com/sluice-dev/sluice/proto/gen/sluice/v1"
)

func TestNewPoolRefuses(t *testing.T) {
	t.Parallel()
	taken := prometheus.NewRegistry()
	p, err := NewPool(Config{Target: "dns:///x:1", Registry: taken})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	}()
	for name, c := range map[string]struct {
		cfg  Config
		want string
	}{
		"no target":         {Config{}, "target"},
		"a bad target":      {Config{Target: "dns:///%zz"}, "dns:///%zz"},
		"a second registry": {Config{Target: "dns:///x:1", Registry: taken}, "metrics"},
	} {
		if _, err := NewPool(c.cfg); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %q", name, err, c.want)
		}
	}
}

// census counts the calls on each connection of a server.
type census struct {
	mu          sync.Mutex
	open, worst map[net.Addr]int
}

type connectionKey struct{}

func (c *census) TagConn(ctx context.Context, i *stats.ConnTagInfo) context.Context {
	return context.WithValue(ctx, connectionKey{}, i.RemoteAddr)
}
func (c *census) HandleConn(context.Context, stats.ConnStats)                     {}
func (c *census) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context { return ctx }

func (c *census) HandleRPC(ctx context.Context, s stats.RPCStats) {
	c.mu.Lock()
	defer c.mu.Unlock()
	at := ctx.Value(connectionKey{}).(net.Addr)
	switch s.(type) {
	case *stats.Begin:
		c.open[at]++
		c.worst[at] = max(c.worst[at], c.open[at])
	case *stats.End:
		c.open[at]--
	}
}

type silentHandler struct {
	opened func()
}

func (h silentHandler) Opened([]media.Model, []media.Input)   { h.opened() }
func (h silentHandler) Outcome(media.Outcome)                 {}
func (h silentHandler) Sent(string, uint32, []string, string) {}
func (h silentHandler) Demand(media.Demand)                   {}
func (h silentHandler) Lost(error)                            {}

// No connection ever has more than 200 calls, gRPC's own watch over health included, and connections go when calls go.
func TestCallsPerConnection(t *testing.T) {
	t.Parallel()
	count := &census{open: make(map[net.Addr]int), worst: make(map[net.Addr]int)}
	address, stop := serveTCP(t, "127.0.0.1:0", &router{script: func(c *conversation) error {
		if err := c.welcomeFaces(1); err != nil {
			return err
		}
		return c.wait()
	}}, grpc.StatsHandler(count))
	defer stop()
	p, err := NewPool(Config{Target: "dns:///" + address})
	if err != nil {
		t.Fatal(err)
	}
	// Not all at once: the router sees the end of a call that was given up later than the edge does, and counts one too many.
	const sessions, together = 450, 10
	var uplinks []*Uplink
	for len(uplinks) < sessions {
		var opened sync.WaitGroup
		opened.Add(together)
		for range together {
			uplinks = append(uplinks, p.Open(fmt.Sprint(len(uplinks)), nil, media.Share{}, silentHandler{sync.OnceFunc(opened.Done)}))
		}
		opened.Wait()
	}
	if n := len(p.links); n != 3 {
		t.Errorf("%d connections for %d calls, want 3", n, sessions)
	}
	for _, u := range uplinks {
		u.Close()
	}
	if n := len(p.links); n != 1 || p.links[0].calls != 0 {
		t.Errorf("%d connections after the last call, the first with %d calls; want 1 with 0", n, p.links[0].calls)
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	count.mu.Lock()
	defer count.mu.Unlock()
	for at, n := range count.worst {
		if n > callsPerConnection {
			t.Errorf("%d calls on the connection from %s, want %d at most", n, at, callsPerConnection)
		}
	}
}

// serveTCP runs a fake router on a real socket.
func serveTCP(t *testing.T, address string, r *router, options ...grpc.ServerOption) (at string, stop func()) {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(options...)
	sluicev1.RegisterRouterServiceServer(server, r)
	healthv1.RegisterHealthServer(server, health.NewServer())
	done := make(chan error, 1)
	go func() { done <- server.Serve(l) }()
	return l.Addr().String(), func() {
		server.Stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// The same as TestRouterRestart, on real sockets and the real clock. The bound is loose, since the machine may be busy.
func TestRouterRestartTCP(t *testing.T) {
	t.Parallel()
	r := &router{script: answerAll}
	address, stop := serveTCP(t, "127.0.0.1:0", r)
	p, err := NewPool(Config{Target: "dns:///" + address})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	s := openSession(t, p)
	s.untilOpened()
	sequence := uint32(0)
	answered := func() {
		t.Helper()
		sequence++
		s.offer(sequence, small.Bytes(), s.input("faces"), "faces")
		at := unit{"camera", sequence, "faces"}
		s.until("an answer", func() bool { return s.answers[at] == 1 })
	}
	for round := range 3 {
		answered()
		stop()
		s.until("the loss", func() bool { return s.losses == round+1 })
		_, stop = serveTCP(t, address, r)
		back := time.Now()
		s.until("the reconnect", func() bool { return s.openings == round+2 })
		if took := time.Since(back); took > 2*time.Second {
			t.Errorf("reconnecting took %s", took)
		}
		answered()
	}
	t.Cleanup(stop)
}

func TestCatalog(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		p := n.pool("a")
		p.logger = slog.New(slog.DiscardHandler)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- p.Run(ctx) }()
		pass(10 * time.Second)
		if c := p.Catalog(); c.Known || c.Reachable || len(c.Models) != 0 {
			t.Errorf("without a router: %+v", c)
		}
		r := n.start("a", answerAll)
		pass(300 * time.Millisecond)
		if c := p.Catalog(); !c.Known || !c.Reachable || len(c.Models) != 1 || !c.Models[0].Ready || c.Inputs[0].Picture != small {
			t.Errorf("300 ms after the router came: %+v", c)
		}
		r.stop()
		pass(5 * time.Second)
		if c := p.Catalog(); !c.Known || c.Reachable || len(c.Models) != 1 || c.Models[0].Ready {
			t.Errorf("5 s after the router went: %+v, want the models, not ready", c)
		}
		n.start("a", answerAll)
		pass(time.Second)
		if c := p.Catalog(); !c.Reachable || !c.Models[0].Ready {
			t.Errorf("1 s after the router came back: %+v", c)
		}
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}

// late is a resolver.Builder whose resolvers have something to tell just when they are closed, and wait until it is told.
type late struct{ built chan struct{} }

func (late) Scheme() string { return "fake" }

func (l late) Build(_ resolver.Target, cc resolver.ClientConn, _ resolver.BuildOptions) (resolver.Resolver, error) {
	close(l.built)
	return lateResolver{cc}, nil
}

type lateResolver struct{ cc resolver.ClientConn }

func (lateResolver) ResolveNow(resolver.ResolveNowOptions) {}

func (r lateResolver) Close() {
	_ = r.cc.UpdateState(resolver.State{Addresses: []resolver.Address{{Addr: "a"}}}) // It is closed: there is nothing to do about it.
}

// A pool is closed while DNS tells of another address.
func TestCloseWhileAddressesChange(t *testing.T) {
	t.Parallel()
	l := late{make(chan struct{})}
	p, err := newPool(Config{Target: "fake:///routers"}, l)
	if err != nil {
		t.Fatal(err)
	}
	p.catalogConn.Connect()
	<-l.built
	closed := make(chan error, 1)
	go func() { closed <- p.Close() }()
	select {
	case err := <-closed:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the pool and its resolver wait for each other")
	}
}
