// Package stack runs the real binaries for end-to-end tests: a router and an edge on free ports of the loopback address, or in a network namespace.
package stack

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// readyLimit bounds how long a service may take to be ready; loading a model on a busy machine takes some seconds.
const readyLimit = 60 * time.Second

// Options say what differs from the default: the shipped router configuration and an edge on loopback with ICE on loopback.
type Options struct {
	// Router is a router configuration in YAML; empty takes the shipped one. "@CACHE@" in it stands for the download cache.
	Router string
	// EdgeFlags are added to the edge's, RouterFlags to the router's.
	EdgeFlags, RouterFlags []string
	// NoRouter leaves the router out.
	NoRouter bool
	// Namespace runs both services in this network namespace, where the edge listens on Host with no loopback flag.
	Namespace, Host string
}

// Stack is a running router and edge. Its methods fail the test instead of returning errors.
type Stack struct {
	Router, Edge *Process
	// HTTP is the edge's public address, http://host:port.
	HTTP string
	// Host and port of the gRPC and admin listeners, and of the edge's media.
	EdgeGRPC, EdgeAdmin, RouterGRPC, RouterAdmin, ICE string

	options Options
	root    string
	config  string // the router's, if it is not the shipped one
}

// Root gives the root of the repository.
func Root(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for ; dir != "/"; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.work")); err == nil {
			return dir
		}
	}
	t.Fatal("no go.work above the working directory: run from inside the repository")
	return ""
}

// Binary gives the path of a built binary.
func Binary(t testing.TB, name string) string {
	t.Helper()
	return existing(t, filepath.Join("bin", name), "make build")
}

// Clip gives the path of a test clip.
func Clip(t testing.TB, name string) string {
	t.Helper()
	return existing(t, filepath.Join(".cache", "clips", name), "make clips")
}

func existing(t testing.TB, relative, how string) string {
	t.Helper()
	path := filepath.Join(Root(t), relative)
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("%s is missing: run `%s` first", relative, how)
	}
	return path
}

// Start runs a router and an edge until the test ends and waits until both are ready. When they stop, both must end by themselves, with status 0, without a panic in their logs and
// without a process left behind; anything else fails the test.
func Start(t testing.TB, options Options) *Stack {
	t.Helper()
	host := "127.0.0.1"
	if options.Host != "" {
		host = options.Host
	}
	address := func() string { return net.JoinHostPort(host, fmt.Sprint(FreePort(t))) }
	local := func() string { return net.JoinHostPort("127.0.0.1", fmt.Sprint(FreePort(t))) }
	s := &Stack{
		options: options, root: Root(t), ICE: address(),
		EdgeGRPC: local(), EdgeAdmin: local(), RouterGRPC: local(), RouterAdmin: local(),
	}
	s.HTTP = "http://" + address()
	if !options.NoRouter {
		s.StartRouter(t)
	}
	s.StartEdge(t)
	return s
}

// StartRouter starts the router, again on the same ports if it was stopped.
func (s *Stack) StartRouter(t testing.TB) {
	t.Helper()
	config := filepath.Join(s.root, "deploy", "config", "router.yaml")
	if s.options.Router != "" {
		s.config = filepath.Join(t.TempDir(), "router.yaml")
		config = s.config
		s.write(t, s.options.Router)
	}
	arguments := []string{"--config", config, "--listen", s.RouterGRPC, "--admin.listen", s.RouterAdmin}
	s.Router = Run(t, s.options.Namespace, Binary(t, "sluice-router"), append(arguments, s.options.RouterFlags...)...)
	s.await(t, s.Router, s.RouterAdmin)
}

func (s *Stack) write(t testing.TB, router string) {
	t.Helper()
	text := strings.ReplaceAll(router, "@CACHE@", filepath.Join(s.root, ".cache"))
	if err := os.WriteFile(s.config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// Reload writes another configuration in the place of Options.Router, has the router read it, and waits until it has been applied or refused as often as given.
func (s *Stack) Reload(t testing.TB, router, result string, times int) {
	t.Helper()
	s.write(t, router)
	if err := syscall.Kill(s.Router.PID(), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	Eventually(t, readyLimit, "the configuration is "+result, func() error {
		if n := s.Metric(t, s.RouterAdmin, "sluice_router_config_reloads_total", "result="+result); n < float64(times) {
			return fmt.Errorf("%g times of %d", n, times)
		}
		return nil
	})
}

// StartEdge starts the edge, again on the same ports if it was stopped.
func (s *Stack) StartEdge(t testing.TB) {
	t.Helper()
	arguments := []string{
		"--config", filepath.Join(s.root, "deploy", "config", "edge.yaml"), "--http.listen", strings.TrimPrefix(s.HTTP, "http://"), "--ice.udp", s.ICE, "--ice.tcp", s.ICE,
		"--router.target", "dns:///" + s.RouterGRPC, "--grpc.listen", s.EdgeGRPC, "--admin.listen", s.EdgeAdmin, "--drain", "2s",
	}
	if s.options.Namespace == "" {
		arguments = append(arguments, "--ice.loopback")
	}
	s.Edge = Run(t, s.options.Namespace, Binary(t, "sluice-edge"), append(arguments, s.options.EdgeFlags...)...)
	if !s.options.NoRouter {
		s.await(t, s.Edge, s.EdgeAdmin)
	}
}

// await waits until the service's admin endpoint says that it is ready.
func (s *Stack) await(t testing.TB, p *Process, admin string) {
	t.Helper()
	Eventually(t, readyLimit, p.Name+" is ready", func() error {
		if p.Ended() {
			t.Fatalf("%s ended before it was ready:\n%s", p.Name, p.Log())
		}
		_, err := s.fetch(t, "http://"+admin+"/readyz")
		return err
	})
}

// Eventually waits until condition returns nil, for at most limit; what names it in the failure.
func Eventually(t testing.TB, limit time.Duration, what string, condition func() error) {
	t.Helper()
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := condition()
		if err == nil {
			return
		}
		select {
		case <-deadline.C:
			t.Fatalf("not within %s: %s: %v", limit, what, err)
		case <-tick.C:
		}
	}
}

// Ports below those that the kernel gives to whoever asks for any, 32768 and up unless it is told otherwise.
const firstPort, lastPort = 20000, 32000

// FreePort gives a port of 127.0.0.1 that is free by TCP and UDP and that nobody gets from here again before the test ends, in this process or another.
func FreePort(t testing.TB) int {
	t.Helper()
	for range 200 {
		port := firstPort + rand.IntN(lastPort-firstPort)
		// Of a name in the abstract namespace there is one socket, and it goes with its owner.
		taken, err := net.Listen("unix", fmt.Sprintf("@sluice-e2e-port-%d", port))
		if err != nil {
			continue
		}
		if free(port) {
			t.Cleanup(func() { _ = taken.Close() })
			return port
		}
		_ = taken.Close()
	}
	t.Fatal("no port is free by TCP and UDP")
	return 0
}

func free(port int) bool {
	address := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	l, err := net.Listen("tcp", address)
	if err != nil {
		return false
	}
	_ = l.Close()
	u, err := net.ListenPacket("udp", address)
	if err != nil {
		return false
	}
	_ = u.Close()
	return true
}
