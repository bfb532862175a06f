package session

import (
	"context"

	"github.com/pion/webrtc/v4"

	"github.com/sluice-dev/sluice/pkg/media"
)

// Request asks for a session.
type Request struct {
	// Offer is the client's SDP offer (RFC 8829), at most 64 KiB.
	Offer string
	// Models are the names wanted; empty means all models that fit a stream.
	Models []string
	// Trickle, when not nil, is handed the edge's own candidates as they are found, and nil once there are no more; the answer then does
	// not wait for them. It is called from one goroutine of the session, never after Close returned, and must not block. When it is nil the
	// answer holds all candidates.
	Trickle func(*webrtc.ICECandidateInit)
}

// Manager holds the sessions of an edge. It is safe for concurrent use.
type Manager struct{}

// Create starts a session and returns it with the SDP answer. ctx bounds only the making of the answer. Errors are *Refusal.
func (m *Manager) Create(ctx context.Context, request Request) (*Session, string, error) {
	panic("skeleton")
}

// ByID finds a session by its public id, also one that ended less than a minute ago.
func (m *Manager) ByID(id string) (*Session, bool) { panic("skeleton") }

// BySecret finds a live session by its secret; the comparison does not tell how much of a wrong secret was right.
func (m *Manager) BySecret(secret string) (*Session, bool) { panic("skeleton") }

// List gives the live sessions, oldest first.
func (m *Manager) List() []*Session { panic("skeleton") }

// Totals gives the counts by model of all sessions since the start, live and ended.
func (m *Manager) Totals() []media.ModelCounts { panic("skeleton") }

// Draining tells whether Drain was called; new sessions are refused from then on.
func (m *Manager) Draining() bool { panic("skeleton") }

// Drain refuses new sessions, tells every client to reconnect elsewhere, and returns when all sessions have ended or ctx has: then the
// remaining ones are closed.
func (m *Manager) Drain(ctx context.Context) { panic("skeleton") }

// Close ends all sessions at once and joins everything that the manager started.
func (m *Manager) Close() { panic("skeleton") }
