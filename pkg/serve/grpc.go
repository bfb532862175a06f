package serve

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"runtime/debug"
	"strings"
	"time"

	"buf.build/go/protovalidate"
	grpcprom "github.com/grpc-ecosystem/go-grpc-middleware/providers/prometheus"
	"github.com/grpc-ecosystem/go-grpc-middleware/v2/interceptors"
	"github.com/grpc-ecosystem/go-grpc-middleware/v2/interceptors/logging"
	validating "github.com/grpc-ecosystem/go-grpc-middleware/v2/interceptors/protovalidate"
	"github.com/grpc-ecosystem/go-grpc-middleware/v2/interceptors/ratelimit"
	"github.com/grpc-ecosystem/go-grpc-middleware/v2/interceptors/recovery"
	"github.com/grpc-ecosystem/go-grpc-middleware/v2/interceptors/selector"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/reflection"
	"google.golang.org/grpc/status"
)

// leastConnWindow is the least window of a connection whose calls have a window of their own, in bytes.
const leastConnWindow = 16 << 20

// GRPCConfig configures a gRPC server. All fields but Codec, CallWindow and Credentials must be set.
type GRPCConfig struct {
	Logger   *slog.Logger
	Registry prometheus.Registerer
	// MaxStreams is the number of calls that may be open on one connection.
	MaxStreams uint32
	// MaxMessage is the largest message received, in bytes.
	MaxMessage int
	// Codec reads and writes all messages; nil means gRPC's own for protobuf. It must understand whatever that one does.
	Codec encoding.CodecV2
	// CallWindow is how many bytes of a call may be on the way or unread, at most 1 GiB. Zero lets gRPC find out, from 64 KiB up: a message that is
	// larger than the window waits for the receiver's leave in the middle, several times, and on a busy machine that takes longer than the message. The
	// window of a connection, which its calls share, then is at least 16 MiB.
	CallWindow int
	// CallsPerSecond limits how often calls may be opened, over all clients; a burst of one second is allowed. Messages inside a call are not counted, nor are
	// health checks.
	CallsPerSecond float64
	// Grace bounds how long calls may go on after Serve's context ends.
	Grace time.Duration
	// Credentials are the transport's; nil means plain text.
	Credentials credentials.TransportCredentials
}

// GRPC is a gRPC server with health, reflection and the project's middleware. It is safe for concurrent use.
type GRPC struct {
	server *grpc.Server
	health *health.Server
	grace  time.Duration
}

// NewGRPC builds a server; register adds the services to it. The order of the middleware, outermost first: metrics, logs, recovery, rate limit on opening, validation
// of each call's first message. A service that takes more messages in a call checks those itself: validating every frame would cost more than decoding its header.
func NewGRPC(cfg GRPCConfig, register func(grpc.ServiceRegistrar)) (*GRPC, error) {
	validator, err := protovalidate.New()
	if err != nil {
		return nil, fmt.Errorf("build the message validator: %w", err)
	}
	metrics := grpcprom.NewServerMetrics(grpcprom.WithServerHandlingTimeHistogram())
	if err := cfg.Registry.Register(metrics); err != nil {
		return nil, fmt.Errorf("register gRPC metrics: %w", err)
	}
	limiter := opening{rate.NewLimiter(rate.Limit(cfg.CallsPerSecond), max(1, int(cfg.CallsPerSecond)))}
	recovered := recovery.WithRecoveryHandlerContext(func(ctx context.Context, p any) error {
		cfg.Logger.ErrorContext(ctx, "a gRPC handler panicked", "panic", p, "stack", string(debug.Stack()))
		return status.Error(codes.Internal, "internal error")
	})
	logged := logging.WithLogOnEvents(logging.StartCall, logging.FinishCall)
	notProbe := selector.MatchFunc(func(_ context.Context, c interceptors.CallMeta) bool {
		return c.Service != healthpb.Health_ServiceDesc.ServiceName && !strings.HasPrefix(c.Service, "grpc.reflection.")
	})
	// Probes are answered however many calls others open: they are asked for just then.
	limited := selector.MatchFunc(func(_ context.Context, c interceptors.CallMeta) bool {
		return c.Service != healthpb.Health_ServiceDesc.ServiceName
	})
	logger := slogged(cfg.Logger)
	options := []grpc.ServerOption{
		grpc.ChainUnaryInterceptor(
			metrics.UnaryServerInterceptor(),
			selector.UnaryServerInterceptor(logging.UnaryServerInterceptor(logger, logged, logging.WithLevels(quietly)), notProbe),
			recovery.UnaryServerInterceptor(recovered),
			selector.UnaryServerInterceptor(ratelimit.UnaryServerInterceptor(limiter), limited),
			validating.UnaryServerInterceptor(validator),
		),
		grpc.ChainStreamInterceptor(
			metrics.StreamServerInterceptor(),
			selector.StreamServerInterceptor(logging.StreamServerInterceptor(logger, logged), notProbe),
			recovery.StreamServerInterceptor(recovered),
			selector.StreamServerInterceptor(ratelimit.StreamServerInterceptor(limiter), limited),
			validateFirst(validator),
		),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: 10 * time.Second, Timeout: 5 * time.Second}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 5 * time.Second, PermitWithoutStream: true}),
		grpc.MaxConcurrentStreams(cfg.MaxStreams), grpc.MaxRecvMsgSize(cfg.MaxMessage), grpc.MaxHeaderListSize(8 << 10),
		grpc.ConnectionTimeout(5 * time.Second),
	}
	if cfg.CallWindow > 0 {
		options = append(options,
			grpc.InitialWindowSize(int32(cfg.CallWindow)), grpc.InitialConnWindowSize(int32(max(cfg.CallWindow, leastConnWindow))))
	}
	if cfg.Codec != nil {
		options = append(options, grpc.ForceServerCodecV2(cfg.Codec))
	}
	if cfg.Credentials != nil {
		options = append(options, grpc.Creds(cfg.Credentials))
	}
	g := &GRPC{server: grpc.NewServer(options...), health: health.NewServer(), grace: cfg.Grace}
	healthpb.RegisterHealthServer(g.server, g.health)
	register(g.server)
	reflection.Register(g.server)
	metrics.InitializeMetrics(g.server)
	g.SetServing(false)
	return g, nil
}

