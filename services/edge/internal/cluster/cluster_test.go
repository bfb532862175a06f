package cluster

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
)

// zone is a DNS of a few names; what is not in it does not exist, and "broken.members" cannot be asked.
func zone(_ context.Context, name string) ([]netip.Addr, error) {
	addresses, ok := map[string][]netip.Addr{
		"members":          {netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("fd00::3")},
		"edge-0.members":   {netip.MustParseAddr("10.0.0.1")},
		"edge-1.members":   {netip.MustParseAddr("::ffff:10.0.0.2")},
		"edge-2.members":   {netip.MustParseAddr("192.0.2.9"), netip.MustParseAddr("fd00::3")},
		"stranger.members": {netip.MustParseAddr("169.254.169.254")},
	}[name]
	switch {
	case name == "broken.members":
		return nil, &net.DNSError{Err: "server misbehaving", Name: name, IsTemporary: true}
	case !ok:
		return nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
	}
	return addresses, nil
}

func TestFindByDNS(t *testing.T) {
	t.Parallel()
	c, err := New(Config{Name: "edge-0", Domain: "members", Port: 8080, Lookup: zone})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"edge-1": "http://10.0.0.2:8080", "edge-2": "http://[fd00::3]:8080",
		"edge-0": "", "edge-9": "", "stranger": "", "": "", "Edge-1": "", "edge-1.members": "", "10.0.0.2": "", "-edge": "", "edge-": "", strings.Repeat("a", MaxName+1): "",
	} {
		found, err := c.Find(t.Context(), name)
		if want == "" && !errors.Is(err, ErrNotAMember) || want != "" && (err != nil || found.String() != want) {
			t.Errorf("%q is at %v, %v; want %q", name, found, err, want)
		}
	}
	if _, err := c.Find(t.Context(), "broken"); err == nil || errors.Is(err, ErrNotAMember) || !strings.Contains(err.Error(), "cluster.domain") {
		t.Errorf("where DNS fails the error is %v: it is not known whether there is such a member", err)
	}
	secure, err := New(Config{Name: "edge-0", Domain: "members", Port: 443, Secure: true, Lookup: zone})
	if err != nil {
		t.Fatal(err)
	}
	if found, err := secure.Find(t.Context(), "edge-1"); err != nil || found.String() != "https://10.0.0.2:443" {
		t.Errorf("with TLS it is at %v, %v", found, err)
	}
}

func TestFindInAList(t *testing.T) {
	t.Parallel()
	c, err := New(Config{Name: "a", Members: map[string]string{"a": "http://127.0.0.1:1", "b": "https://edge-b.example:8443"}})
	if err != nil {
		t.Fatal(err)
	}
	if found, err := c.Find(t.Context(), "b"); err != nil || found.String() != "https://edge-b.example:8443" {
		t.Errorf("b is at %v, %v", found, err)
	}
	for _, name := range []string{"a", "c", "../b"} {
		if found, err := c.Find(t.Context(), name); !errors.Is(err, ErrNotAMember) {
			t.Errorf("%q is at %v, %v; want no member", name, found, err)
		}
	}
	if c.Name() != "a" {
		t.Errorf("the edge itself is called %q", c.Name())
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	for _, address := range []string{"", "127.0.0.1:8080", "ftp://edge:1", "http://", "http://edge:1/", "http://edge:1/path", "http://u:p@edge:1", "http://edge:1?q", "http://edge:1#f", "http://[::1"} {
		if _, err := New(Config{Name: "a", Members: map[string]string{"b": address}}); err == nil || !strings.Contains(err.Error(), "cluster.members.b") {
			t.Errorf("%q gave %v, want an error with its key", address, err)
		}
	}
}

func FuzzValidName(f *testing.F) {
	for _, name := range []string{"edge-0", "a", "", "-", "a.b", "é"} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if ValidName(name) && (len(name) > MaxName || strings.ToLower(name) != name || strings.ContainsAny(name, "./:@ %\x00")) {
			t.Errorf("%q is taken for a name", name)
		}
	})
}
