package whip

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"time"
)

const (
	requestTimeout = 15 * time.Second
	// dialTimeout bounds the connection to one of an edge's addresses.
	dialTimeout = 3 * time.Second
)

// newHTTP gives a client that makes a connection for each request, to any of the addresses that a name has: behind the name of several edges, one that refuses a session or is gone is
// not asked again only because it was asked last. Requests are few.
func newHTTP() *http.Client {
	return &http.Client{Timeout: requestTimeout, Transport: &http.Transport{
		Proxy: http.ProxyFromEnvironment, DialContext: dialAny, TLSHandshakeTimeout: dialTimeout, DisableKeepAlives: true,
	}}
}

// dialAny connects to a name's addresses in turn until one answers.
func dialAny(ctx context.Context, network, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	found, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, err
	}
	dialer := net.Dialer{Timeout: dialTimeout}
	var failures []error
	for _, ip := range shuffled(found) {
		conn, err := dialer.DialContext(ctx, network, net.JoinHostPort(ip.String(), port))
		if err == nil {
			return conn, nil
		}
		failures = append(failures, err)
	}
	return nil, errors.Join(failures...)
}

// shuffled orders addresses at random, but leaves those of the family first that the system prefers (RFC 6724).
func shuffled(addresses []netip.Addr) []netip.Addr {
	var first, others []netip.Addr
	for _, a := range addresses {
		if a = a.Unmap(); a.Is4() == addresses[0].Unmap().Is4() {
			first = append(first, a)
		} else {
			others = append(others, a)
		}
	}
	swap := func(list []netip.Addr) func(i, j int) { return func(i, j int) { list[i], list[j] = list[j], list[i] } }
	rand.Shuffle(len(first), swap(first))   //nolint:gosec // to spread requests, not to hide anything
	rand.Shuffle(len(others), swap(others)) //nolint:gosec // as above
	return append(first, others...)
}
