package main

import (
	"log/slog"
	"os"
	"sync"
	"testing"

	"github.com/sluice-dev/sluice/services/router/internal/backend/backendtest"
)

// TestInstancesOfEmbeddedModels opens a session for each instance and runs batches on all of them at once.
func TestInstancesOfEmbeddedModels(t *testing.T) {
	text, err := os.ReadFile(shipped(t, "threads: 1, instances: 1}", "threads: 1, instances: 2}"))
	if err != nil {
		t.Fatal(err)
	}
	c := loaded(t, string(text))
	c.Models = c.Models[:1]
	m, err := openModels(c, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := m.close(); err != nil {
			t.Error(err)
		}
	}()
	if err := m.check(t.Context(), m.all); err != nil {
		t.Fatal(err)
	}
	runner := m.all[0].model.Runner
	if runner.Instances() != 2 {
		t.Fatalf("%d instances, want 2", runner.Instances())
	}
	payload, placement := backendtest.Astronaut(t, c.Models[0].Input.Form().Picture)
	var running sync.WaitGroup
	for i := range runner.Instances() {
		running.Go(func() {
			if err := runner.Ready(i); err != nil {
				t.Error(err)
			}
			frames := backendtest.Frames(payload)
			frames[0].Placement = placement
			answer := runner.Run(t.Context(), i, frames)[0]
			if answer.Result == nil || len(answer.Result.Detections) != 1 {
				t.Errorf("instance %d: %+v, want a face", i, answer)
			}
		})
	}
	running.Wait()
}
