package dispatch

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluice-dev/sluice/pkg/batch"
	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/services/router/internal/backend"
	"github.com/sluice-dev/sluice/services/router/internal/reply"
)

// TestNotAllIsGivenUpAtOnce finds the batches of both instances overdue in one step, as after a stall of the router's own: one of them is left alone.
func TestNotAllIsGivenUpAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		cfg := modelConfig("faces", &runner{more: 1, run: hang(release)})
		cfg.MaxBatch = 1
		b := newBed(t, cfg)
		for _, id := range []string{"a", "b"} {
			b.submit(b.session(id), "camera", 1, "", time.Second, "faces")
			synctest.Wait()
		}
		m := b.now().models[0]
		m.mu.Lock()
		flights := [2]int{len(m.instances[0].flights), len(m.instances[1].flights)}
		if flights != [2]int{1, 1} {
			t.Errorf("%v batches in flight, want one on each instance", flights)
		} else {
			m.giveUp([]batch.Overdue{{Instance: 0}, {Instance: 1}})
			if one, other := m.instances[0].flights[0].givenUp, m.instances[1].flights[0].givenUp; !one || other {
				t.Errorf("given up: %t and %t, want the first only", one, other)
			}
		}
		m.mu.Unlock()
		close(release)
		if err := b.stop(); err != nil {
			t.Error(err)
		}
	})
}

// TestNobodyIsSuspectedAfterTheEnd forgets a stream while the model has its bad frame: nothing of it is kept.
func TestNobodyIsSuspectedAfterTheEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, modelConfig("faces", &runner{run: func(ctx context.Context, frames []backend.Frame) []reply.Answer {
			echo(20*ms)(ctx, frames)
			return reply.All(len(frames), media.BackendRejected)
		}}))
		s := b.session("a")
		b.submit(s, "camera", 1, "", time.Second, "faces")
		advance(10 * ms)
		b.Forget(s, "camera")
		advance(20 * ms)
		expect(t, s, wants{1, "BACKEND_REJECTED", 20})
		if m := b.now().models[0]; len(m.suspicions) != 0 {
			t.Errorf("%d streams are suspected", len(m.suspicions))
		}
		if err := b.stop(); err != nil {
			t.Error(err)
		}
	})
}
