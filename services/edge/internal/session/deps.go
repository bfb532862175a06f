package session

import (
	"context"
	"errors"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/pkg/trace"
	"github.com/sluice-dev/sluice/services/edge/internal/decoder"
	"github.com/sluice-dev/sluice/services/edge/internal/peer"
	"github.com/sluice-dev/sluice/services/edge/internal/uplink"
)

// Limits are what one edge and one session may use. All are required.
type Limits struct {
	// Sessions that may live at once.
	Sessions int
	// Bitrate a session may send, in bits a second; what exceeds it is RATE_LIMITED.
	Bitrate int64
	// Message is the size of the largest message of a data channel in bytes, in chunks or whole.
	Message int
	// Pixels of the largest picture that goes to a model as it came; the decoder has the same limit for what it decodes.
	Pixels int64
}

// Decoder turns units into payloads; see decoder.Decoder. It is safe for concurrent use.
type Decoder interface {
	// Start makes ready what the first Decode would otherwise have to wait for.
	Start(ctx context.Context) error
	// Decode takes a stream's units in order and gives the pictures that came of them. Errors are *decoder.Error.
	Decode(ctx context.Context, r decoder.Request) ([]decoder.Picture, error)
	// DecodeSound takes a step of a stream's sound and appends its samples to dst. Errors are *decoder.Error.
	DecodeSound(ctx context.Context, r decoder.SoundRequest, dst []int16) ([]int16, error)
	// Forget gives up what is kept for a stream that has ended.
	Forget(stream uint32)
	Close() error
}

// Uplink carries frames to a router; see uplink.Uplink. It is safe for concurrent use.
type Uplink interface {
	Offer(f media.Frame)
	Ready() bool
	Forget(stream string)
	Close()
}

// Deps are what sessions are made of. All fields but the marked ones are required.
type Deps struct {
	// Edge is the edge's name among several, with which the ids of its sessions begin; empty for an edge alone.
	Edge     string
	Limits   Limits
	Endpoint *peer.Endpoint
	// NewDecoder makes the decoder of one session.
	NewDecoder func() (Decoder, error)
	// OpenUplink makes the uplink of one session, given the public id, the models wanted (none means all) and what the session is due of them.
	OpenUplink func(session string, models []string, share media.Share, h uplink.Handler) Uplink
	// Catalog tells which models there are.
	Catalog func() uplink.Catalog
	// Watch, when not nil, is told every final outcome of every session. It must not block.
	Watch  func(media.Outcome)
	Logger *slog.Logger
	// Tracer traces units; nil traces none.
	Tracer *trace.Tracer
	// Registry receives the metrics; nil means none.
	Registry prometheus.Registerer
}

func (d *Deps) validate() error {
	switch {
	case d.Limits.Sessions <= 0:
		return errors.New("limits.sessions must be positive")
	case d.Limits.Bitrate <= 0:
		return errors.New("limits.bitrate must be positive")
	case d.Limits.Message <= 0:
		return errors.New("limits.message must be positive")
	case d.Limits.Pixels <= 0:
		return errors.New("limits.pixels must be positive")
	case d.Endpoint == nil || d.NewDecoder == nil || d.OpenUplink == nil || d.Catalog == nil || d.Logger == nil:
		return errors.New("session: a dependency is missing")
	default:
		return nil
	}
}
