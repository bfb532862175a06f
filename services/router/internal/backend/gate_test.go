package backend

import (
	"errors"
	"sync/atomic"
	"testing"

	"github.com/sluice-dev/sluice/pkg/media"
)

// TestGate closes while a call is inside: Close waits for it, nobody gets in any more, and a second Close frees nothing.
func TestGate(t *testing.T) {
	t.Parallel()
	var g Gate
	if err := g.Enter(); err != nil {
		t.Fatal(err)
	}
	var left atomic.Bool
	freed, broken := 0, errors.New("broken")
	closing, closed := make(chan struct{}), make(chan error, 1)
	go func() {
		close(closing)
		closed <- g.Close(func() error {
			if freed++; !left.Load() {
				t.Error("Close did not wait for the call inside")
			}
			return broken
		})
	}()
	<-closing
	left.Store(true)
	g.Leave()
	if err := <-closed; !errors.Is(err, broken) || freed != 1 {
		t.Errorf("Close = %v, freed %d times", err, freed)
	}
	if err := g.Enter(); CodeOf(err) != media.BackendUnavailable {
		t.Errorf("Enter = %v once it is closed", err)
	}
	if err := g.Close(func() error { freed++; return nil }); err != nil || freed != 1 {
		t.Errorf("a second Close = %v, freed %d times", err, freed)
	}
}
