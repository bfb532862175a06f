package backend_test

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/services/router/internal/backend"
	"github.com/sluice-dev/sluice/services/router/internal/backend/backendtest"
)

// sluggish is a driver whose readiness check may hang.
type sluggish struct {
	backend.Driver
	hangs atomic.Bool
}

func (s *sluggish) Ready(ctx context.Context) error {
	if s.hangs.Load() {
		<-ctx.Done()
		return ctx.Err()
	}
	return s.Driver.Ready(ctx)
}

// TestHungCheck takes a target that does not answer for not ready, and for the same as before when it does again: it was not away.
func TestHungCheck(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		fake := backendtest.NewFake("a", config())
		driver := &sluggish{Driver: fake}
		m := newModel(t, config(), driver)
		if err := m.Check(t.Context()); err != nil {
			t.Fatal(err)
		}
		trials := fake.Batches()
		driver.hangs.Store(true)
		begun := time.Now()
		if err := m.Check(t.Context()); backend.CodeOf(err) != media.BackendTimeout || time.Since(begun) != 2*time.Second {
			t.Errorf("Check = %v after %v, want %s after 2s", err, time.Since(begun), media.BackendTimeout)
		}
		if _, err := m.Infer(t.Context(), 0, frames(1)); backend.CodeOf(err) != media.BackendUnavailable {
			t.Errorf("Infer = %v, want %s", err, media.BackendUnavailable)
		}
		driver.hangs.Store(false)
		if err := m.Check(t.Context()); err != nil || m.Ready(0) != nil || fake.Batches() != trials {
			t.Errorf("a target that came to: %v, %v, %d batches after %d; want no new trials", err, m.Ready(0), fake.Batches(), trials)
		}
	})
}

// TestModelIsReplaced puts another model in the place of the one that was agreed on, without a time in which there is none. Answers that do not fit have it
// described again.
func TestModelIsReplaced(t *testing.T) {
	t.Parallel()
	fits := func(d backend.Description) backend.Description {
		d.Outputs = append(slices.Clone(d.Outputs), media.TensorSpec{Name: "more", Datatype: media.FP32, Shape: []int{-1}})
		return d
	}
	differs := func(d backend.Description) backend.Description {
		d.Outputs = d.Outputs[1:]
		return d
	}
	for _, c := range []struct {
		name   string
		failed media.ErrorCode
		change func(backend.Description) backend.Description
		asked  bool // for new trials
		misfit bool
	}{
		{"by the same", media.BackendProtocol, func(d backend.Description) backend.Description { return d }, false, false},
		{"by one that fits as well", media.BackendProtocol, fits, true, false},
		{"by one that does not fit", media.BackendProtocol, differs, false, true},
		{"by one that refuses what the other took", media.BackendRejected, differs, false, true},
		{"by one that is slow, which is no reason to ask", media.BackendTimeout, differs, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			configured := config()
			configured.Outputs = []string{"checksum", "first"}
			fake := backendtest.NewFake("a", configured)
			m := newModel(t, configured, fake)
			if err := m.Check(t.Context()); err != nil {
				t.Fatal(err)
			}
			fake.Serves = c.change(fake.Serves)
			fake.Hook = func(context.Context, media.RawTensor, *backend.Output) error {
				return backend.Fail(c.failed, "as the test wants it", "")
			}
			if _, err := m.Infer(t.Context(), 0, frames(1)); backend.CodeOf(err) != c.failed {
				t.Fatalf("Infer = %v, want %s", err, c.failed)
			}
			fake.Hook = nil
			trials := fake.Batches()
			err := m.Check(t.Context())
			var mismatch *backend.Mismatch
			if errors.As(err, &mismatch) != c.misfit || !c.misfit && err != nil {
				t.Errorf("Check = %v, want a mismatch: %v", err, c.misfit)
			}
			if (fake.Batches() > trials) != c.asked {
				t.Errorf("%d trial batches, want some: %v", fake.Batches()-trials, c.asked)
			}
		})
	}
}

// TestOneTargetDoesNotHoldUpAnother has a target that comes back while another one hangs in its readiness check: it is found within a second or so.
func TestOneTargetDoesNotHoldUpAnother(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		hung, away := &sluggish{Driver: backendtest.NewFake("a", config())}, backendtest.NewFake("b", config())
		m := newModel(t, config(), hung, away)
		if err := m.Check(t.Context()); err != nil {
			t.Fatal(err)
		}
		away.Away.Store(true)
		ctx, cancel := context.WithCancel(t.Context())
		watched := make(chan struct{})
		go func() {
			defer close(watched)
			m.Watch(ctx)
		}()
		<-time.After(1500 * time.Millisecond)
		hung.hangs.Store(true)
		<-time.After(time.Second) // half a second within the hung one's check, which takes two
		away.Away.Store(false)
		<-time.After(time.Second)
		if err := m.Ready(1); err != nil {
			t.Errorf("Ready = %v", err)
		}
		cancel()
		<-watched
	})
}
