package serve

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/serviceconfig"
)

// book is the DNS of a test, and gRPC's end of a resolver.
type book struct {
	mu      sync.Mutex
	answer  []string
	fails   error
	refuse  error       // what gRPC says to an update
	looks   []time.Time // when each look-up came
	updates []string
	errors  []string
}

func (b *book) lookup(ctx context.Context, host string) ([]string, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.looks = append(b.looks, time.Now())
	if host != "routers" {
		return nil, fmt.Errorf("no such host: %s", host)
	}
	if errors.Is(b.fails, context.DeadlineExceeded) {
		b.mu.Unlock()
		<-ctx.Done()
		b.mu.Lock()
		return nil, ctx.Err()
	}
	return slices.Clone(b.answer), b.fails
}

func (b *book) set(fails error, answer ...string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fails, b.answer = fails, answer
}

// count gives how many look-ups there were since the last time it was asked.
func (b *book) count() int {
	synctest.Wait()
	b.mu.Lock()
	defer b.mu.Unlock()
	n := len(b.looks)
	b.looks = nil
	return n
}

// told gives what gRPC has been told since the last time it was asked.
func (b *book) told() string {
	synctest.Wait()
	b.mu.Lock()
	defer b.mu.Unlock()
	said := strings.Join(append(b.updates, b.errors...), "; ")
	b.updates, b.errors = nil, nil
	return said
}

func (b *book) UpdateState(s resolver.State) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	var addresses []string
	for _, a := range s.Addresses {
		addresses = append(addresses, a.Addr)
	}
	b.updates = append(b.updates, strings.Join(addresses, " "))
	return b.refuse
}

func (b *book) ReportError(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.errors = append(b.errors, err.Error())
}

func (b *book) NewAddress([]resolver.Address)                        {}
func (b *book) ParseServiceConfig(string) *serviceconfig.ParseResult { return nil }

// follow resolves a target with the book until the test ends.
func (b *book) follow(t *testing.T, target string) resolver.Resolver {
	t.Helper()
	r, err := dnsBuilder{func(string) lookup { return b.lookup }}.Build(parsed(t, target), b, resolver.BuildOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

func parsed(t *testing.T, target string) resolver.Target {
	t.Helper()
	u, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	return resolver.Target{URL: *u}
}

func after(d time.Duration) { <-time.After(d) }

// A name in calm is looked up every few seconds, and gRPC hears only what is new.
func TestDNSInCalm(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := &book{answer: []string{"10.0.0.2", "10.0.0.1", "10.0.0.2"}}
		b.follow(t, "dns:///routers:50051")
		if said := b.told(); said != "10.0.0.1:50051 10.0.0.2:50051" {
			t.Errorf("told %q at first", said)
		}
		after(time.Minute - time.Millisecond)
		if n, said := b.count(), b.told(); n != int(time.Minute/lookEvery) || said != "" {
			t.Errorf("%d look-ups in a calm minute, told %q; want %d and nothing", n, said, time.Minute/lookEvery)
		}
		b.set(nil, "fd00::7", "10.0.0.1")
		after(lookEvery)
		if said := b.told(); said != "10.0.0.1:50051 [fd00::7]:50051" {
			t.Errorf("told %q of new servers", said)
		}
	})
}

// When gRPC has lost a connection the name is looked up at once, and twice a second for a while, however often gRPC asks.
func TestDNSWhenAsked(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := &book{answer: []string{"10.0.0.1"}}
		r := b.follow(t, "dns:///routers:50051")
		after(2 * time.Second)
		if n := b.count(); n != 1 {
			t.Fatalf("%d look-ups in two calm seconds", n)
		}
		r.ResolveNow(resolver.ResolveNowOptions{})
		if n := b.count(); n != 1 {
			t.Errorf("%d look-ups at once, want 1", n)
		}
		for range 10 {
			r.ResolveNow(resolver.ResolveNowOptions{})
			after(10 * time.Millisecond)
		}
		if n := b.count(); n != 0 {
			t.Errorf("%d more within a tenth of a second, want none", n)
		}
		after(10 * time.Second)
		if n := b.count(); n < 19 || n > 21 {
			t.Errorf("%d look-ups in ten seconds after a loss, want two a second", n)
		}
		b.told()
		b.set(nil, "10.0.0.9")
		after(lookSoon)
		if said := b.told(); said != "10.0.0.9:50051" {
			t.Errorf("told %q half a second after DNS knew", said)
		}
		after(amissFor)
		b.count()
		after(time.Minute)
		if n := b.count(); n > int(time.Minute/lookEvery)+1 {
			t.Errorf("%d look-ups in a minute long after the loss", n)
		}
	})
}

