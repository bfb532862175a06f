// Package edge starts the real edge for a benchmark.
package edge

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"strconv"
	"time"

	"github.com/sluice-dev/sluice/deploy/e2e/bench/internal/proc"
)

// readyLimit bounds how long the edge may take to be ready.
const readyLimit = 20 * time.Second

// Edge is a running sluice-edge with its decoders.
type Edge struct {
	*proc.Process
	// Endpoint is its WHIP endpoint.
	Endpoint string
	// ICE is where media goes.
	ICE netip.AddrPort
	// Admin is its admin listener, http://host:port.
	Admin string
}

// Start runs the edge on an address with a router's, and waits until it is ready. It must be stopped.
func Start(ctx context.Context, root string, address net.IP, router string, flags ...string) (*Edge, error) {
	ports, err := freePorts(address, 4)
	if err != nil {
		return nil, err
	}
	at := func(i int) string { return net.JoinHostPort(address.String(), strconv.Itoa(int(ports[i]))) }
	ip, _ := netip.AddrFromSlice(address.To4())
	e := &Edge{Endpoint: "http://" + at(0) + "/whip", ICE: netip.AddrPortFrom(ip, ports[1]), Admin: "http://" + at(2)}
	arguments := []string{
		"--http.listen", at(0), "--ice.udp", at(1), "--ice.tcp", "", "--admin.listen", at(2), "--admin.pprof", "--grpc.listen", at(3), "--router.target", "dns:///" + router,
		"--drain", "1s", "--log.level", "warn",
	}
	if address.IsLoopback() {
		arguments = append(arguments, "--ice.loopback")
	}
	if e.Process, err = proc.Start(proc.Options{Path: filepath.Join(root, "bin", "sluice-edge"), Arguments: append(arguments, flags...)}); err != nil {
		return nil, err
	}
	if err := e.Await(ctx, readyLimit, func(ctx context.Context) error { return get(ctx, e.Admin+"/readyz") }); err != nil {
		_ = e.Stop() // the first error says more
		return nil, err
	}
	return e, nil
}

func get(ctx context.Context, url string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(io.LimitReader(response.Body, 1024))
		return fmt.Errorf("%s: %s: %s", url, response.Status, body)
	}
	return nil
}

// freePorts gives ports that are free by TCP and UDP right now.
func freePorts(address net.IP, n int) ([]uint16, error) {
	var ports []uint16
	for range n {
		l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: address})
		if err != nil {
			return nil, fmt.Errorf("no free port: %w", err)
		}
		defer func() { _ = l.Close() }() // all at once, so that they differ
		port := l.Addr().(*net.TCPAddr).Port
		u, err := net.ListenUDP("udp", &net.UDPAddr{IP: address, Port: port})
		if err != nil {
			return nil, fmt.Errorf("port %d is not free by UDP: %w", port, err)
		}
		defer func() { _ = u.Close() }()
		ports = append(ports, uint16(port))
	}
	return ports, nil
}
