package backend

import (
	"sync"

	"github.com/sluice-dev/sluice/pkg/media"
)

// Gate lets a driver's calls in until it is closed, and has Close wait for those that are inside. Its zero value is open. It is safe for concurrent use.
type Gate struct {
	inside sync.RWMutex // held for reading by each call, and for writing by Close
	closed bool
}

// Enter begins a call; Leave ends it. It fails once the gate is closed.
func (g *Gate) Enter() error {
	g.inside.RLock()
	if g.closed {
		g.inside.RUnlock()
		return &Error{Code: media.BackendUnavailable, Reason: "the connection is closed"}
	}
	return nil
}

// Leave ends a call that Enter let in.
func (g *Gate) Leave() { g.inside.RUnlock() }

// Close lets nobody in any more, waits for the calls inside, and then calls free, which gives up what they used. A second call does nothing.
func (g *Gate) Close(free func() error) error {
	g.inside.Lock()
	defer g.inside.Unlock()
	if g.closed {
		return nil
	}
	g.closed = true
	return free()
}
