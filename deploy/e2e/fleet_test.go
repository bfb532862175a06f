//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/sluice-dev/sluice/deploy/e2e/names"
	"github.com/sluice-dev/sluice/deploy/e2e/stack"
	sluicev1 "github.com/sluice-dev/sluice/proto/gen/sluice/v1"
)

// routersName is what the edges know the routers by.
const routersName = "routers.sluice.test"

// fleet is several routers behind one name, each at a loopback address of its own as a pod has one, and several edges.
type fleet struct {
	names   *names.Server
	port    int // of all routers
	config  string
	routers map[string]*member // by address
	edges   []*member
}

// member is a router or an edge.
type member struct {
	*stack.Process
	// http is an edge's public address, calls a router's or an edge's gRPC address, admin where metrics and probes are.
	http, calls, admin string
}

// newFleet prepares one whose routers have the configuration.
func newFleet(t *testing.T, router string) *fleet {
	t.Helper()
	f := &fleet{names: names.Serve(t), port: stack.FreePort(t), config: filepath.Join(t.TempDir(), "router.yaml"), routers: map[string]*member{}}
	if err := os.WriteFile(f.config, []byte(router), 0o600); err != nil {
		t.Fatal(err)
	}
	return f
}

// tell has the routers' name stand for addresses.
func (f *fleet) tell(addresses ...string) { f.names.Set(routersName, addresses...) }

// startRouter starts a router at an address and waits until it is ready. Nobody is told.
func (f *fleet) startRouter(t *testing.T, address string, flags ...string) {
	t.Helper()
	m := &member{calls: net.JoinHostPort(address, fmt.Sprint(f.port)), admin: loopback(t)}
	m.Process = stack.Run(t, "", stack.Binary(t, "sluice-router"), append([]string{"--config", f.config, "--listen", m.calls, "--admin.listen", m.admin}, flags...)...)
	m.await(t)
	f.routers[address] = m
}

// startEdge starts another edge and waits until it is ready.
func (f *fleet) startEdge(t *testing.T, flags ...string) {
	t.Helper()
	listen, ice := loopback(t), loopback(t)
	m := &member{http: "http://" + listen, calls: loopback(t), admin: loopback(t)}
	m.Process = stack.Run(t, "", stack.Binary(t, "sluice-edge"), append([]string{
		"--config", filepath.Join(stack.Root(t), "deploy", "config", "edge.yaml"), "--http.listen", listen, "--ice.udp", ice, "--ice.tcp", ice, "--ice.loopback",
		"--router.target", fmt.Sprintf("dns://%s/%s:%d", f.names.Address, routersName, f.port), "--grpc.listen", m.calls, "--admin.listen", m.admin, "--drain", "2s",
	}, flags...)...)
	m.await(t)
	f.edges = append(f.edges, m)
}

func loopback(t *testing.T) string {
	t.Helper()
	return net.JoinHostPort("127.0.0.1", fmt.Sprint(stack.FreePort(t)))
}

// await waits until the member says that it is ready.
func (m *member) await(t *testing.T) {
	t.Helper()
	client := &http.Client{Timeout: 5 * time.Second}
	stack.Eventually(t, time.Minute, m.Name+" is ready", func() error {
		if m.Ended() {
			t.Fatalf("%s ended before it was ready:\n%s", m.Name, m.Log())
		}
		response, err := client.Get("http://" + m.admin + "/readyz")
		if err != nil {
			return err
		}
		_ = response.Body.Close()
		if response.StatusCode != http.StatusOK {
			return fmt.Errorf("readyz says %s", response.Status)
		}
		return nil
	})
}

// sessions asks the member for the sessions that it has.
func (m *member) sessions(t *testing.T) (ids []string) {
	t.Helper()
	conn, err := grpc.NewClient("passthrough:///"+m.calls, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	list, err := sluicev1.NewInspectServiceClient(conn).ListSessions(ctx, &sluicev1.ListSessionsRequest{}, grpc.WaitForReady(true))
	if err != nil {
		t.Fatalf("%s: %v", m.Name, err)
	}
	for _, s := range list.GetSessions() {
		if s.GetState() != "draining" {
			ids = append(ids, s.GetSession())
		}
	}
	return ids
}

// busiest gives the address of the router with the most sessions, and them.
func (f *fleet) busiest(t *testing.T) (address string, ids []string) {
	t.Helper()
	for _, a := range slices.Sorted(maps.Keys(f.routers)) {
		if there := f.routers[a].sessions(t); address == "" || len(there) > len(ids) {
			address, ids = a, there
		}
	}
	return address, ids
}

// spread gives how many sessions each router has, in the order of their addresses.
func (f *fleet) spread(t *testing.T) (counts []int) {
	t.Helper()
	for _, a := range slices.Sorted(maps.Keys(f.routers)) {
		counts = append(counts, len(f.routers[a].sessions(t)))
	}
	return counts
}
