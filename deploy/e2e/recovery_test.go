//go:build e2e

package e2e

import (
	"slices"
	"testing"
	"time"

	"github.com/sluice-dev/sluice/deploy/e2e/stack"
)

const (
	// gapLimit is how soon after a restarted router is ready results must come.
	gapLimit = time.Second
	// firstLimit is how soon after connect the first result must come.
	firstLimit = 1500 * time.Millisecond
)

// The router is restarted: the session goes on, without a word to the client, as soon as it is ready.
func TestRouterRestartInTheBrowser(t *testing.T) {
	site := pages(t)
	s := stack.Start(t, stack.Options{EdgeFlags: []string{"--http.origins", site}})
	d := keep(t, broadcast{edge: s, site: site, source: "card", model: "faces"})
	d.results(t, time.Minute, 20)
	session := d.entries[len(d.entries)-1].Session

	killed := time.Now()
	s.Router.Kill(t)
	s.StartRouter(t)
	ready := time.Now()
	first := d.resultAfter(t, gapLimit+busyGrace, ready)
	t.Logf("the first result came %s after the router was ready", first.time().Sub(ready).Round(time.Millisecond))
	d.results(t, 20*time.Second, 20)
	for _, e := range d.between(killed, time.Now()) {
		if e.State != "" || e.Session != "" && e.Session != session {
			t.Errorf("a router's restart is the client's trouble too: %+v", e)
		}
	}
	for _, complaint := range d.close(t) {
		t.Errorf("the page: %s", complaint)
	}
}

// On a machine with nothing else to do, a visitor sees the first box a moment after connect.
func TestTheFirstResult(t *testing.T) {
	const visits = 5
	site := pages(t)
	s := stack.Start(t, stack.Options{EdgeFlags: []string{"--http.origins", site}})
	var took []time.Duration
	for range visits {
		d := keep(t, broadcast{edge: s, site: site, source: "camera", model: "faces"})
		begun := d.await(t, time.Minute, "the page connects", func(e entry) bool { return e.Begun })
		first := d.resultAfter(t, 20*time.Second, begun.time())
		took = append(took, first.time().Sub(begun.time()))
		for _, complaint := range d.close(t) {
			t.Errorf("the page: %s", complaint)
		}
	}
	slices.Sort(took)
	t.Logf("from connect to the first result: %v", took)
	if median := took[visits/2]; median > firstLimit {
		t.Errorf("from connect to the first result it took %s, want %s", median, firstLimit)
	}
}
