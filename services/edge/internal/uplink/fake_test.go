package uplink

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/test/bufconn"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/pkg/wire"
	"github.com/sluice-dev/sluice/pkg/wire/wiretest"
	sluicev1 "github.com/sluice-dev/sluice/proto/gen/sluice/v1"
)

func TestMain(m *testing.M) {
	if wiretest.Play(map[string]func(*bufio.Reader, io.Writer) error{"router": routerPeer}) {
		return
	}
	goleak.VerifyTestMain(m)
}

var (
	small = media.PictureInput{Width: 4, Height: 2, Fit: media.Letterbox, Color: media.RGB}
	large = media.PictureInput{Width: 1024, Height: 512, Fit: media.Letterbox, Color: media.RGB}
	faces = media.Model{Name: "faces", InputID: 10, Rate: 15, Deadline: 250 * time.Millisecond, Ready: true, MaxBatch: 8}
)

// pass lets time pass, which takes none inside a bubble.
func pass(d time.Duration) { <-time.After(d) }

// network is a set of routers in memory, by address.
type network struct {
	t         *testing.T
	mu        sync.Mutex
	listeners map[string]*bufconn.Listener
}

func newNetwork(t *testing.T) *network {
	t.Helper()
	return &network{t: t, listeners: make(map[string]*bufconn.Listener)}
}

func (n *network) dial(ctx context.Context, address string) (net.Conn, error) {
	n.mu.Lock()
	l := n.listeners[address]
	n.mu.Unlock()
	if l == nil {
		return nil, fmt.Errorf("%s: connection refused", address)
	}
	conn, err := l.DialContext(ctx)
	return addressed{conn, address}, err
}

// addressed is a connection that tells its routers apart.
type addressed struct {
	net.Conn
	address string
}

func (a addressed) RemoteAddr() net.Addr { return a }
func (addressed) Network() string        { return "memory" }
func (a addressed) String() string       { return a.address }

// pool makes a pool of the routers at the addresses. It is closed after every Uplink of a later t.Cleanup.
func (n *network) pool(addresses ...string) *Pool {
	n.t.Helper()
	p, _ := n.named(addresses...)
	return p
}

// named makes a pool whose target's name stands for the addresses, until tell is called with others.
func (n *network) named(addresses ...string) (p *Pool, tell func(addresses ...string)) {
	n.t.Helper()
	builder := &book{addresses: addresses, readers: map[*reader]struct{}{}}
	p, err := newPool(Config{Target: "fake:///routers"}, builder, grpc.WithContextDialer(n.dial))
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() {
		if err := p.Close(); err != nil {
			n.t.Error(err)
		}
	})
	return p, builder.tell
}

// book is the DNS of a network: a resolver.Builder, whose name stands for addresses that change.
type book struct {
	mu        sync.Mutex
	addresses []string             // guarded by mu
	readers   map[*reader]struct{} // guarded by mu
}

// reader is the resolver of one connection.
type reader struct {
	*book
	cc resolver.ClientConn
}

func (*book) Scheme() string { return "fake" }

func (b *book) Build(_ resolver.Target, cc resolver.ClientConn, _ resolver.BuildOptions) (resolver.Resolver, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	r := &reader{b, cc}
	b.readers[r] = struct{}{}
	r.tell(b.addresses)
	return r, nil
}

func (b *book) tell(addresses ...string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.addresses = addresses
	for r := range b.readers {
		r.tell(addresses)
	}
}

func (r *reader) tell(addresses []string) {
	var state resolver.State
	for _, a := range addresses {
		state.Addresses = append(state.Addresses, resolver.Address{Addr: a})
	}
	_ = r.cc.UpdateState(state) // The next one says it again.
}

func (*reader) ResolveNow(resolver.ResolveNowOptions) {}

func (r *reader) Close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.readers, r)
}

// router is a fake one. Its script is run for every call, after Open.
type router struct {
	sluicev1.UnimplementedRouterServiceServer
	sluicev1.UnimplementedInspectServiceServer
	script func(*conversation) error
	health *health.Server
	stop   func()

	mu    sync.Mutex
	calls []time.Time // when each call was opened
}

// conversation is one call, seen from the router.
type conversation struct {
	sluicev1.RouterService_StreamServer
	open *sluicev1.Open
}

