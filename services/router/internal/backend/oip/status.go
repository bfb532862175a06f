package oip

import (
	"context"
	"io"
	"strings"
	"sync/atomic"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/stats"
	"google.golang.org/grpc/status"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/services/router/internal/backend"
)

// A failed call is either the server's answer, which came in a proper trailer, or gRPC's own finding that what came is no answer. The status
// alone does not tell which, so a stats handler notes whether a trailer was seen.

type trailerKey struct{}

// watchTrailer prepares a call; the flag is set when the server's trailer arrives.
func watchTrailer(ctx context.Context) (context.Context, *atomic.Bool) {
	seen := new(atomic.Bool)
	return context.WithValue(ctx, trailerKey{}, seen), seen
}

type trailerWatch struct{}

func (trailerWatch) HandleRPC(ctx context.Context, event stats.RPCStats) {
	if _, ok := event.(*stats.InTrailer); !ok {
		return
	}
	if seen, ok := ctx.Value(trailerKey{}).(*atomic.Bool); ok {
		seen.Store(true)
	}
}

func (trailerWatch) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context { return ctx }

func (trailerWatch) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }

func (trailerWatch) HandleConn(context.Context, stats.ConnStats) {}

// failure makes an error of a failed call. The status's text goes into the log only.
func failure(ctx context.Context, err error, trailer *atomic.Bool) *backend.Error {
	s := status.Convert(err)
	switch {
	case ctx.Err() != nil:
		return backend.ContextError(ctx)
	case s.Code() == codes.Unavailable:
		return backend.Fail(media.BackendUnavailable, "the target cannot be reached or takes no calls", s.Message())
	case s.Code() == codes.DeadlineExceeded:
		return backend.Fail(media.BackendTimeout, "the target gave up in time", s.Message())
	case !trailer.Load() || brokenReply(s):
		return backend.Fail(media.BackendProtocol, "the target's answer is not gRPC's, or too large", s.Message())
	}
	return backend.Fail(media.BackendRejected, "the target answers "+s.Code().String(), s.Message())
}

// brokenReply finds what gRPC itself says of a reply with a good trailer. A server that says so itself fools nobody but its operator.
func brokenReply(s *status.Status) bool {
	switch s.Code() {
	case codes.ResourceExhausted:
		return strings.HasPrefix(s.Message(), "grpc: received message")
	case codes.Internal:
		return strings.HasPrefix(s.Message(), "cardinality violation") || strings.HasPrefix(s.Message(), "grpc: ") || s.Message() == io.ErrUnexpectedEOF.Error()
	default:
		return false
	}
}