// A name that cannot be looked up, or has no address, leaves the addresses as they were, and is looked up again soon however long it lasts.
func TestDNSFails(t *testing.T) {
	t.Parallel()
	for name, fails := range map[string]error{"an error": errors.New("no such host"), "no address": nil, "no answer": context.DeadlineExceeded} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := &book{fails: fails}
				b.follow(t, "dns:///routers:50051")
				after(7 * time.Minute)
				if said := b.told(); !strings.HasPrefix(said, "look up routers: ") {
					t.Errorf("told %.60q of a name that never was there, want an error", said)
				}
				b.set(nil, "10.0.0.1")
				after(max(lookSoon, lookWithin))
				if said := b.told(); !strings.HasPrefix(said, "10.0.0.1:50051") { // A look-up that was under way may still fail.
					t.Errorf("told %q when the name was there, after 7 minutes", said)
				}
				b.set(fails)
				after(time.Minute)
				if said := b.told(); said != "" {
					t.Errorf("told %q when the name was gone, want nothing", said)
				}
				b.set(nil, "10.0.0.1", "10.0.0.2")
				after(max(lookSoon, lookWithin))
				if said := b.told(); said != "10.0.0.1:50051 10.0.0.2:50051" {
					t.Errorf("told %q when the name was back", said)
				}
			})
		})
	}
}

// What gRPC did not take is told again.
func TestDNSRefused(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := &book{answer: []string{"10.0.0.1"}, refuse: errors.New("not now")}
		b.follow(t, "dns:///routers:50051")
		after(3*lookSoon - time.Millisecond)
		if said := b.told(); said != "10.0.0.1:50051; 10.0.0.1:50051; 10.0.0.1:50051" {
			t.Errorf("told %q", said)
		}
	})
}

func TestDNSTargets(t *testing.T) {
	t.Parallel()
	for target, want := range map[string]string{
		"dns:///127.0.0.1:50051":        "127.0.0.1:50051",
		"dns:///127.0.0.1":              "127.0.0.1:443",
		"dns:///[::1]:50051":            "[::1]:50051",
		"dns:///[::1]":                  "[::1]:443",
		"dns:///routers":                "10.0.0.1:443",
		"dns://10.9.9.9/routers:1":      "10.0.0.1:1",
		"dns://10.9.9.9:5353/routers:1": "10.0.0.1:1",
	} {
		t.Run(target, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := &book{answer: []string{"10.0.0.1"}}
				b.follow(t, target)
				if said := b.told(); said != want {
					t.Errorf("told %q, want %q", said, want)
				}
				if _, literal := strings.CutPrefix(want, "10.0.0.1"); !literal && b.count() > 0 {
					t.Error("an address was looked up")
				}
			})
		})
	}
	for target, want := range map[string]string{"dns:///": "no address", "dns:///routers:": "colon", "dns:///a:b:c": "too many colons", "dns://x:/routers:1": "DNS server"} {
		if _, err := DNS().Build(parsed(t, target), &book{}, resolver.BuildOptions{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want one with %q", target, err, want)
		}
	}
}

// An empty host is this machine, as for gRPC.
func TestSplitTarget(t *testing.T) {
	t.Parallel()
	if host, port, err := splitTarget(":50051", defaultPort); host != "localhost" || port != "50051" || err != nil {
		t.Errorf("%s %s, %v", host, port, err)
	}
}
