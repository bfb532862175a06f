//go:build k8s

// Package k8s installs the chart on a real Kubernetes node and rolls, drains and scales it under live sessions. Run it by `make k8s-test`.
package k8s

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/sluice-dev/sluice/deploy/e2e/k8s/node"
	"github.com/sluice-dev/sluice/deploy/e2e/stack"
)

// lookupLimit bounds a question to the cluster's name server.
const lookupLimit = 5 * time.Second

func TestKubernetes(t *testing.T) {
	began := time.Now()
	node.Start(t, os.Getenv("K8S_BIN"), os.Getenv("K8S_WORK"), filepath.Join(stack.Root(t), ".build", "k8s", "logs"))
	t.Logf("the node was ready after %.1f s", time.Since(began).Seconds())
	t.Run("DNS", func(t *testing.T) {
		if found := lookup(t, "kubernetes.default.svc.cluster.local."); len(found) != 1 {
			t.Errorf("the API server's addresses are %v", found)
		}
	})
}

// lookup gives the addresses that the cluster's DNS has for a name.
func lookup(t *testing.T, name string) []string {
	t.Helper()
	resolver := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, net.JoinHostPort(node.DNS, "53"))
	}}
	ctx, cancel := context.WithTimeout(t.Context(), lookupLimit)
	defer cancel()
	found, err := resolver.LookupHost(ctx, name)
	if err != nil {
		t.Fatal(err)
	}
	return found
}
