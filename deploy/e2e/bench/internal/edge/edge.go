// Package edge starts the real edge for a benchmark.
package edge

import (
	"context"
	"net"
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
	ports, err := proc.FreePorts(address, 4)
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
	if err := e.Await(ctx, readyLimit, func(ctx context.Context) error { return proc.Get(ctx, e.Admin+"/readyz", nil) }); err != nil {
		_ = e.Stop() // the first error says more
		return nil, err
	}
	return e, nil
}
