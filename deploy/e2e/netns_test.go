//go:build e2e

package e2e

import (
	"fmt"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"github.com/sluice-dev/sluice/deploy/e2e/stack"
)

// Show 9: client and edge on two hosts, which are network namespaces of the test's own joined by a cable. No loopback flag is set anywhere.
func TestTwoHosts(t *testing.T) {
	beside(t, 0.5)
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
	server, client = host(t, "a"), host(t, "b")
	cable(t, "eth0", server, "10.77.0.1", client, "10.77.0.2")
	return server, client
}

// host makes a network namespace, which goes with the test.
func host(t *testing.T, letter string) string {
	t.Helper()
	name := fmt.Sprintf("sluice-%s-%d-%08x", letter, os.Getpid(), rand.Uint32())
	ip(t, "", "netns", "add", name)
	t.Cleanup(func() { ip(t, "", "netns", "delete", name) })
	ip(t, name, "link", "set", "lo", "up")
	return name
}

// cable joins two hosts by interfaces of one name, whose addresses share their first three bytes.
func cable(t *testing.T, name, oneHost, oneAddress, otherHost, otherAddress string) {
	t.Helper()
	ip(t, oneHost, "link", "add", name, "type", "veth", "peer", "name", name, "netns", otherHost)
	for host, address := range map[string]string{oneHost: oneAddress, otherHost: otherAddress} {
		ip(t, host, "address", "add", address+"/24", "dev", name)
		ip(t, host, "link", "set", name, "up")
	}
}

func ip(t *testing.T, namespace string, arguments ...string) {
	t.Helper()
	stack.Command(t, namespace, 10*time.Second, "ip", arguments...)
}