// SetServing sets what health checks are told, for the server as a whole and for each of its services.
func (g *GRPC) SetServing(serving bool) {
	state := healthpb.HealthCheckResponse_NOT_SERVING
	if serving {
		state = healthpb.HealthCheckResponse_SERVING
	}
	g.health.SetServingStatus("", state)
	for name := range g.server.GetServiceInfo() {
		g.health.SetServingStatus(name, state)
	}
}

// Serve answers calls on l until ctx ends, then refuses new ones, lets open ones finish for at most the configured grace and cuts off the others. It returns nil after an
// orderly end.
func (g *GRPC) Serve(ctx context.Context, l net.Listener) error {
	failed := make(chan error, 1)
	go func() { failed <- g.server.Serve(l) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	g.health.Shutdown()
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		g.server.GracefulStop()
	}()
	timer := time.NewTimer(g.grace)
	defer timer.Stop()
	select {
	case <-drained:
	case <-timer.C:
		g.server.Stop()
		<-drained
	}
	if err := <-failed; err != nil && !errors.Is(err, grpc.ErrServerStopped) {
		return err
	}
	return nil
}

// opening limits how often calls may be opened.
type opening struct{ limiter *rate.Limiter }

func (o opening) Limit(context.Context) error {
	if !o.limiter.Allow() {
		return errors.New("too many calls are being opened: wait a second and try again")
	}
	return nil
}

// validateFirst checks the first message of each call and hands the others through.
func validateFirst(v protovalidate.Validator) grpc.StreamServerInterceptor {
	every := validating.StreamServerInterceptor(v)
	return func(srv any, raw grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
		return every(srv, raw, info, func(srv any, checked grpc.ServerStream) error {
			return handler(srv, &firstChecked{ServerStream: raw, first: checked})
		})
	}
}

type firstChecked struct {
	grpc.ServerStream
	first grpc.ServerStream // nil once the first message was received
}

func (s *firstChecked) RecvMsg(m any) error {
	if s.first == nil {
		return s.ServerStream.RecvMsg(m)
	}
	defer func() { s.first = nil }()
	return s.first.RecvMsg(m)
}

// quietly logs a unary call that went well for debugging only: edges ask their routers for the models every second.
func quietly(code codes.Code) logging.Level {
	if code == codes.OK {
		return logging.LevelDebug
	}
	return logging.DefaultServerCodeToLevel(code)
}

func slogged(l *slog.Logger) logging.Logger {
	return logging.LoggerFunc(func(ctx context.Context, level logging.Level, message string, fields ...any) {
		l.Log(ctx, slog.Level(level), message, fields...) //nolint:sloglint // The middleware's own constant texts.
	})
}
