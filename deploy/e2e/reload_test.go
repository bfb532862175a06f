//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluice-dev/sluice/deploy/e2e/stack"
)

// reloadable gives a router configuration of the face detector under several names, each with the width of its input and its rate.
func reloadable(models ...string) string {
	text := "onnx: {library: \"@CACHE@/onnxruntime/libonnxruntime.so\"}\nmodels:\n"
	for _, m := range models {
		var name string
		var width, rate int
		if _, err := fmt.Sscan(m, &name, &width, &rate); err != nil {
			panic(err)
		}
		text += fmt.Sprintf(`  - name: %s
    backend: {onnx: {path: "@CACHE@/models/faces.onnx"}}
    input: {width: %d, height: 128, fit: letterbox, color: RGB, layout: NCHW, dtype: FP32}
    output: {decoder: centerface}
    batch: {max: 4}
    rate: %d
    deadline: 2s
`, name, width, rate)
	}
	return text
}

// TestReloadUnderTraffic has three sessions stream while SIGHUP adds, changes and removes models: no call to the router ends, every session has results from what is there, and
// all counts balance.
func TestReloadUnderTraffic(t *testing.T) {
	beside(t, 0.5)
	before := reloadable("stays 224 4", "goes 224 4", "changes 224 4")
	s := stack.Start(t, stack.Options{Router: before})
	type run struct {
		p     published
		lines []outcomeLine
	}
	done := make(chan run, 1)
	go func() {
		p, lines := publish(t, "", s.HTTP, 25*time.Second, stack.Clip(t, "faces-720p30.ivf"), "--streams", "3")
		done <- run{p, lines}
	}()
	results := func(model string, n float64) {
		t.Helper()
		from := s.Metric(t, s.RouterAdmin, "sluice_router_outcomes_total", "model="+model, "kind=result")
		stack.Eventually(t, 20*time.Second, fmt.Sprintf("%g more results of %s", n, model), func() error {
			if now := s.Metric(t, s.RouterAdmin, "sluice_router_outcomes_total", "model="+model, "kind=result"); now < from+n {
				return fmt.Errorf("%g", now-from)
			}
			return nil
		})
	}
	for _, model := range []string{"stays", "goes", "changes"} {
		results(model, 9)
	}
	s.Reload(t, reloadable("stays 224 4", "changes 160 5", "comes 160 4"), "applied", 1)
	for _, model := range []string{"stays", "changes", "comes"} {
		results(model, 9)
	}
	stack.Eventually(t, 5*time.Second, "the edge lists the new models", func() error {
		if names := listed(t, s.HTTP); !slices.Equal(names, []string{"changes", "comes", "stays"}) {
			return fmt.Errorf("%v", names)
		}
		return nil
	})
	s.Reload(t, "models: none of the kind", "refused", 1)
	s.Reload(t, strings.Replace(before, "layout: NCHW", "layout: NHWC", 1), "refused", 2)
	for _, model := range []string{"stays", "changes", "comes"} {
		results(model, 6)
	}
	s.Reload(t, before, "applied", 2)
	for _, model := range []string{"stays", "goes", "changes"} {
		results(model, 6)
	}

	r := <-done
	for i, stream := range r.p.Streams {
		ended := 0
		for _, c := range stream.Summary.Streams {
			if c.Received != c.NotDue+c.Accepted {
				t.Errorf("session %d: received %d ≠ not due %d + accepted %d", i, c.Received, c.NotDue, c.Accepted)
			}
			for _, m := range c.Models { // of which not all were there for all of the units
				if n := m.Results + sum(m.Drops) + sum(m.Errors); m.Accepted != n || m.InFlight != 0 {
					t.Errorf("session %d, model %s: accepted %d ≠ ended %d (in flight %d)", i, m.Model, m.Accepted, n, m.InFlight)
				}
				ended += m.Accepted
			}
		}
		if stream.Failure != "" || stream.Outcomes+stream.Skipped != ended || stream.Duplicates != 0 {
			t.Errorf("session %d: %d outcomes received, %d skipped, %d twice, %d finalised; %s", i, stream.Outcomes, stream.Skipped, stream.Duplicates, ended, stream.Failure)
		}
		t.Logf("session %d: %d results, drops %v, errors %v", i, stream.Results, stream.Drops, stream.Errors)
		if stream.Errors["INTERNAL"]+stream.Errors["ROUTER_LOST"]+stream.Errors["BACKEND_UNAVAILABLE"]+stream.Errors["BACKEND_PROTOCOL"]+stream.Drops["NO_ROUTER"] > 0 {
			t.Errorf("session %d: errors %v, drops %v", i, stream.Errors, stream.Drops)
		}
		seen := map[string]bool{}
		for _, l := range r.lines {
			if l.Publisher == i && l.Outcome.Result != nil {
				seen[l.Outcome.Model] = true
			}
		}
		if len(seen) != 4 {
			t.Errorf("session %d has results of %v, want all four models", i, seen)
		}
	}
	if lost := s.Metric(t, s.EdgeAdmin, "sluice_edge_uplink_calls_lost_total"); lost != 0 {
		t.Errorf("%g calls to the router were lost", lost)
	}
	accepted, outcomes := s.Metric(t, s.RouterAdmin, "sluice_router_accepted_total"), s.Metric(t, s.RouterAdmin, "sluice_router_outcomes_total")
	if inFlight := s.Metric(t, s.RouterAdmin, "sluice_router_in_flight"); accepted != outcomes || inFlight != 0 {
		t.Errorf("the router accepted %g, ended %g, and %g are in flight", accepted, outcomes, inFlight)
	}
}

// listed gives the names of the models that an edge offers.
func listed(t *testing.T, edge string) (names []string) {
	t.Helper()
	response, err := http.Get(edge + "/models")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	var list struct{ Models []struct{ Name string } }
	if err := json.Unmarshal(body, &list); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	for _, m := range list.Models {
		names = append(names, m.Name)
	}
	return names
}