// start runs a router at an address until stop is called or the test ends.
func (n *network) start(address string, script func(*conversation) error) *router {
	r := &router{script: script, health: health.NewServer()}
	server := grpc.NewServer(grpc.WaitForHandlers(true), grpc.MaxRecvMsgSize(64<<20),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 5 * time.Second}))
	sluicev1.RegisterRouterServiceServer(server, r)
	sluicev1.RegisterInspectServiceServer(server, r)
	healthv1.RegisterHealthServer(server, r.health)
	l := bufconn.Listen(64 << 10)
	n.mu.Lock()
	n.listeners[address] = l
	n.mu.Unlock()
	done := make(chan error, 1)
	go func() { done <- server.Serve(l) }()
	r.stop = sync.OnceFunc(func() {
		n.mu.Lock()
		delete(n.listeners, address)
		n.mu.Unlock()
		server.Stop()
		if err := <-done; err != nil {
			n.t.Errorf("serve: %v", err)
		}
	})
	n.t.Cleanup(r.stop)
	return r
}

func (r *router) Stream(stream sluicev1.RouterService_StreamServer) error {
	m, err := stream.Recv()
	if err != nil {
		return err
	}
	r.mu.Lock()
	r.calls = append(r.calls, time.Now())
	r.mu.Unlock()
	return r.script(&conversation{stream, m.GetOpen()})
}

func (r *router) ListModels(context.Context, *sluicev1.ListModelsRequest) (*sluicev1.ListModelsResponse, error) {
	return &sluicev1.ListModelsResponse{
		Models: []*sluicev1.Model{wire.ModelToProto(faces)},
		Inputs: []*sluicev1.Input{wire.InputToProto(media.Input{ID: faces.InputID, Form: media.PictureForm(small)})},
	}, nil
}

func (r *router) opened() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.calls)
}

// welcome answers Open with models, each of which takes the form of the same place.
func (c *conversation) welcome(window uint32, models []media.Model, inputs []media.Input) error {
	m := &sluicev1.Opened{Window: new(window), Router: new("fake")}
	for _, model := range models {
		m.Models = append(m.Models, wire.ModelToProto(model))
	}
	for _, in := range inputs {
		m.Inputs = append(m.Inputs, wire.InputToProto(in))
	}
	return c.Send(&sluicev1.StreamResponse{Body: &sluicev1.StreamResponse_Opened{Opened: m}})
}

// welcomeFaces answers Open with the one model of most tests.
func (c *conversation) welcomeFaces(window uint32) error {
	return c.welcome(window, []media.Model{faces}, []media.Input{{ID: faces.InputID, Form: media.PictureForm(small)}})
}

// frame waits for the next frame. It is nil after the edge has half-closed the call.
func (c *conversation) frame() (*sluicev1.Frame, error) {
	m, err := c.Recv()
	if errors.Is(err, io.EOF) {
		return nil, nil
	}
	return m.GetFrame(), err
}

func (c *conversation) outcome(o media.Outcome) error {
	return c.Send(&sluicev1.StreamResponse{Body: &sluicev1.StreamResponse_Outcome{Outcome: wire.OutcomeToProto(o)}})
}

// answer gives a result for each model that a frame is due for, and its credit back.
func (c *conversation) answer(f *sluicev1.Frame) error {
	for _, due := range f.GetDue() {
		o := media.Outcome{Stream: f.GetStream(), Sequence: f.GetSequence(), Model: due.GetModel(), BatchSize: 1, Result: &media.Result{}}
		if err := c.outcome(o); err != nil {
			return err
		}
	}
	return c.credit(f)
}

func (c *conversation) credit(f *sluicev1.Frame) error {
	return c.Send(&sluicev1.StreamResponse{Body: &sluicev1.StreamResponse_Credit{
		Credit: &sluicev1.Credit{Stream: new(f.GetStream()), InputId: new(f.GetInputId()), Frames: new(uint32(1))},
	}})
}

func (c *conversation) drain() error { return c.drainWithin(0) }

// drainWithin says how long the router goes on, if it says so.
func (c *conversation) drainWithin(within time.Duration) error {
	m := &sluicev1.Drain{}
	if within > 0 {
		m.ReconnectWithin = new(within.Seconds())
	}
	return c.Send(&sluicev1.StreamResponse{Body: &sluicev1.StreamResponse_Drain{Drain: m}})
}

// answerAll is the script of a healthy router.
func answerAll(c *conversation) error {
	if err := c.welcomeFaces(2); err != nil {
		return err
	}
	for {
		f, err := c.frame()
		if f == nil || err != nil {
			return err
		}
		if err := c.answer(f); err != nil {
			return err
		}
	}
}

// wait is the rest of a script that does nothing until the call ends.
func (c *conversation) wait() error {
	<-c.Context().Done()
	return c.Context().Err()
}
