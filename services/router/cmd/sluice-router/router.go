package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"

	"github.com/sluice-dev/sluice/pkg/serve"
	"github.com/sluice-dev/sluice/pkg/wire"
	sluicev1 "github.com/sluice-dev/sluice/proto/gen/sluice/v1"
	"github.com/sluice-dev/sluice/services/router/internal/config"
	"github.com/sluice-dev/sluice/services/router/internal/dispatch"
	"github.com/sluice-dev/sluice/services/router/internal/inspect"
	"github.com/sluice-dev/sluice/services/router/internal/intake"
)

const (
	// window is the number of frames that an edge may have outstanding for each (stream, input), but for sound, whose inputs have windows of their own: one in each
	// of two batches in flight, one that waits and one on the way.
	window = 4
	// outbox is the number of outcomes that wait for a session that does not take them.
	outbox = 256
	// streams is the number of streams that one session may have with frames outstanding.
	streams = 64
	// callsPerConnection leaves room beside the 200 sessions that an edge puts on one connection.
	callsPerConnection = 256
	// callsPerSecond lets the sessions of many edges come back at once after a restart of their router.
	callsPerSecond = 2000
	// envelope is room for what a frame carries beside its payload.
	envelope = 64 << 10
	// roomiest is the size of a message that is taken at least, whatever the models need at the start: reloads may bring models of larger pictures.
	roomiest = 8 << 20
	// maxCallWindow bounds what a call may have on the way unread, in bytes.
	maxCallWindow = 64 << 20
	// firstCheck bounds how long the start waits for model servers that are there but slow to warm up.
	firstCheck = 90 * time.Second
	adminGrace = 500 * time.Millisecond
)

var (
	errStarting = errors.New("starting: the models are being checked")
	errDraining = errors.New("draining: this router is shutting down")
)

// router is the running service, wired together.
type router struct {
	config     *config.Config
	logger     *slog.Logger
	registry   *prometheus.Registry
	traces     *serve.Traces
	models     *models
	dispatcher *dispatch.Dispatcher
	intake     *intake.Service
	feed       *inspect.Feed
	grpc       *serve.GRPC
	again      *reloads
	reloaded   *prometheus.CounterVec
	largest    int                   // message that is taken, in bytes
	state      atomic.Pointer[error] // why the router is not ready, whatever its models are; nil when it is
}

// newRouter builds a router. run must be called: it frees what the router holds.
func newRouter(c *config.Config, again *reloads, logger *slog.Logger) (_ *router, err error) {
	r := &router{config: c, again: again, logger: logger, registry: serve.NewRegistry(), feed: inspect.NewFeed()}
	r.state.Store(&errStarting)
	if r.traces, err = serve.NewTraces(serve.TracesConfig{Trace: c.Trace, Service: "sluice-router", Logger: logger, Registry: r.registry}); err != nil {
		return nil, err
	}
	identities, err := serve.NewIdentities("sluice_router", logger, r.registry)
	if err != nil {
		return nil, errors.Join(err, r.traces.Close())
	}
	if r.models, err = openModels(c, identities, logger); err != nil {
		return nil, errors.Join(err, r.traces.Close())
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.models.close(), r.traces.Close())
		}
	}()
	if r.reloaded, err = newReloaded(r.registry); err != nil {
		return nil, err
	}
	if r.dispatcher, err = dispatch.New(dispatch.Config{
		Models: configs(r.models.all), Observe: r.feed.Publish, Registry: r.registry, Logger: logger,
	}); err != nil {
		return nil, err
	}
	name, err := os.Hostname()
	if err != nil {
		return nil, fmt.Errorf("ask for the host's name: %w", err)
	}
	if r.intake, err = intake.New(intake.Config{
		Dispatcher: r.dispatcher, Name: name, Window: window, Outbox: outbox, Streams: streams, Tracer: r.traces.Tracer(), Registry: r.registry, Logger: logger,
	}); err != nil {
		return nil, err
	}
	secure, err := listenerCredentials(c.TLS, identities)
	if err != nil {
		return nil, err
	}
	unread := 0
	r.largest = roomiest
	for _, in := range r.dispatcher.Inputs() {
		message := in.Bytes() + envelope
		r.largest, unread = max(r.largest, message), max(unread, cmp.Or(in.Window, window)*message)
	}
	r.grpc, err = serve.NewGRPC(serve.GRPCConfig{
		Logger: logger, Registry: r.registry, MaxStreams: callsPerConnection, MaxMessage: r.largest, Codec: wire.Codec{},
		CallWindow: min(unread, maxCallWindow), CallsPerSecond: callsPerSecond,
		Grace: time.Duration(c.Drain), Credentials: secure,
	}, func(to grpc.ServiceRegistrar) {
		sluicev1.RegisterRouterServiceServer(to, r.intake)
		sluicev1.RegisterInspectServiceServer(to, inspect.New(r.intake, r.dispatcher, r.feed))
	})
	return r, err
}

// run serves until ctx ends, drains, and frees everything.
func (r *router) run(ctx context.Context, calls, admin net.Listener) error {
	// What the calls need goes on until the last of them has ended.
	beneath, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	serving, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var group sync.WaitGroup
	var adminErr, dispatchErr error
	group.Go(func() {
		server := serve.AdminServer(serve.AdminConfig{Pprof: r.config.Admin.Pprof, Registry: r.registry, Ready: r.ready})
		if adminErr = serve.HTTP(beneath, server, admin, adminGrace); adminErr != nil {
			cancel(fmt.Errorf("the admin server failed: %w", adminErr))
		}
	})
	group.Go(func() { dispatchErr = r.dispatcher.Run(beneath) })

	callsErr := r.serve(serving, calls, &group)
	r.intake.Wait()
	end()
	group.Wait()
	err := errors.Join(callsErr, adminErr, dispatchErr)
	if dispatchErr == nil { // A backend that never came back still uses its model.
		err = errors.Join(err, r.models.close())
	}
	err = errors.Join(err, r.traces.Close()) //nolint:contextcheck // what is left is sent when ctx has ended
	r.logger.Info("the router has ended")
	return err
}

// serve checks the models, then takes calls until ctx ends and they are over.
func (r *router) serve(ctx context.Context, calls net.Listener, group *sync.WaitGroup) error {
	bounded, cancel := context.WithTimeout(ctx, firstCheck)
	err := r.models.check(bounded, r.models.list())
	cancel()
	if err != nil || ctx.Err() != nil {
		return err
	}
	watching, stop := context.WithCancel(ctx)
	defer stop()
	group.Go(func() { r.tend(watching) })
	group.Go(func() {
		<-watching.Done()
		r.state.Store(&errDraining)
		r.intake.Drain(time.Duration(r.config.Drain))
		r.feed.Close()
	})
	r.state.Store(nil)
	r.grpc.SetServing(true)
	r.logger.Info("the router takes frames", "listen", calls.Addr().String(), "models", names(r.models.list()), "version", serve.Version())
	return r.grpc.Serve(ctx, calls)
}

// ready tells why no frames should be sent here, nil when they should.
func (r *router) ready() error {
	if state := r.state.Load(); state != nil {
		return *state
	}
	return r.models.ready()
}
