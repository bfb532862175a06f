//go:build k8s

package k8s

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/sluice-dev/sluice/deploy/e2e/k8s/node"
	"github.com/sluice-dev/sluice/deploy/e2e/stack"
)

const (
	// slowness is how many times as long as usual the model server takes, so that the sessions ask for more than it can do.
	slowness = 12
	// scaleLimit bounds how long the autoscaler may take: what Prometheus, the adapter and the controller take to look again, and a router to start.
	scaleLimit = 2 * time.Minute
)

// autoscaler is what the test reads of a HorizontalPodAutoscaler.
type autoscaler struct {
	Status struct {
		DesiredReplicas int
		CurrentMetrics  []struct {
			Pods struct {
				Metric  struct{ Name string }
				Current struct{ AverageValue string }
			}
		}
		Conditions []struct{ Type, Status, Reason, Message string }
	}
}

// autoscale lets the sessions ask for more than the model can do. The routers' pressure reaches the autoscaler by way of Prometheus, and there are more routers.
func (c *cluster) autoscale(t *testing.T) {
	c.serveMetrics(t)
	c.upgrade(t, "router.autoscaling.enabled=true", "router.autoscaling.min=2", "router.autoscaling.max=3")
	t.Cleanup(func() { c.slow(t, 1) })
	p := c.publish(t, sessions)
	var at autoscaler
	stack.Eventually(t, scaleLimit, "the autoscaler knows the pressure of routers that have time", func() error {
		c.offer(t)
		c.Get(t, &at, "hpa", "sluice-router", "-n", namespace)
		if len(at.Status.CurrentMetrics) != 1 || at.Status.CurrentMetrics[0].Pods.Metric.Name != "sluice_router_pressure" {
			return fmt.Errorf("%+v", at.Status)
		}
		return nil
	})
	t.Logf("before: %s of sluice_router_pressure, %d routers", at.Status.CurrentMetrics[0].Pods.Current.AverageValue, at.Status.DesiredReplicas)
	if at.Status.DesiredReplicas != 2 {
		t.Errorf("%d routers are wanted although the model has time, want 2: %+v", at.Status.DesiredReplicas, at.Status)
	}
	began := time.Now()
	c.slow(t, slowness)
	stack.Eventually(t, scaleLimit, "a third router is ready", func() error {
		c.offer(t)
		c.Get(t, &at, "hpa", "sluice-router", "-n", namespace)
		ready := 0
		for _, p := range c.pods(t, "router") {
			if p.ready() {
				ready++
			}
		}
		if ready < 3 {
			return fmt.Errorf("%d are; %+v", ready, at.Status)
		}
		return nil
	})
	t.Logf("after: %s of sluice_router_pressure, %d routers, the third one ready %.1f s after the model had become slow", at.Status.CurrentMetrics[0].Pods.Current.AverageValue,
		at.Status.DesiredReplicas, time.Since(began).Seconds())
	r := p.end(t)
	r.log(t)
	if r.Total.Failures > 0 {
		t.Errorf("%d sessions failed", r.Total.Failures)
	}
}

// slow makes the model server take a multiple of its usual time.
func (c *cluster) slow(t *testing.T, factor int) {
	t.Helper()
	var service struct{ Spec struct{ ClusterIP string } }
	c.Get(t, &service, "service", "stub", "-n", namespace)
	client := &http.Client{Timeout: 10 * time.Second}
	answer, err := client.PostForm(fmt.Sprintf("http://%s:8002/slow", service.Spec.ClusterIP), url.Values{"factor": {fmt.Sprint(factor)}})
	if err != nil {
		t.Fatal(err)
	}
	_ = answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		t.Fatalf("the model server says %s", answer.Status)
	}
}

// serveMetrics starts Prometheus, and the server by which the cluster's autoscalers read from it.
func (c *cluster) serveMetrics(t *testing.T) {
	t.Helper()
	work := os.Getenv("K8S_WORK")
	config := filepath.Join(work, "prometheus.yaml")
	if err := os.WriteFile(config, []byte(manifest(t, "prometheus.yaml", "@TARGETS@", targetsFile())), 0o600); err != nil {
		t.Fatal(err)
	}
	c.offer(t)
	const at = "127.0.0.1:9090"
	c.Daemon(t, "prometheus", "prometheus", "--config.file", config, "--storage.tsdb.path", filepath.Join(work, "prometheus"), "--web.listen-address", at)
	c.Daemon(t, "adapter", filepath.Join(os.Getenv("K8S_BIN"), "adapter"), "--kubeconfig", c.Kubeconfig, "--authentication-kubeconfig", c.Kubeconfig,
		"--authorization-kubeconfig", c.Kubeconfig, "--secure-port", "6445", "--cert-dir", filepath.Join(work, "adapter"), "--prometheus", "http://"+at,
		"--metric", `sluice_router_pressure=max by (pod) (sluice_router_pressure{namespace="$namespace"})`,
		"--metric", `sluice_edge_decode_seconds=sum by (pod) (rate(sluice_edge_decode_seconds_total{namespace="$namespace"}[30s]))`)
	c.Apply(t, manifest(t, "metrics.yaml", "@NODE@", node.Address))
	c.Kubectl(t, "wait", "--for=condition=Available", "apiservice/v1beta2.custom.metrics.k8s.io", "--timeout=60s")
}

func targetsFile() string { return filepath.Join(os.Getenv("K8S_WORK"), "targets.json") }

// offer tells Prometheus which pods there are, and where their annotations say that they are to be scraped.
func (c *cluster) offer(t *testing.T) {
	t.Helper()
	type target struct {
		Targets []string          `json:"targets"`
		Labels  map[string]string `json:"labels"`
	}
	var all []target
	for _, p := range append(c.pods(t, "edge"), c.pods(t, "router")...) {
		if port := p.Metadata.Annotations["prometheus.io/port"]; p.ready() && p.Metadata.Annotations["prometheus.io/scrape"] == "true" {
			all = append(all, target{[]string{net.JoinHostPort(p.Status.PodIP, port)}, map[string]string{"namespace": namespace, "pod": p.Metadata.Name}})
		}
	}
	text, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	// Prometheus must not read half of it.
	if err := os.WriteFile(targetsFile()+".new", text, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(targetsFile()+".new", targetsFile()); err != nil {
		t.Fatal(err)
	}
}
