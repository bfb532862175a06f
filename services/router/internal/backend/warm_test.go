package backend_test

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/pkg/tensor"
	"github.com/sluice-dev/sluice/services/router/internal/backend"
	"github.com/sluice-dev/sluice/services/router/internal/backend/backendtest"
)

// TestWarmUp checks models of several speeds: every size class runs once, and what it takes is measured afterwards, as far as there is time.
func TestWarmUp(t *testing.T) {
	t.Parallel()
	const first = 300 * time.Millisecond // more, of the first batch of a size
	for _, c := range []struct {
		name    string
		most    int
		each    time.Duration
		batches int
		want    []backend.Timing
	}{
		{"only singles", 1, ms, 4, []backend.Timing{{1, ms}}},
		{"a power of two", 8, ms, 16, []backend.Timing{{1, ms}, {2, 2 * ms}, {4, 4 * ms}, {8, 8 * ms}}},
		{"no power of two", 6, ms, 16, []backend.Timing{{1, ms}, {2, 2 * ms}, {4, 4 * ms}, {6, 6 * ms}}},
		{"slow", 8, 300 * ms, 4 + 5, []backend.Timing{{1, 300 * ms}, {2, 600 * ms}}},
		{"too slow to measure more than once", 8, 2000 * ms, 4 + 1, []backend.Timing{{1, 2000 * ms}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				configured := config()
				configured.MaxBatch = c.most
				fake := backendtest.NewFake("a", configured)
				var sizes []int
				fake.Hook = func(_ context.Context, input media.RawTensor, _ *backend.Output) error {
					n := input.Shape[0]
					took := time.Duration(n) * c.each
					if !slices.Contains(sizes, n) {
						took += first
					}
					sizes = append(sizes, n)
					<-time.After(took)
					return nil
				}
				m := newModel(t, configured, fake)
				if got := m.Profile(0); got != nil {
					t.Errorf("a profile before the first check: %v", got)
				}
				if err := m.Check(t.Context()); err != nil {
					t.Fatal(err)
				}
				if got := m.Profile(0); !slices.Equal(got, c.want) || len(sizes) != c.batches {
					t.Errorf("profile %v after batches of %v, want %v after %d", got, sizes, c.want, c.batches)
				}
			})
		})
	}
}

const ms = time.Millisecond

// TestWarmUpThatNeverEnds is cut off: the target is not ready, and is asked again.
func TestWarmUpThatNeverEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		fake := backendtest.NewFake("a", config())
		fake.Hook = func(ctx context.Context, _ media.RawTensor, _ *backend.Output) error {
			<-ctx.Done()
			return ctx.Err()
		}
		m := newModel(t, config(), fake)
		begun := time.Now()
		if err := m.Check(t.Context()); backend.CodeOf(err) != media.BackendTimeout || time.Since(begun) != time.Minute {
			t.Errorf("Check = %v after %v, want %s after a minute", err, time.Since(begun), media.BackendTimeout)
		}
		fake.Hook = nil
		if err := m.Check(t.Context()); err != nil || m.Ready(0) != nil || m.Profile(0) == nil {
			t.Errorf("a target that came to: %v, %v, profile %v", err, m.Ready(0), m.Profile(0))
		}
	})
}

// TestNothingToWarmUpWith leaves a model of texts alone: no frame is known that it takes.
func TestNothingToWarmUpWith(t *testing.T) {
	t.Parallel()
	configured := config()
	configured.Input = tensor.Text{Limit: 64}
	fake := backendtest.NewFake("a", configured)
	m := newModel(t, configured, fake)
	if err := m.Check(t.Context()); err != nil || m.Profile(0) != nil {
		t.Errorf("Check = %v, profile %v", err, m.Profile(0))
	}
}
