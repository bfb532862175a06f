// Package inspect is the edge's InspectService: what an operator asks a running edge with grpcurl.
package inspect

import (
	"time"

	"google.golang.org/grpc"

	"github.com/sluice-dev/sluice/pkg/media"
)

// Source is what the service looks at. It must be safe for concurrent use.
type Source interface {
	// Sessions gives the sessions that are alive.
	Sessions() []Session
	// Totals gives the counts by model since the start, of ended sessions too.
	Totals() []media.ModelCounts
	// Models gives the models that can be asked for, and their inputs.
	Models() ([]media.Model, []media.Input)
	// Explain gives one unit's life; false when the session is unknown or the unit no longer kept.
	Explain(session, stream string, sequence uint32) (Unit, bool)
}

// Session is one client's connection.
type Session struct {
	// ID is the public id.
	ID    string
	Start time.Time
	// State is connecting, connected, disconnected or draining.
	State   string
	Streams []media.StreamCounts
}

// Unit is what is known of one unit.
type Unit struct {
	// Arrival is when its first packet arrived.
	Arrival time.Time
	// NotSampled tells that it was due for no model.
	NotSampled bool
	Outcomes   []media.Outcome
	// InFlight names the models without an outcome yet.
	InFlight []string
}

// Feed hands outcomes, as they become final, to those who watch. It is safe for concurrent use and costs next to nothing while nobody
// does. The zero value is not usable; see NewFeed.
type Feed struct{}

// NewFeed makes a feed.
func NewFeed() *Feed { return &Feed{} }

// Publish hands an outcome on and never blocks. The outcome's Result must not be changed afterwards.
func (f *Feed) Publish(o media.Outcome) {}

// Close ends all watching. Closing twice is harmless.
func (f *Feed) Close() {}

// Register adds the service to a gRPC server.
func Register(r grpc.ServiceRegistrar, source Source, feed *Feed) {}
