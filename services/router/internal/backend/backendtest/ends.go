package backendtest

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/services/router/internal/backend"
)

func endedContext(t *testing.T, h Harness) {
	t.Helper()
	model := h.model(t)
	frames := h.frames(t, 1, 3)
	late, cancel := context.WithDeadline(t.Context(), time.Unix(0, 0))
	defer cancel()
	if _, err := model.Infer(late, 0, frames); backend.CodeOf(err) != media.BackendTimeout {
		t.Errorf("Infer after the deadline = %v, want %s", err, media.BackendTimeout)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := model.Infer(gone, 0, frames); backend.CodeOf(err) != media.BackendUnavailable {
		t.Errorf("Infer given up = %v, want %s", err, media.BackendUnavailable)
	}
	mustInfer(t, model, frames)
}

// contextEndsDuringInference cannot know how far a batch is when its time runs out, so it tries many lengths: whatever happens, the answer is
// right or is BACKEND_TIMEOUT, and the next batch is not touched.
func contextEndsDuringInference(t *testing.T, h Harness) {
	t.Helper()
	model := h.model(t)
	frames := h.frames(t, h.Config.MaxBatch, 4)
	want := mustInfer(t, model, frames)
	for limit := 100 * time.Microsecond; limit < 100*time.Millisecond; limit *= 2 {
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		got, err := infer(ctx, model, frames)
		cancel()
		if err != nil && backend.CodeOf(err) != media.BackendTimeout {
			t.Errorf("Infer within %v = %v, want %s", limit, err, media.BackendTimeout)
		}
		compare(t, got, want)
	}
	compare(t, mustInfer(t, model, frames), want)
}

// cancelledDuringInference gives a batch up at many moments: the answer is right or there is none, and the next batch is not touched.
func cancelledDuringInference(t *testing.T, h Harness) {
	t.Helper()
	model := h.model(t)
	frames := h.frames(t, h.Config.MaxBatch, 6)
	want := mustInfer(t, model, frames)
	for after := 50 * time.Microsecond; after < 100*time.Millisecond; after *= 2 {
		ctx, cancel := context.WithCancel(t.Context())
		timer := time.AfterFunc(after, cancel)
		got, err := infer(ctx, model, frames)
		timer.Stop()
		cancel()
		if err != nil && (backend.CodeOf(err) != media.BackendUnavailable || !errors.Is(err, context.Canceled)) {
			t.Errorf("Infer given up after %v = %v, want %s", after, err, media.BackendUnavailable)
		}
		compare(t, got, want)
	}
	compare(t, mustInfer(t, model, frames), want)
}

// cancelledBesideOthers gives every other batch up while the rest go on beside it.
func cancelledBesideOthers(t *testing.T, h Harness) {
	t.Helper()
	model := h.model(t)
	ctx := patient(t)
	var all sync.WaitGroup
	for caller := range 4 {
		frames := h.frames(t, 1+caller%h.Config.MaxBatch, uint64(20+caller))
		want := mustInfer(t, model, frames)
		all.Go(func() {
			for round := range 6 {
				limited, cancel := context.WithCancel(ctx)
				stop := func() bool { return true }
				given := round%2 == 0
				if given {
					stop = time.AfterFunc(time.Duration(1+caller)*time.Millisecond, cancel).Stop
				}
				got, err := infer(limited, model, frames)
				stop()
				cancel()
				if err != nil && (!given || backend.CodeOf(err) != media.BackendUnavailable) {
					t.Errorf("caller %d: %v", caller, err)
				}
				compare(t, got, want)
			}
		})
	}
	all.Wait()
}

// compare expects the answers of a batch, or none.
func compare(t *testing.T, got, want [][]byte) {
	t.Helper()
	for i := range got {
		if !bytes.Equal(got[i], want[i]) {
			t.Errorf("frame %d got another answer", i)
		}
	}
}

// closesWhileInUse closes a driver under its callers: what is in progress ends well, what comes later does not begin.
func closesWhileInUse(t *testing.T, h Harness) {
	t.Helper()
	driver := h.driver(t)
	model, err := backend.New(h.Config, driver)
	if err != nil {
		t.Fatal(err)
	}
	if err := model.Check(patient(t)); err != nil {
		t.Fatalf("Check: %v", err)
	}
	const callers = 4
	ctx := patient(t)
	var all, begun sync.WaitGroup
	begun.Add(callers)
	for caller := range callers {
		frames := h.frames(t, 1, uint64(30+caller))
		want := mustInfer(t, model, frames)
		all.Go(func() {
			var once sync.Once
			defer once.Do(begun.Done)
			for {
				got, err := infer(ctx, model, frames)
				if err != nil {
					if backend.CodeOf(err) != media.BackendUnavailable || ctx.Err() != nil {
						t.Errorf("caller %d of a driver that was closed: %v, want %s", caller, err, media.BackendUnavailable)
					}
					return
				}
				compare(t, got, want)
				once.Do(begun.Done)
			}
		})
	}
	begun.Wait()
	if err := driver.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	all.Wait()
}

func closes(t *testing.T, h Harness) {
	t.Helper()
	driver := h.driver(t)
	request := h.request(t, driver)
	for range 2 {
		if err := driver.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	}
	if err := driver.Ready(patient(t)); backend.CodeOf(err) != media.BackendUnavailable {
		t.Errorf("Ready after Close = %v, want %s", err, media.BackendUnavailable)
	}
	if _, err := driver.Infer(patient(t), request); backend.CodeOf(err) != media.BackendUnavailable {
		t.Errorf("Infer after Close = %v, want %s", err, media.BackendUnavailable)
	}
}
