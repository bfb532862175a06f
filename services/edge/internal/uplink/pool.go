// Package uplink carries frames from the edge to routers over gRPC and brings outcomes, credits, demand and drain notices back.
//
// A Pool holds the connections, shared by all sessions, and a catalog of what the routers serve. An Uplink is one session's way through
// it: frames wait in one slot for each (stream, input), where the newest wins, or for sound in a short line, until the router has given
// credit for them; they never queue inside gRPC. It reconnects by itself, and a router that drains is left without losing a frame.
package uplink

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	_ "google.golang.org/grpc/balancer/leastrequest" // the balancing below
	"google.golang.org/grpc/credentials"
	_ "google.golang.org/grpc/health" // lets a connection leave out routers that say NOT_SERVING
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/resolver"

	"github.com/sluice-dev/sluice/pkg/serve"
	"github.com/sluice-dev/sluice/pkg/wire"
	sluicev1 "github.com/sluice-dev/sluice/proto/gen/sluice/v1"
)

const (
	// callsPerConnection is what DESIGN.md §2.7 allows on one connection. gRPC's own watch over the router's health is one of them.
	callsPerConnection  = 200
	framesPerConnection = callsPerConnection - 1

	// A vanished router is noticed within keepaliveTime + keepaliveTimeout even by sessions that send nothing.
	keepaliveTime    = 10 * time.Second
	keepaliveTimeout = 5 * time.Second
	// connectWithin bounds one attempt to connect, TLS included.
	connectWithin = 2 * time.Second
	// maxResponse bounds a message from a router: outcomes may hold tensors. In bytes.
	maxResponse = 16 << 20
	maxHeaders  = 8 << 10

	// A call goes to the router with the fewest calls, of those that are serving: a router that came later fills up first. Of many routers, ten are looked at.
	balancing = `{"loadBalancingConfig":[{"least_request_experimental":{"choiceCount":10}}],"healthCheckConfig":{"serviceName":""}}`
)

// Config says where the routers are. Target is required.
type Config struct {
	// Target is a gRPC target, such as dns:///router:50051. All its addresses are used; see serve.DNS for names.
	Target string
	// Credentials secure the connections. Nil means plaintext.
	Credentials credentials.TransportCredentials
	// Logger gets one line for each outage and recovery. Nil means none.
	Logger *slog.Logger
	// Registry gets the metrics. Nil means none.
	Registry prometheus.Registerer
}

// Pool is a set of connections to routers, with at most 200 calls on each. It is safe for concurrent use.
type Pool struct {
	target  string
	names   resolver.Builder
	options []grpc.DialOption
	logger  *slog.Logger
	metrics *metrics

	catalog     atomic.Pointer[Catalog]
	catalogConn *grpc.ClientConn // apart, so that asking does not count against the calls of the others

	mu     sync.Mutex
	links  []*link // guarded by mu
	roster roster  // guarded by mu
}

// link is one connection for frames. With several routers behind the target it is one to each of them, which changes nothing in the
// bound on calls.
type link struct {
	conn   *grpc.ClientConn
	router sluicev1.RouterServiceClient
	calls  int // guarded by Pool.mu
}

// NewPool makes a pool. It connects to nothing yet; an error means that the configuration is wrong.
func NewPool(cfg Config) (*Pool, error) { return newPool(cfg, serve.DNS()) }

func newPool(cfg Config, names resolver.Builder, more ...grpc.DialOption) (*Pool, error) {
	if cfg.Target == "" {
		return nil, errors.New("router: no target is set; give one like dns:///127.0.0.1:50051")
	}
	logger := cfg.Logger
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	p := &Pool{target: cfg.Target, names: names, logger: logger, roster: newRoster()}
	p.catalog.Store(&Catalog{})
	p.options = append([]grpc.DialOption{
		grpc.WithDefaultServiceConfig(balancing),
		grpc.WithDisableServiceConfig(), // DNS answers may not change it
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: connectPauses(), MinConnectTimeout: connectWithin}),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: keepaliveTime, Timeout: keepaliveTimeout}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxResponse)),
		grpc.WithMaxHeaderListSize(maxHeaders),
		grpc.WithUserAgent("sluice-edge"),
	}, append(transport(cfg.Credentials), more...)...)
	var err error
	// All connections find the same; one of them tells the pool, the one that is always used.
	if p.catalogConn, err = p.dial(telling{names, p.found}); err != nil {
		return nil, err
	}
	if p.metrics, err = newMetrics(cfg.Registry); err != nil {
		return nil, errors.Join(fmt.Errorf("router metrics: %w", err), p.catalogConn.Close())
	}
	return p, nil
}

// transport gives what carries frames: with their payloads from where they lie to the socket, unless they are to be encrypted.
func transport(secure credentials.TransportCredentials) []grpc.DialOption {
	if secure != nil {
		return []grpc.DialOption{grpc.WithTransportCredentials(secure), grpc.WithDefaultCallOptions(grpc.ForceCodecV2(wire.Codec{}))}
	}
	lender := &wire.Lender{}
	return append(lender.DialOptions(), grpc.WithDefaultCallOptions(grpc.ForceCodecV2(wire.Codec{Lender: lender})))
}

// dial makes a connection, which connects when it is first used.
func (p *Pool) dial(names resolver.Builder) (*grpc.ClientConn, error) {
	conn, err := grpc.NewClient(p.target, append(slices.Clip(p.options), grpc.WithResolvers(names))...)
	if err != nil {
		return nil, fmt.Errorf("router target %q: %w", p.target, err)
	}
	return conn, nil
}

// acquire gives a connection with room for one more call. It is given back with release.
func (p *Pool) acquire() (*link, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	i := slices.IndexFunc(p.links, func(l *link) bool { return l.calls < framesPerConnection })
	if i < 0 {
		conn, err := p.dial(p.names)
		if err != nil {
			return nil, err
		}
		i = len(p.links)
		p.links = append(p.links, &link{conn: conn, router: sluicev1.NewRouterServiceClient(conn)})
		p.metrics.connections.Inc()
	}
	p.links[i].calls++
	p.metrics.calls.Inc()
	return p.links[i], nil
}

// release gives a call's place back. A connection without calls is closed, but for the last one.
func (p *Pool) release(l *link) {
	if p.unused(l) {
		_ = l.conn.Close() // fails only when it is closed already
	}
}

func (p *Pool) unused(l *link) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	l.calls--
	p.metrics.calls.Dec()
	i := slices.Index(p.links, l)
	if l.calls > 0 || len(p.links) == 1 || i < 0 {
		return false
	}
	p.links = slices.Delete(p.links, i, i+1)
	p.metrics.connections.Dec()
	return true
}

// Close closes the connections. Uplinks are closed first, and Run's context has ended.
func (p *Pool) Close() error {
	p.mu.Lock()
	links := p.links
	p.links = nil
	p.mu.Unlock()
	// Not under the lock: what is closed waits for its resolver, which may be telling the pool of addresses just then.
	errs := []error{p.catalogConn.Close()}
	for _, l := range links {
		errs = append(errs, l.conn.Close())
		p.metrics.connections.Dec()
	}
	return errors.Join(errs...)
}
