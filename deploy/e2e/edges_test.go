//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pion/webrtc/v4"

	"github.com/sluice-dev/sluice/deploy/e2e/client"
	"github.com/sluice-dev/sluice/deploy/e2e/stack"
)

const (
	// roamLimit is how long a stream may be without an outcome when its edge is killed or drains; roamGrace is added for a machine that has much else to do.
	roamLimit, roamGrace = 3 * time.Second, 2 * time.Second
	// roamers is how many streams the edges share.
	roamers = 6
)

// startEdges runs a router and two edges that know each other, edge-0 and edge-1.
func startEdges(t *testing.T) (pair [2]*stack.Stack) {
	t.Helper()
	var addresses [2]string
	for i := range addresses {
		addresses[i] = net.JoinHostPort("127.0.0.1", fmt.Sprint(stack.FreePort(t)))
	}
	for i := range pair {
		config := filepath.Join(t.TempDir(), "edge.yaml")
		text := fmt.Sprintf("cluster: {name: edge-%d, members: {edge-0: \"http://%s\", edge-1: \"http://%s\"}}\n", i, addresses[0], addresses[1])
		if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		// The last of the same flags wins.
		options := stack.Options{EdgeFlags: []string{"--config", config, "--http.listen", addresses[i], "--drain", "10s"}}
		if i > 0 {
			options.NoRouter = true
			options.EdgeFlags = append(options.EdgeFlags, "--router.target", "dns:///"+pair[0].RouterGRPC)
		}
		pair[i] = stack.Start(t, options)
		pair[i].HTTP = "http://" + addresses[i]
		edgeReady(t, pair[i])
	}
	return pair
}

func edgeReady(t *testing.T, s *stack.Stack) {
	t.Helper()
	stack.Eventually(t, time.Minute, "an edge is ready", func() error {
		response, err := http.Get("http://" + s.EdgeAdmin + "/readyz")
		if err != nil {
			return err
		}
		_ = response.Body.Close()
		if response.StatusCode != http.StatusOK {
			return errors.New(response.Status)
		}
		return nil
	})
}

