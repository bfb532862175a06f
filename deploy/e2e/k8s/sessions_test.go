//go:build k8s

package k8s

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/sluice-dev/sluice/deploy/e2e/k8s/node"
	"github.com/sluice-dev/sluice/deploy/e2e/stack"
)

const (
	// sessions is how many the release carries while it is rolled, drained and scaled.
	sessions = 20
	// comeBack is how long a session may be without an outcome when its edge goes.
	comeBack = 3 * time.Second
	// connectLimit bounds how long all of them take to be there.
	connectLimit = 60 * time.Second
)

// report is what sluicectl publish says in the end, as far as the test reads it.
type report struct {
	Total struct {
		Sessions, Sent, Outcomes, Results, Duplicates, Failures int
		Drops, Errors                                           map[string]int
		Gap, ResultGap                                          float64
	}
	Streams []struct {
		Session, Failure string
		Latency          struct{ P50, P95, P99 float64 }
	}
}

func (r report) log(t *testing.T) {
	t.Helper()
	total := r.Total
	t.Logf("%d sessions of %d streams: %d pictures, %d outcomes, %d results, drops %v, errors %v; longest time without an outcome %.2f s, without a result %.2f s", total.Sessions,
		len(r.Streams), total.Sent, total.Outcomes, total.Results, total.Drops, total.Errors, total.Gap, total.ResultGap)
	for i, s := range r.Streams {
		if s.Failure != "" {
			t.Logf("stream %d, session %s: %s", i, s.Session, s.Failure)
		}
	}
}

// publication is a sluicectl that publishes from outside of the cluster.
type publication struct {
	process *stack.Process
	summary string
}

// publish begins to publish pictures of 320 × 180 five times a second, and returns when the edges have all the sessions and give results.
func (c *cluster) publish(t *testing.T, streams int, arguments ...string) *publication {
	t.Helper()
	before := c.results(t)
	p := c.publishTo(t, c.edges, streams, arguments...)
	stack.Eventually(t, connectLimit, "all sessions are there, and have results", func() error {
		if p.process.Ended() {
			t.Fatalf("sluicectl ended:\n%s", p.process.Log())
		}
		there, results := c.sum(t, "edge", "8081", "sluice_edge_sessions"), c.results(t)-before
		if there < float64(streams) || results < 5*float64(streams) {
			return fmt.Errorf("%g sessions and %g results", there, results)
		}
		return nil
	})
	return p
}

func (c *cluster) results(t *testing.T) float64 {
	t.Helper()
	return c.sum(t, "edge", "8081", "sluice_edge_outcomes_total", "kind=result")
}

func (c *cluster) publishTo(t *testing.T, edge string, streams int, arguments ...string) *publication {
	t.Helper()
	p := &publication{summary: filepath.Join(t.TempDir(), "summary.json")}
	arguments = append([]string{
		"publish", cameraClip(), "--edge", edge, "--streams", fmt.Sprint(streams), "--duration", "10m", "--json", p.summary,
	}, arguments...)
	p.process = stack.Run(t, node.Client, stack.Binary(t, "sluicectl"), arguments...)
	return p
}

// end stops publishing and gives the account.
func (p *publication) end(t *testing.T) (r report) {
	t.Helper()
	p.process.Stop(t)
	text, err := os.ReadFile(p.summary)
	if err != nil {
		t.Fatalf("%v: sluicectl said:\n%s", err, p.process.Log())
	}
	if err := json.Unmarshal(text, &r); err != nil {
		t.Fatal(err)
	}
	return r
}

// publishToPods publishes to each edge's own address, from a host outside of the cluster; media goes by the node's address and the pod's own port.
func (c *cluster) publishToPods(t *testing.T) {
	for _, pod := range c.pods(t, "edge") {
		before := c.results(t)
		p := c.publishTo(t, fmt.Sprintf("http://%s:8080", pod.Status.PodIP), 2)
		stack.Eventually(t, connectLimit, pod.Metadata.Name+" gives results", func() error {
			if p.process.Ended() {
				t.Fatalf("sluicectl ended:\n%s", p.process.Log())
			}
			if n := c.results(t) - before; n < 20 {
				return fmt.Errorf("%g", n)
			}
			return nil
		})
		r := p.end(t)
		r.log(t)
		if r.Total.Failures > 0 || r.Total.Results < 20 {
			t.Errorf("%s: %d of 2 sessions failed, %d results", pod.Metadata.Name, r.Total.Failures, r.Total.Results)
		}
	}
}

// rollRouters replaces both routers under live sessions: none is lost, and no frame pays for it.
func (c *cluster) rollRouters(t *testing.T) {
	before := c.pods(t, "router")
	p := c.publish(t, sessions)
	began := time.Now()
	c.kubectl(t, "rollout", "restart", "deployment/sluice-router")
	c.rolled(t, "deployment/sluice-router")
	c.gone(t, before)
	t.Logf("the routers were replaced in %.1f s", time.Since(began).Seconds())
	r := p.end(t)
	r.log(t)
	c.replaced(t, "router", before)
	if r.Total.Failures > 0 || r.Total.Sessions != sessions {
		t.Errorf("%d of %d sessions failed", r.Total.Failures, r.Total.Sessions)
	}
	for _, reason := range []string{"NO_ROUTER", "DRAINING"} {
		if n := r.Total.Drops[reason]; n > 0 {
			t.Errorf("%d frames were dropped as %s", n, reason)
		}
	}
	if n := r.Total.Errors["ROUTER_LOST"]; n > 0 {
		t.Errorf("%d frames ended in ROUTER_LOST", n)
	}
	if r.Total.Results*10 < r.Total.Outcomes*9 {
		t.Errorf("only %d of %d outcomes are results", r.Total.Results, r.Total.Outcomes)
	}
}

// gone waits until pods have ended: a rollout is over for Kubernetes when the new ones are ready, while the old ones still drain.
func (c *cluster) gone(t *testing.T, before []pod) {
	t.Helper()
	for _, p := range before {
		c.kubectl(t, "wait", "--for=delete", "pod/"+p.Metadata.Name, "--timeout", rolloutLimit.String())
	}
}

// rollEdges replaces both edges, one after the other, under live sessions: each session is back within comeBack.
func (c *cluster) rollEdges(t *testing.T) {
	before := c.pods(t, "edge")
	p := c.publish(t, sessions, "--reconnect")
	began := time.Now()
	c.kubectl(t, "rollout", "restart", "statefulset/sluice-edge")
	c.rolled(t, "statefulset/sluice-edge")
	t.Logf("the edges were replaced in %.1f s", time.Since(began).Seconds())
	r := p.end(t)
	r.log(t)
	c.replaced(t, "edge", before)
	if r.Total.Failures > 0 {
		t.Errorf("%d of %d sessions did not come back", r.Total.Failures, sessions)
	}
	if r.Total.Sessions < 2*sessions {
		t.Errorf("%d streams had %d sessions: not all have moved", sessions, r.Total.Sessions)
	}
	if r.Total.Gap > comeBack.Seconds() {
		t.Errorf("a session had no outcome for %.2f s, want %s at the most", r.Total.Gap, comeBack)
	}
}
