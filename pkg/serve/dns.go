package serve

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc/resolver"
)

const (
	// lookEvery is the time between two look-ups of a name in calm: a server that is new behind it is found within this time, and what DNS keeps back.
	lookEvery = 5 * time.Second
	// lookSoon is the time between two look-ups while something is amiss.
	lookSoon = 500 * time.Millisecond
	// amissFor is how long something counts as amiss after gRPC has lost a connection, or cannot get one: DNS may tell of the servers that take the lost one's place
	// some seconds later, and in Kubernetes up to 30 s.
	amissFor = 30 * time.Second
	// lookWithin bounds one look-up, so that a lost packet is asked again before anybody misses it.
	lookWithin = 2 * time.Second

	defaultPort    = "443" // as gRPC has it
	defaultDNSPort = "53"
)

// DNS gives a resolver of gRPC targets of the scheme dns: "dns:///host:port", "dns://server:port/host:port" to ask a certain DNS server, and targets without a scheme. It
// is for grpc.WithResolvers, and for names behind which servers come and go, such as that of a headless service in Kubernetes. It differs from gRPC's own in three ways:
//   - It looks the name up again and again, so that connections are made to new servers before the last old one is lost. gRPC's own looks when a connection is lost, and
//     not more often than every 30 s.
//   - While connections are lost, or look-ups fail, it looks twice a second. gRPC's own waits longer after each failure, up to two minutes.
//   - A name that has no address any more, or cannot be looked up, leaves the addresses as they were: a server that runs is of more use than none.
//
// It knows A and AAAA records only, and takes no service configuration from DNS.
func DNS() resolver.Builder { return dnsBuilder{asker} }

// lookup gives the addresses of a host. It is bounded by ctx.
type lookup func(ctx context.Context, host string) ([]string, error)

// asker gives what looks names up: the system's resolver, or the DNS server at an address.
func asker(server string) lookup {
	if server == "" {
		return net.DefaultResolver.LookupHost
	}
	r := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, server)
	}}
	return r.LookupHost
}

type dnsBuilder struct {
	asker func(server string) lookup
}

func (dnsBuilder) Scheme() string { return "dns" }

// Build implements resolver.Builder. The resolver's goroutine is joined by its Close.
func (b dnsBuilder) Build(target resolver.Target, cc resolver.ClientConn, _ resolver.BuildOptions) (resolver.Resolver, error) {
	host, port, err := splitTarget(target.Endpoint(), defaultPort)
	if err != nil {
		return nil, fmt.Errorf("target %s: %w", target.String(), err)
	}
	server := target.URL.Host
	if server != "" {
		name, at, err := splitTarget(server, defaultDNSPort)
		if err != nil {
			return nil, fmt.Errorf("target %s: DNS server: %w", target.String(), err)
		}
		server = net.JoinHostPort(name, at)
	}
	_, err = netip.ParseAddr(host)
	ctx, cancel := context.WithCancel(context.Background())
	r := &dnsResolver{
		cc: cc, host: host, port: port, literal: err == nil, lookup: b.asker(server),
		asked: make(chan struct{}, 1), cancel: cancel, done: make(chan struct{}),
	}
	go func() {
		defer close(r.done)
		r.run(ctx)
	}()
	return r, nil
}

// splitTarget splits host:port, of which the port may be left out, and without a host means this machine.
func splitTarget(endpoint, port string) (host, at string, err error) {
	if endpoint == "" {
		return "", "", errors.New("no address is set; give one like dns:///router:50051")
	}
	if _, err := netip.ParseAddr(strings.Trim(endpoint, "[]")); err == nil {
		return strings.Trim(endpoint, "[]"), port, nil
	}
	host, at, err = net.SplitHostPort(endpoint)
	if err != nil {
		if host, at, err = net.SplitHostPort(endpoint + ":" + port); err != nil {
			return "", "", err
		}
	}
	if at == "" {
		return "", "", fmt.Errorf("%s ends in a colon: leave it out or give a port", endpoint)
	}
	if host == "" {
		host = "localhost"
	}
	return host, at, nil
}

// dnsResolver follows one name. All fields are its goroutine's but for asked, cancel and done.
type dnsResolver struct {
	cc         resolver.ClientConn
	host, port string
	literal    bool // the host is an address, which never becomes another one
	lookup     lookup
	asked      chan struct{} // holds one token when gRPC wants a look-up
	cancel     context.CancelFunc
	done       chan struct{}

	told []string // addresses that gRPC took, sorted; none before the first
}

// ResolveNow implements resolver.Resolver: gRPC calls it when a connection was lost or could not be had.
func (r *dnsResolver) ResolveNow(resolver.ResolveNowOptions) {
	select {
	case r.asked <- struct{}{}:
	default:
	}
}

// Close implements resolver.Resolver.
func (r *dnsResolver) Close() {
	r.cancel()
	<-r.done
}

// run looks the name up until ctx ends.
func (r *dnsResolver) run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	var looked, amiss time.Time // when the last look-up began, and until when something is amiss
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.asked:
			amiss = time.Now().Add(amissFor)
			timer.Reset(time.Until(looked.Add(lookSoon)))
			continue
		case <-timer.C:
		}
		looked = time.Now()
		pause := lookEvery
		err := r.look(ctx)
		if err == nil && r.literal {
			return
		}
		if err != nil || looked.Before(amiss) {
			pause = lookSoon
		}
		timer.Reset(time.Until(looked.Add(pause)))
	}
}

// look looks the name up once and tells gRPC what is new.
func (r *dnsResolver) look(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, lookWithin)
	defer cancel()
	hosts, err := r.hosts(ctx)
	if err != nil {
		if len(r.told) == 0 {
			r.cc.ReportError(fmt.Errorf("look up %s: %w", r.host, err))
		}
		return err
	}
	found := make([]string, 0, len(hosts))
	for _, h := range hosts {
		found = append(found, net.JoinHostPort(h, r.port))
	}
	slices.Sort(found)
	found = slices.Compact(found)
	if slices.Equal(found, r.told) {
		return nil
	}
	state := resolver.State{}
	for _, address := range found {
		state.Addresses = append(state.Addresses, resolver.Address{Addr: address})
	}
	if err := r.cc.UpdateState(state); err != nil {
		return err
	}
	r.told = found
	return nil
}

// hosts gives the name's addresses, at least one.
func (r *dnsResolver) hosts(ctx context.Context) ([]string, error) {
	if r.literal {
		return []string{r.host}, nil
	}
	hosts, err := r.lookup(ctx, r.host)
	if err == nil && len(hosts) == 0 {
		err = errors.New("it has no address")
	}
	return hosts, err
}
