//go:build k8s

package k8s

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sluice-dev/sluice/deploy/e2e/k8s/node"
	"github.com/sluice-dev/sluice/deploy/e2e/stack"
)

// podMonitor tells the server of the one kind of the chart's that is not Kubernetes' own, so that it takes objects of it.
const podMonitor = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: podmonitors.monitoring.coreos.com}
spec:
  group: monitoring.coreos.com
  scope: Namespaced
  names: {kind: PodMonitor, plural: podmonitors, singular: podmonitor, listKind: PodMonitorList}
  versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}]
`

// dryRun has the server check the chart, rendered with its own values and with each file of its ci folder, as strictly as it can, and then a few things that it must refuse.
func (c *cluster) dryRun(t *testing.T) {
	c.Apply(t, manifest(t, "namespace.yaml"))
	c.Apply(t, podMonitor)
	c.Kubectl(t, "wait", "--for=condition=Established", "crd/podmonitors.monitoring.coreos.com", "--timeout=30s")
	chart := filepath.Join(stack.Root(t), "deploy", "helm", "sluice")
	files, err := filepath.Glob(filepath.Join(chart, "ci", "*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no values files in the chart's ci folder: %v", err)
	}
	for _, file := range append(files, filepath.Join(chart, "values.yaml")) {
		name := strings.TrimSuffix(filepath.Base(file), ".yaml")
		rendered := stack.Command(t, "", rolloutLimit, c.helm, "template", "checked", chart, "--namespace", namespace, "--values", file)
		out, err := c.TryApply(t, rendered, "--namespace", namespace, "--dry-run=server", "--validate=strict")
		if err != nil {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
		// Pod Security warns of workloads whose pods it would refuse. Two ways for media need what it forbids, as the values say.
		if strings.Contains(out, "would violate PodSecurity") && !strings.HasPrefix(name, "host") {
			t.Errorf("%s: %s", name, out)
		}
		t.Logf("%s: %d objects", name, strings.Count(out, "server dry run"))
	}
	good := stack.Command(t, "", rolloutLimit, c.helm, "template", "checked", chart, "--namespace", namespace)
	for what, bad := range map[string]string{
		"an unknown field": strings.Replace(good, "readinessProbe:", "readinessProb:", 1), "a port that is none": strings.Replace(good, "containerPort: 8080", "containerPort: 70000", 1),
	} {
		if out, err := c.TryApply(t, bad, "--namespace", namespace, "--dry-run=server", "--validate=strict"); err == nil || bad == good {
			t.Errorf("%s was not refused:\n%s", what, out)
		}
	}
}

// install installs the chart where Pod Security enforces its level restricted, beside a model server, and waits until its pods are ready by their probes.
func (c *cluster) install(t *testing.T) {
	began := time.Now()
	c.Apply(t, manifest(t, "namespace.yaml"))
	c.Apply(t, manifest(t, "stub.yaml", "@TAG@", c.tag), "--namespace", namespace)
	refused, err := c.TryKubectl(t, "-n", namespace, "run", "privileged", "--image=localhost/pause:test", "--privileged", "--dry-run=server")
	if err == nil || !strings.Contains(err.Error(), "violates PodSecurity") {
		t.Errorf("Pod Security does not refuse a privileged pod: %s, %v", refused, err)
	}
	c.upgrade(t)
	c.kubectl(t, "rollout", "status", "deployment/stub", "--timeout", rolloutLimit.String())
	c.settle(t)
	c.edges = "http://" + c.serviceAddress(t, "sluice-edge")
	c.resolves(t, "sluice-router.sluice.svc.cluster.local.", 2)
	t.Logf("installed and ready after %.1f s\n%s", time.Since(began).Seconds(), c.kubectl(t, "get", "pods,services,pdb,networkpolicies", "-o", "wide"))
}

// restarts looks whether a container had to be started again, which nothing of the above may have done.
func (c *cluster) restarts(t *testing.T) {
	for _, component := range []string{"edge", "router"} {
		for _, p := range c.pods(t, component) {
			if len(p.Status.ContainerStatuses) == 1 && p.Status.ContainerStatuses[0].RestartCount > 0 {
				t.Errorf("%s was restarted:\n%s", p.Metadata.Name, c.kubectl(t, "logs", p.Metadata.Name, "--previous", "--tail=20"))
			}
		}
	}
	if t.Failed() {
		t.Log(c.Kubectl(t, "get", "events", "-A", "--sort-by=.lastTimestamp"))
	}
}

// drain drains the only node. One edge and one router go; then the disruption budgets stop it, and the others serve on.
func (c *cluster) drain(t *testing.T) {
	p := c.publish(t, sessions, "--reconnect")
	out, err := c.TryKubectl(t, "drain", node.Name, "--pod-selector", "app.kubernetes.io/name=sluice", "--timeout=8s")
	if err == nil || !strings.Contains(err.Error(), "disruption budget") {
		t.Errorf("the drain was not stopped by a disruption budget: %s, %v", out, err)
	}
	for _, component := range []string{"edge", "router"} {
		ready := 0
		for _, p := range c.pods(t, component) {
			if p.ready() {
				ready++
			}
		}
		if ready != 1 {
			t.Errorf("%d of component %s are left, want 1", ready, component)
		}
	}
	c.Kubectl(t, "uncordon", node.Name)
	c.settle(t)
	r := p.end(t)
	r.log(t)
	if r.Total.Failures > 0 || r.Total.Gap > comeBack.Seconds() {
		t.Errorf("%d sessions failed, and one had nothing for %.1f s", r.Total.Failures, r.Total.Gap)
	}
}
