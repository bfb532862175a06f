package main

import (
	"log/slog"
	"os"
	"sync"
	"testing"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/pkg/tensor"
	"github.com/sluice-dev/sluice/services/router/internal/backend"
	"github.com/sluice-dev/sluice/services/router/internal/backend/backendtest"
	"github.com/sluice-dev/sluice/services/router/internal/config"
)

// TestAbandonLeavesOnlyWhatHangs takes two models out, of which one has a batch that never came back: the other is closed.
func TestAbandonLeavesOnlyWhatHangs(t *testing.T) {
	t.Parallel()
	m := &models{logger: slog.New(slog.DiscardHandler)}
	drivers := map[string]*backendtest.Fake{}
	for _, name := range []string{"hangs", "works"} {
		c := backend.Config{Name: name, Input: tensor.Raw{Datatype: media.FP32, Shape: []int{1}}, MaxBatch: 1}
		drivers[name] = backendtest.NewFake(name, c)
		model, err := backend.New(c, drivers[name])
		if err != nil {
			t.Fatal(err)
		}
		m.all = append(m.all, &opened{config: config.Model{Name: name}, backend: model})
	}
	m.replace(nil)
	m.abandon([]string{"hangs"})
	if err := m.release(); err != nil {
		t.Fatal(err)
	}
	for name, closed := range map[string]bool{"hangs": false, "works": true} {
		if got := drivers[name].Ready(t.Context()) != nil; got != closed {
			t.Errorf("%s: closed %t, want %t", name, got, closed)
		}
	}
}

// TestInstancesOfEmbeddedModels opens a session for each instance and runs batches on all of them at once.
func TestInstancesOfEmbeddedModels(t *testing.T) {
	text, err := os.ReadFile(shipped(t, "threads: 1, instances: 1}", "threads: 1, instances: 2}"))
	if err != nil {
		t.Fatal(err)
	}
	c := loaded(t, string(text))
	c.Models = c.Models[:1]
	m, err := openModels(c, identities(t), slog.New(slog.DiscardHandler))
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
