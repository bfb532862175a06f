// Package cluster knows the edges that share the work, so that a request about a session may come to any of them. In Kubernetes they are the pods of a headless service; elsewhere they
// are listed.
package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// MaxName is the length of the longest name of an edge: with a hyphen and its own 16 characters, a session's id has 64.
const MaxName = 47

// ErrNotAMember is told of a name that no other edge has. Errors of another kind say that it could not be found out.
var ErrNotAMember = errors.New("no edge of the cluster has the name")

// Config says which edges there are. Either Domain or Members is given.
type Config struct {
	// Name is this edge's own; see ValidName.
	Name string
	// Domain is a DNS name with the addresses of all edges; the edge called NAME has those of NAME.Domain among them.
	Domain string
	// Port is that of the edges' HTTP where Domain is given, and Secure whether it speaks TLS.
	Port   int
	Secure bool
	// Members are the edges' base addresses by their names; this edge's own may be among them.
	Members map[string]string
	// Lookup gives a DNS name's addresses; nil asks the system.
	Lookup func(ctx context.Context, name string) ([]netip.Addr, error)
}

// Cluster finds edges. It keeps nothing, so that it always knows what DNS knows. It is safe for concurrent use.
type Cluster struct {
	cfg     Config
	members map[string]*url.URL
}

// New makes a cluster. It fails when an address of a member is none.
func New(cfg Config) (*Cluster, error) {
	c := &Cluster{cfg: cfg, members: map[string]*url.URL{}}
	if cfg.Lookup == nil {
		c.cfg.Lookup = func(ctx context.Context, name string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", name)
		}
	}
	for name, address := range cfg.Members {
		u, err := ParseMember(address)
		if err != nil {
			return nil, fmt.Errorf("cluster.members.%s: %w", name, err)
		}
		c.members[name] = u
	}
	return c, nil
}

// Name is this edge's own.
func (c *Cluster) Name() string { return c.cfg.Name }

// Find gives the base address of another edge. A name that no member has is ErrNotAMember: what comes from a client decides only which of the edges is asked, never another host.
func (c *Cluster) Find(ctx context.Context, name string) (*url.URL, error) {
	if !ValidName(name) || name == c.cfg.Name {
		return nil, ErrNotAMember
	}
	if c.cfg.Domain == "" {
		if member, ok := c.members[name]; ok {
			return member, nil
		}
		return nil, ErrNotAMember
	}
	theirs, err := c.lookup(ctx, name+"."+c.cfg.Domain)
	if err != nil {
		return nil, err
	}
	all, err := c.lookup(ctx, c.cfg.Domain)
	if err != nil {
		return nil, err
	}
	for _, address := range theirs {
		if slices.Contains(all, address) {
			scheme := "http"
			if c.cfg.Secure {
				scheme = "https"
			}
			return &url.URL{Scheme: scheme, Host: net.JoinHostPort(address.String(), strconv.Itoa(c.cfg.Port))}, nil
		}
	}
	return nil, ErrNotAMember
}

// lookup gives a DNS name's addresses; one that does not exist is no member's.
func (c *Cluster) lookup(ctx context.Context, name string) ([]netip.Addr, error) {
	found, err := c.cfg.Lookup(ctx, name)
	var failed *net.DNSError
	switch {
	case errors.As(err, &failed) && failed.IsNotFound:
		return nil, ErrNotAMember
	case err != nil:
		return nil, fmt.Errorf("cluster.domain: %w", err)
	}
	addresses := make([]netip.Addr, 0, len(found))
	for _, a := range found {
		addresses = append(addresses, a.Unmap())
	}
	return addresses, nil
}

// ValidName tells whether a word may be an edge's name: a DNS label in lower case (RFC 1123 section 2.1) of at most MaxName characters, as Kubernetes calls the pods of a StatefulSet.
func ValidName(name string) bool {
	if name == "" || len(name) > MaxName || name[0] == '-' || name[len(name)-1] == '-' {
		return false
	}
	for _, r := range name {
		if (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' {
			return false
		}
	}
	return true
}

// ParseMember reads the base address of an edge: http://host:port or https://host:port and nothing more.
func ParseMember(address string) (*url.URL, error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || strings.TrimPrefix(address, u.Scheme+"://") != u.Host {
		return nil, fmt.Errorf("%q is no address of an edge: write http://host:port", address)
	}
	return u, nil
}
