// Package app puts an edge together from its configuration and runs it: HTTP in front, sessions in the middle, routers behind, inspection
// and probes at the side. It is the one package that knows all of them.
package app

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/pkg/serve"
	"github.com/sluice-dev/sluice/services/edge/internal/config"
	"github.com/sluice-dev/sluice/services/edge/internal/decoder"
	"github.com/sluice-dev/sluice/services/edge/internal/front"
	"github.com/sluice-dev/sluice/services/edge/internal/inspect"
	"github.com/sluice-dev/sluice/services/edge/internal/peer"
	"github.com/sluice-dev/sluice/services/edge/internal/session"
	"github.com/sluice-dev/sluice/services/edge/internal/uplink"
)

const (
	// A session may be followed on a WebSocket and by a few readers of its results.
	connectionsPerSession = 4
	grpcCallsPerSecond    = 100
	grpcStreams           = 100
	grpcMessage           = 64 << 10
	// stopGrace bounds what inspection and probes that are under way may take when the edge stops.
	stopGrace = 2 * time.Second
	// readinessEvery is how often health checks are told whether the edge is ready.
	readinessEvery = 500 * time.Millisecond
)

// edge is all that runs. Whatever opens something adds its end to closers, which run last first.
type edge struct {
	cfg      config.Config
	logger   *slog.Logger
	registry *prometheus.Registry

	http, grpc, admin net.Listener
	traces            *serve.Traces
	identities        *serve.Identities
	secure            *tls.Config // of http; nil for plaintext
	pool              *uplink.Pool
	endpoint          *peer.Endpoint
	feed              *inspect.Feed
	manager           *session.Manager
	front             *front.Front
	inspection        *serve.GRPC

	closers []func() error
}

// Run runs an edge until ctx ends; then it drains: clients are told to go, and what remains after the configured time is closed. It returns
// nil after an orderly end, and an error when something cannot be opened or fails. The configuration has been validated.
func Run(ctx context.Context, cfg config.Config, logger *slog.Logger) error {
	e := &edge{cfg: cfg, logger: logger, registry: serve.NewRegistry()}
	err := e.open()
	if err == nil {
		err = e.serve(ctx)
	}
	return errors.Join(err, e.close())
}

