// Package session is the edge's one place that knows the order of its stages: packets of a peer through jitter, depacket, sample and
// decoder to the uplink, and outcomes through the ledger to the client.
package session

import (
	"context"
	"time"

	"github.com/pion/webrtc/v4"

	"github.com/sluice-dev/sluice/pkg/media"
)

// State is where a session stands; its text is what inspection shows.
type State string

// The states.
const (
	Connecting   State = "connecting"
	Connected    State = "connected"
	Disconnected State = "disconnected"
	Draining     State = "draining"
	Closed       State = "closed"
)

// Session is one client's connection. It is safe for concurrent use.
type Session struct{}

// ID is the public id: it opens results, not control.
func (s *Session) ID() string { panic("skeleton") }

// Secret is what controls the session: 128 random bits in base32, unrelated to the id. Never log it.
func (s *Session) Secret() string { panic("skeleton") }

// Started is when the session began.
func (s *Session) Started() time.Time { panic("skeleton") }

// State tells where the session stands.
func (s *Session) State() State { panic("skeleton") }

// Done is closed when the session has ended, its summary included.
func (s *Session) Done() <-chan struct{} { panic("skeleton") }

// AddCandidate takes one of the client's ICE candidates; an empty one means that no more will come. A candidate that the edge never
// talks to (link-local, multicast, a host name, one too many) is ignored without an error.
func (s *Session) AddCandidate(candidate webrtc.ICECandidateInit) error { panic("skeleton") }

// Renegotiate takes another offer of the same client, for new ICE credentials (an ICE restart) or more data, and returns the answer.
// After an error the session goes on as before. Errors are *Refusal.
func (s *Session) Renegotiate(ctx context.Context, offer string) (answer string, err error) {
	panic("skeleton")
}

// Close ends the session and returns when it has: counts final, summary sent, goroutines joined. The reason is for the log.
func (s *Session) Close(reason string) { panic("skeleton") }

// Counts gives the counts of each stream so far.
func (s *Session) Counts() []media.StreamCounts { panic("skeleton") }
