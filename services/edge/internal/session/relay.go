package session

import (
	"context"
	"log/slog"
	"time"

	"github.com/sluice-dev/sluice/services/edge/internal/downlink"
	"github.com/sluice-dev/sluice/services/edge/internal/peer"
)

// writer is where a relay's messages go; *peer.Channel is one.
type writer interface {
	WriteText(message []byte, deadline time.Time) error
	Flush(ctx context.Context)
}

// relay sends a session's messages down one data channel, until the sink or ctx ends. While the client takes nothing its outcomes go stale, so
// that what comes next is the newest.
type relay struct {
	sink   *downlink.Sink
	to     writer
	name   string // of the channel, for people
	logger *slog.Logger
}

// patience is how long one attempt to write waits. Something is tried again as long as the client is there, but nothing that is stale by then.
const patience = 250 * time.Millisecond

func (r *relay) run(ctx context.Context) {
	defer r.sink.Close()
	for {
		m, err := r.sink.Next(ctx)
		if err != nil {
			r.to.Flush(ctx) // the connection may be closed next, with what it has not sent
			return
		}
		switch err := r.to.WriteText(m.JSON, time.Now().Add(patience)); {
		case err == nil:
			m.Delivered(r.name)
		case ctx.Err() != nil:
			return
		case peer.IsTimeout(err):
			r.sink.Undelivered(m)
		default: // too long for this client, or the channel is closed and its reader will say so
			r.logger.Debug("message not sent", slog.String("kind", string(m.Kind)), slog.String("error", err.Error()))
		}
	}
}