// open makes everything, in the order that fails soonest for what a user gets wrong.
func (e *edge) open() error {
	for _, step := range []func() error{e.listen, e.checkDecoder, e.trace, e.connect, e.manage, e.inspect} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// close ends what open made, the last first.
func (e *edge) close() error {
	var errs []error
	for i := len(e.closers) - 1; i >= 0; i-- {
		errs = append(errs, e.closers[i]())
	}
	return errors.Join(errs...)
}

// listen opens all ports, so that a taken one is told before anything else happens.
func (e *edge) listen() error {
	for _, l := range []struct {
		key, address string
		into         *net.Listener
	}{
		{"http.listen", e.cfg.HTTP.Listen, &e.http},
		{"grpc.listen", e.cfg.GRPC.Listen, &e.grpc},
		{"admin.listen", e.cfg.Admin.Listen, &e.admin},
	} {
		listener, err := serve.Listen(l.key, l.address)
		if err != nil {
			return err
		}
		*l.into = listener
		e.closers = append(e.closers, func() error {
			if err := listener.Close(); !errors.Is(err, net.ErrClosed) {
				return err
			}
			return nil // its server closed it
		})
	}
	endpoint, err := peer.Listen(peer.Config{
		UDP: e.cfg.ICE.UDP, TCP: e.cfg.ICE.TCP, Addresses: e.cfg.ICE.Addresses, Loopback: e.cfg.ICE.Loopback,
		Channels: e.cfg.Limits.Channels, Logger: e.logger, Registry: e.registry,
	})
	if err != nil {
		return err
	}
	e.endpoint = endpoint
	e.closers = append(e.closers, endpoint.Close)
	return nil
}

// decoderConfig says how a session's decoder works.
func (e *edge) decoderConfig() decoder.Config {
	return decoder.Config{
		Path: string(e.cfg.Decoder.Path), Sandbox: e.cfg.Decoder.Sandbox,
		MaxWidth: e.cfg.Limits.Pixels.Width, MaxHeight: e.cfg.Limits.Pixels.Height,
		Memory: int64(e.cfg.Limits.DecoderMemory), MaxUnit: int(e.cfg.Limits.Message), Logger: e.logger,
	}
}

// checkDecoder refuses to start where decoders would not, or where the kernel lacks what shuts them in.
func (e *edge) checkDecoder() error {
	if err := decoder.Check(e.decoderConfig()); err != nil {
		return fmt.Errorf("decoder: %w", err)
	}
	return nil
}

// trace makes ready for sending traces, if they are wanted. What ends later may still be traced.
func (e *edge) trace() (err error) {
	e.traces, err = serve.NewTraces(serve.TracesConfig{Trace: e.cfg.Trace, Service: "sluice-edge", Logger: e.logger, Registry: e.registry})
	if err == nil {
		e.closers = append(e.closers, e.traces.Close)
	}
	return err
}

// connect prepares the way to the routers. That none can be reached yet is no reason not to start.
func (e *edge) connect() error {
	var err error
	if e.identities, err = serve.NewIdentities("sluice_edge", e.logger, e.registry); err != nil {
		return err
	}
	secure, err := routerCredentials(e.cfg.Router.TLS, e.identities)
	if err != nil {
		return err
	}
	e.pool, err = uplink.NewPool(uplink.Config{Target: e.cfg.Router.Target, Credentials: secure, Logger: e.logger, Registry: e.registry})
	if err != nil {
		return err
	}
	e.closers = append(e.closers, e.pool.Close)
	return nil
}

// manage makes the sessions and what stands in front of them.
func (e *edge) manage() error {
	e.feed = inspect.NewFeed()
	decoders := e.decoderConfig()
	var err error
	if decoders.Metrics, err = decoder.NewMetrics(e.registry); err != nil {
		return err
	}
	manager, err := session.NewManager(session.Deps{
		Edge: e.cfg.Cluster.Name,
		Limits: session.Limits{
			Sessions: e.cfg.Limits.Sessions, Bitrate: int64(e.cfg.Limits.Bitrate), Message: int(e.cfg.Limits.Message),
			Pixels: int64(e.cfg.Limits.Pixels.Width) * int64(e.cfg.Limits.Pixels.Height),
		},
		Endpoint:   e.endpoint,
		NewDecoder: func() (session.Decoder, error) { return decoder.New(decoders) },
		OpenUplink: func(id string, models []string, share media.Share, h uplink.Handler) session.Uplink {
			return e.pool.Open(id, models, share, h)
		},
		Catalog:  e.pool.Catalog,
		Watch:    e.feed.Publish,
		Logger:   e.logger,
		Tracer:   e.traces.Tracer(),
		Registry: e.registry,
	})
	if err != nil {
		return err
	}
	e.manager = manager
	e.closers = append(e.closers, func() error { manager.Close(); return nil })
	if e.cfg.HTTP.TLS.Cert != "" {
		identity, err := e.identities.Load(httpTLS(e.cfg.HTTP.TLS))
		if err != nil {
			return err
		}
		e.secure = identity.Server(tls.VersionTLS12, []string{"h2", "http/1.1"})
	}
	settings := frontConfig(e.cfg, e.logger, e.registry)
	if err := join(&settings, e.cfg.Cluster, e.secure); err != nil {
		return err
	}
	e.front, err = front.New(settings, sessions{manager}, catalog{e.pool})
	return err
}

// inspect makes the side that operators look through.
func (e *edge) inspect() error {
	inspection, err := serve.NewGRPC(serve.GRPCConfig{
		Logger: e.logger, Registry: e.registry, MaxStreams: grpcStreams, MaxMessage: grpcMessage, CallsPerSecond: grpcCallsPerSecond, Grace: stopGrace,
	}, func(r grpc.ServiceRegistrar) { inspect.Register(r, source{e.manager, e.pool}, e.feed) })
	e.inspection = inspection
	return err
}

// serve runs everything until ctx ends or a part fails, and drains. All goroutines of the package are started and joined here.
func (e *edge) serve(ctx context.Context) error {
	life, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	group, failed := errgroup.WithContext(life)
	admin := serve.AdminServer(serve.AdminConfig{Pprof: e.cfg.Admin.Pprof, Registry: e.registry, Ready: e.ready})
	group.Go(func() error { return serve.HTTP(life, admin, e.admin, stopGrace) })
	group.Go(func() error { return e.inspection.Serve(life, e.grpc) })
	group.Go(func() error { return e.pool.Run(life) })
	group.Go(func() error { return e.front.Serve(life, e.http, e.secure) })
	group.Go(func() error { e.followReadiness(failed); return nil })
	e.logger.Info("the edge serves", "http", e.http.Addr(), "tls", e.secure != nil, "ice", e.endpoint.Addresses(),
		"grpc", e.grpc.Addr(), "admin", e.admin.Addr(), "router", e.cfg.Router.Target, "version", serve.Version())
	select {
	case <-ctx.Done():
		e.drain(ctx)
	case <-failed.Done(): // nothing can be promised to clients any more
	}
	e.feed.Close() // watchers would hold the gRPC server up
	stop()
	return group.Wait()
}

// drain lets clients go elsewhere before everything ends. That ctx has ended is why it was called.
func (e *edge) drain(ctx context.Context) {
	patience := time.Duration(e.cfg.Drain)
	e.logger.Info("the edge drains", "sessions", len(e.manager.List()), "patience", patience)
	bound, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	e.manager.Drain(bound)
}

var (
	errDraining = errors.New("the edge drains")
	errNoRouter = errors.New("no router has told its models yet")
)

// ready tells why the edge is not ready. The decoder was checked before anything could ask.
func (e *edge) ready() error {
	switch {
	case e.manager.Draining():
		return errDraining
	case !e.pool.Catalog().Known:
		return errNoRouter
	}
	return nil
}

// followReadiness tells gRPC's health service what /readyz says, until ctx ends.
func (e *edge) followReadiness(ctx context.Context) {
	tick := time.NewTicker(readinessEvery)
	defer tick.Stop()
	for {
		e.inspection.SetServing(e.ready() == nil)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
