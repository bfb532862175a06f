package backendtest

import (
	"bytes"
	"context"
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
		for i := range got {
			if !bytes.Equal(got[i], want[i]) {
				t.Errorf("within %v frame %d got another answer", limit, i)
			}
		}
	}
	for i, got := range mustInfer(t, model, frames) {
		if !bytes.Equal(got, want[i]) {
			t.Errorf("frame %d got another answer after batches that were given up", i)
		}
	}
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
