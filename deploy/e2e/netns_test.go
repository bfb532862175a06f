//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/sluice-dev/sluice/deploy/e2e/stack"
)

// Show 9: client and edge on two hosts, which are network namespaces of the test's own joined by a cable. No loopback flag is set anywhere.
func TestTwoHosts(t *testing.T) {
	if os.Getuid() != 0 {
		t.Fatal("network namespaces need root: run `make e2e` as root")
	}
	server, client := hosts(t)
	s := stack.Start(t, stack.Options{Namespace: server, Host: "10.77.0.1"})
	p, _ := publish(t, client, s.HTTP, 8*time.Second, stack.Clip(t, "faces-720p30.ivf"), "--streams", "2")
	checkAccount(t, p)
	for i, r := range p.Streams {
		t.Logf("stream %d: results %d, latency %+v", i, r.Results, r.Latency)
		if r.Results < 40 {
			t.Errorf("stream %d: %d results, want 40", i, r.Results)
		}
	}
}

// hosts makes two network namespaces with a cable between them: 10.77.0.1 and 10.77.0.2. They go with the test.
func hosts(t *testing.T) (server, client string) {
	t.Helper()
	ip := func(namespace string, arguments ...string) {
		stack.Command(t, namespace, 10*time.Second, "ip", arguments...)
	}
	server, client = fmt.Sprintf("sluice-a-%d", os.Getpid()), fmt.Sprintf("sluice-b-%d", os.Getpid())
	for _, name := range []string{server, client} {
		ip("", "netns", "add", name)
		t.Cleanup(func() { ip("", "netns", "delete", name) })
		ip(name, "link", "set", "lo", "up")
	}
	ip(server, "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", client)
	for name, address := range map[string]string{server: "10.77.0.1/24", client: "10.77.0.2/24"} {
		ip(name, "address", "add", address, "dev", "eth0")
		ip(name, "link", "set", "eth0", "up")
	}
	return server, client
}