// A client whose every request goes to the edge that does not have its session gets its results and ends it all the same.
func TestRequestsAtTheOtherEdge(t *testing.T) {
	pair := startEdges(t)
	pictures, err := client.ReadIVF(stack.Clip(t, "faces-720p30.ivf"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	web := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	c, err := client.New(client.Options{Edge: pair[0].HTTP, Models: []string{"faces"}, Video: webrtc.MimeTypeVP8, Messages: true, HTTP: web})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := errors.Join(c.Post(ctx), c.Accept(), c.Connected(ctx)); err != nil {
		t.Fatal(err)
	}
	resource, err := url.Parse(c.Resource())
	if err != nil || !strings.HasPrefix(resource.Path, "/whip/edge-0-") || !strings.HasPrefix(c.ID, "edge-0-") || len(c.ID) > 64 {
		t.Fatalf("session %s at %s, %v: want both to name edge-0", c.ID, resource, err)
	}
	remove := func() int {
		request, err := http.NewRequestWithContext(ctx, http.MethodDelete, pair[1].HTTP+resource.Path, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		response, err := web.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		return response.StatusCode
	}

	sending, stop := context.WithCancel(ctx)
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		tick := time.NewTicker(time.Second / 15)
		defer tick.Stop()
		for n := 0; sending.Err() == nil; n++ {
			_ = c.SendPicture(pictures[n%len(pictures)], uint32(n*6000)) // fails once the session is gone
			<-tick.C
		}
	}()
	results, counts := 0, []streamCounts(nil)
	err = client.Follow(ctx, web, pair[1].HTTP, c.ID, func(message []byte) error {
		var m struct {
			Outcome *struct{ Result *struct{} }
			Summary *struct{ Streams []streamCounts }
		}
		if err := json.Unmarshal(message, &m); err != nil {
			return err
		}
		if m.Summary != nil {
			counts = m.Summary.Streams
		}
		if m.Outcome == nil || m.Outcome.Result == nil {
			return nil
		}
		if results++; results == 10 {
			go func() { // Its answer comes when the session has ended, and this is how that is told.
				if status := remove(); status != http.StatusOK {
					t.Errorf("DELETE at the other edge: status %d", status)
				}
				stop()
			}()
		}
		return nil
	})
	stop()
	<-sent
	if err != nil || results < 10 || len(counts) != 1 {
		t.Fatalf("%d results and %d streams' counts came by the other edge, %v", results, len(counts), err)
	}
	checkCounts(t, counts[0])
	if status := remove(); status != http.StatusNotFound {
		t.Errorf("DELETE of an ended session at the other edge: status %d, want 404", status)
	}
	if n := pair[1].Metric(t, pair[1].EdgeAdmin, "sluice_edge_http_forwarded_total", "result=answered"); n != 3 {
		t.Errorf("the other edge handed %g requests on, want 3", n)
	}
}

// Streams that come back by themselves share two edges, of which one is killed and the other one is shut down once the first is back: each has outcomes again within moments, and the edge that is
// shut down loses nothing.
func TestEdgesComeAndGo(t *testing.T) {
	pair := startEdges(t)
	type run struct {
		p     published
		lines []outcomeLine
	}
	done := make(chan run, 1)
	go func() {
		p, lines := publish(t, "", pair[0].HTTP, 16*time.Second, stack.Clip(t, "faces-720p30.ivf"), "--rate", "5", "--model", "faces",
			"--streams", fmt.Sprint(roamers), "--reconnect", "--edge", pair[1].HTTP)
		done <- run{p, lines}
	}()
	serves := func(i, sessions int) {
		t.Helper()
		had := pair[i].Metric(t, pair[i].EdgeAdmin, "sluice_edge_outcomes_total")
		stack.Eventually(t, 20*time.Second, fmt.Sprintf("edge-%d serves %d sessions", i, sessions), func() error {
			if n := pair[i].Metric(t, pair[i].EdgeAdmin, "sluice_edge_sessions"); n != float64(sessions) {
				return fmt.Errorf("it has %g", n)
			}
			if n := pair[i].Metric(t, pair[i].EdgeAdmin, "sluice_edge_outcomes_total"); n < had+float64(2*sessions) {
				return fmt.Errorf("%g outcomes, %g before", n, had)
			}
			return nil
		})
	}
	serves(0, roamers/2)
	serves(1, roamers/2)
	pair[0].Edge.KillAll(t)
	serves(1, roamers)
	pair[0].StartEdge(t)
	edgeReady(t, pair[0])
	pair[1].Edge.Stop(t)
	serves(0, roamers)

	r := <-done
	killed, drained, dropped := 0, 0, 0
	for i, s := range r.p.Streams {
		t.Logf("stream %d: %d sessions, longest time without an outcome %.0f ms, drops %v, errors %v", i, len(s.Sessions), s.Gap*1000, s.Drops, s.Errors)
		if s.Failure != "" || s.Duplicates != 0 || s.Results == 0 {
			t.Errorf("stream %d: %d results, %d outcomes twice, failure %q", i, s.Results, s.Duplicates, s.Failure)
		}
		if gap := time.Duration(s.Gap * float64(time.Second)); gap > roamLimit+roamGrace {
			t.Errorf("stream %d had no outcome for %s, want %s", i, gap, roamLimit)
		}
		if n := s.Drops["NO_ROUTER"] + s.Errors["INTERNAL"]; n > 0 {
			t.Errorf("stream %d: %d frames ended in NO_ROUTER or INTERNAL", i, n)
		}
		dropped += s.Drops["DRAINING"]
		for _, one := range s.Sessions {
			for _, c := range one.Summary.Streams {
				checkCounts(t, c)
			}
			switch {
			case one.Cause == "the edge asked it to leave" && len(one.Summary.Streams) == 1:
				drained++
			case one.Cause == "the edge asked it to leave":
				t.Errorf("stream %d: session %s was not ended in order", i, one.Session)
			case one.Cause != "":
				killed++
			}
		}
	}
	// The frames of a session that is left have their outcomes before it ends, but for those that a busy machine is very late with.
	if dropped > drained/2 {
		t.Errorf("%d frames ended in DRAINING", dropped)
	}
	if killed < roamers/2 || drained < roamers {
		t.Errorf("%d sessions were lost with the killed edge and %d left the draining one, want %d and %d", killed, drained, roamers/2, roamers)
	}
}
