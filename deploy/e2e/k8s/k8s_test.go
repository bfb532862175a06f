//go:build k8s

// Package k8s installs the chart on a real Kubernetes node and rolls, drains and scales it under live sessions. Run it by `make k8s-test`.
package k8s

import (
	"context"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/sluice-dev/sluice/deploy/e2e/k8s/node"
	"github.com/sluice-dev/sluice/deploy/e2e/stack"
)

// lookupLimit bounds how long the cluster's name server may take to know what is new.
const lookupLimit = 30 * time.Second

// TestKubernetes goes through what an operator does with the chart, on one node that is started and filled once. Every part leaves the release as it found it, two edges and two routers.
func TestKubernetes(t *testing.T) {
	began := time.Now()
	c := newCluster(t)
	t.Logf("the node was ready after %.1f s", time.Since(began).Seconds())
	t.Run("DNS", func(t *testing.T) {
		c.resolves(t, "kubernetes.default.svc.cluster.local.", 1)
	})
	t.Run("DryRun", c.dryRun)
	if !t.Run("Install", c.install) {
		t.Fatal("without a release there is nothing to test")
	}
	t.Run("PublishToPods", c.publishToPods)
	t.Run("RollRouters", c.rollRouters)
	t.Run("RollEdges", c.rollEdges)
	t.Run("Drain", c.drain)
	t.Run("Autoscale", c.autoscale)
	t.Run("Restarts", c.restarts)
	t.Logf("the whole took %.0f s", time.Since(began).Seconds())
}

// resolves waits until the cluster's DNS has a number of addresses for a name: what it answers is some seconds old.
func (c *cluster) resolves(t *testing.T, name string, addresses int) {
	t.Helper()
	resolver := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, net.JoinHostPort(node.DNS, "53"))
	}}
	stack.Eventually(t, lookupLimit, name+" resolves", func() error {
		ctx, cancel := context.WithTimeout(t.Context(), lookupLimit)
		defer cancel()
		found, err := resolver.LookupHost(ctx, name)
		if err == nil && len(found) != addresses {
			err = fmt.Errorf("it has the addresses %v, want %d", found, addresses)
		}
		return err
	})
}
