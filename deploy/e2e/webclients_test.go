//go:build e2e

package e2e

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/sluice-dev/sluice/deploy/e2e/stack"
)

// The WHIP clients that pages take from npm publish from Chromium, from an origin of their own and with a token, picture and sound: @eyevinn/whip-web-client, which has no data channel,
// with and without trickled candidates, and whip-whep, with a data channel and a restart of ICE.
func TestWebClients(t *testing.T) {
	beside(t, 0.8)
	const token = "a-token-of-the-tests"
	site := pages(t, webClients(t))
	// whip-whep 1.2.0 joins the candidates of a restart by commas, which Chromium refuses to read: it can be given one.
	s := stack.Start(t, stack.Options{EdgeFlags: []string{"--http.origins", site, "--http.tokens", token, "--ice.tcp", ""}})
	patches := func() float64 {
		return s.Metric(t, s.EdgeAdmin, "sluice_edge_http_requests_total", "method=PATCH")
	}
	for _, c := range []struct {
		name, client     string
		trickle, restart bool
	}{
		{"whip-web-client", "whip-web-client", true, false},
		{"whip-web-client-no-trickle", "whip-web-client", false, false},
		{"whip-whep", "whip-whep", true, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			const outcomes = 200
			noSession(t, s)
			before := patches()
			b := browse(t, "visit.mjs", time.Minute, map[string]any{
				"url": site + "/publishers.html",
				"run": map[string]any{
					"edge": s.HTTP, "client": c.client, "token": token, "trickle": c.trickle, "restart": c.restart,
					"clip": site + "/clips/faces-360p30.webm", "voice": site + "/clips/voice.wav", "outcomes": outcomes,
				},
			})
			came := reported(t, s, "", "", "-H", "Authorization: Bearer "+token)
			page := publication(t, b)
			r := <-came
			r.check(t, 25, 20, 20)
			if page.State != "connected" || page.Seen > len(r.Outcomes) || page.Seen < outcomes {
				t.Errorf("the connection was %s, and the page saw %d of %d outcomes", page.State, page.Seen, len(r.Outcomes))
			}
			if n := patches() - before; c.trickle != (n > 0) {
				t.Errorf("%g requests to PATCH", n)
			}
		})
	}
	if refused := s.Metric(t, s.EdgeAdmin, "sluice_edge_http_requests_total", "method=PATCH") - s.Metric(t, s.EdgeAdmin, "sluice_edge_http_requests_total", "method=PATCH", "status=204") -
		s.Metric(t, s.EdgeAdmin, "sluice_edge_http_requests_total", "method=PATCH", "status=200"); refused != 0 {
		t.Errorf("%g requests to PATCH were refused", refused)
	}
}

// publisherPage is what the page that publishes by WHIP clients reports.
type publisherPage struct {
	State, Way string
	Seen       int
	Complaints []string
}

// publication reads such a report, which ends its script, and fails for what the page complained about.
func publication(t *testing.T, b *browser) (v publisherPage) {
	t.Helper()
	b.next(t, &v)
	b.end()
	for _, complaint := range v.Complaints {
		// whip-whep closes its connection and then deletes the session, which may have ended by then.
		if !containsAll(complaint, "404", "/whip/") {
			t.Errorf("the page: %s", complaint)
		}
	}
	return v
}

// webClients bundles the clients and gives the module's path.
func webClients(t *testing.T) string {
	t.Helper()
	folder := filepath.Join(stack.Root(t), "deploy", "e2e", "browser")
	module := filepath.Join(t.TempDir(), "clients.js")
	stack.Command(t, "", time.Minute, filepath.Join(folder, "node_modules", ".bin", "esbuild"), filepath.Join(folder, "clients.js"), "--bundle", "--format=esm", "--log-level=error", "--outfile="+module)
	return module
}
