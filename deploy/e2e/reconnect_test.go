//go:build e2e

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sluice-dev/sluice/deploy/e2e/stack"
)

const (
	// noticeLimit is how soon the SDK must notice that its edge is gone, and resumeLimit how soon after the edge is up it must deliver results again.
	noticeLimit, resumeLimit = time.Second, 3 * time.Second
	// restartLimit is how soon after a change of its address a client must have results again.
	restartLimit = 2 * time.Second
	// addressDelay is how long Chromium takes to tell its connections of a new address (net::NetworkChangeNotifierLinux): nothing can be sent from it before.
	addressDelay = 2 * time.Second
)

// The edge is killed and restarted: the SDK notices, tries until it is up again, and goes on with another session.
func TestEdgeRestartInTheBrowser(t *testing.T) {
	site := pages(t)
	s := stack.Start(t, stack.Options{EdgeFlags: []string{"--http.origins", site}})
	d := keep(t, broadcast{edge: s, site: site, source: "card", model: "faces"})
	d.results(t, time.Minute, 20)
	session := d.entries[len(d.entries)-1].Session

	killed := time.Now()
	s.Edge.Kill(t)
	noticed := d.await(t, noticeLimit+busyGrace, "the SDK notices that the edge is gone", func(e entry) bool {
		return e.State != "" && e.State != "connected" && e.time().After(killed)
	})
	s.StartEdge(t)
	up := time.Now()
	first := d.resultAfter(t, resumeLimit+busyGrace, up)
	t.Logf("it was %q %s after the edge's death, and had a result %s after the edge was up", noticed.State, noticed.time().Sub(killed).Round(time.Millisecond), first.time().Sub(up).Round(time.Millisecond))
	if first.Session == session {
		t.Errorf("the result is of session %s, which ended with its edge", session)
	}
	d.results(t, 20*time.Second, 20)
	for _, complaint := range d.close(t) {
		// The browser itself notes that the edge does not answer, and then that it does not know the session.
		if !strings.Contains(complaint, "net::ERR_") && !containsAll(complaint, "404", "/whip/") {
			t.Errorf("the page: %s", complaint)
		}
	}
}

// The way by which the edge knows the client is gone, and with it the client's address; from another socket the client gets there, under another address: an ICE restart carries the same session
// over.
func TestICERestartInTheBrowser(t *testing.T) {
	site := pages(t)
	s := stack.Start(t, stack.Options{EdgeFlags: []string{"--http.origins", site}})
	way := newGateway(t, s.ICE)
	d := keep(t, broadcast{edge: s, site: site, source: "card", model: "faces", gateway: way.address.String()})
	d.results(t, time.Minute, 20)
	session := d.entries[len(d.entries)-1].Session

	changed := time.Now()
	way.forget()
	d.await(t, noticeLimit+busyGrace, "the SDK notices that nothing comes", func(e entry) bool { return e.State == "interrupted" })
	d.await(t, restartLimit+busyGrace, "the session goes on", func(e entry) bool { return e.State == "connected" })
	first := d.resultAfter(t, restartLimit+busyGrace-time.Since(changed), changed.Add(noticeLimit/2))
	t.Logf("the first result came %s after the change", first.time().Sub(changed).Round(time.Millisecond))
	if took := first.time().Sub(changed); took > restartLimit+busyGrace {
		t.Errorf("after the change it took %s until there was a result, want %s", took, restartLimit)
	}
	if first.Session != session {
		t.Errorf("the result is of session %s, not of %s: it was no restart", first.Session, session)
	}
	d.results(t, 20*time.Second, 20)
	for _, complaint := range d.close(t) {
		t.Errorf("the page: %s", complaint)
	}
}

// The client moves to another address, as a phone that leaves the house. Where both are there for a while, Chromium stays on the dead one for seconds after an ICE restart, and the SDK makes
// another session sooner; where the new one comes when the old one has gone, the browser has to learn of it first.
func TestAddressChangeInTheBrowser(t *testing.T) {
	if os.Getuid() != 0 {
		t.Fatal("network namespaces need root: run `make e2e` as root")
	}
	for _, c := range []struct {
		name string
		// ahead is how long the client has its new address before the old one goes, limit how long results may be missing.
		ahead, limit time.Duration
	}{
		{name: "handover", ahead: 2 * addressDelay, limit: restartLimit + time.Second},
		{name: "abrupt", limit: addressDelay + restartLimit},
	} {
		t.Run(c.name, func(t *testing.T) {
			d, ip := roam(t)
			d.results(t, time.Minute, 20)
			arrive := func() {
				ip("address", "add", "10.77.0.3/32", "dev", "eth0")
				ip("route", "add", "10.77.0.0/24", "dev", "eth0", "src", "10.77.0.3", "metric", "100")
			}
			if c.ahead > 0 {
				arrive()
				<-time.After(c.ahead)
			}
			left := time.Now()
			ip("address", "delete", "10.77.0.2/24", "dev", "eth0")
			if c.ahead == 0 {
				arrive()
			}
			d.await(t, c.limit+2*time.Second, "results go on", func(e entry) bool { return e.End == "result" && e.time().Sub(left) > c.limit })
			d.results(t, 20*time.Second, 20)
			gap, last := time.Duration(0), left
			for _, e := range d.between(left, time.Now()) {
				if e.End == "result" {
					gap, last = max(gap, e.time().Sub(last)), e.time()
				}
			}
			t.Logf("when the address changed, there was no result for %s", gap.Round(time.Millisecond))
			if gap > c.limit+busyGrace {
				t.Errorf("when the address changed, there was no result for %s, want %s", gap, c.limit)
			}
			d.close(t) // A browser whose network changes may complain about it.
		})
	}
}

// roam has a browser publish in a network namespace of its own, from 10.77.0.2 to an edge at 10.77.0.1, and gives ip(8) to move it.
func roam(t *testing.T) (d *diary, ip func(arguments ...string)) {
	t.Helper()
	const site = "http://127.0.0.1:8000" // in the client's namespace
	server, client := hosts(t)
	s := stack.Start(t, stack.Options{Namespace: server, Host: "10.77.0.1", EdgeFlags: []string{"--http.origins", site}})
	files := stack.Run(t, client, "python3", "-m", "http.server", "--bind", "127.0.0.1", "--directory", filepath.Join(stack.Root(t), "deploy", "e2e", "browser", "pages"), "8000")
	files.Foreign = true
	stack.Eventually(t, 20*time.Second, "the page is served", func() error {
		_, err := stack.TryCommand(t, client, 5*time.Second, "curl", "-sSf", "-o", "/dev/null", site+"/session.html")
		return err
	})
	d = keep(t, broadcast{edge: s, site: site, source: "card", model: "faces", namespace: client})
	return d, func(arguments ...string) { stack.Command(t, client, 10*time.Second, "ip", arguments...) }
}
