//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sluice-dev/sluice/deploy/e2e/stack"
)

// Sessions whose only way to the edge leads through a TURN server, coturn, which the edge names together with the credentials for it: by UDP with a fixed name and password, and by TCP
// with credentials that are good for an hour. The client reaches the edge's HTTP, but has no route to where the edge's media are; the TURN server has.
func TestRelayOnly(t *testing.T) {
	beside(t, 0.6)
	const secret, signalling, media = "a secret of the tests", "10.77.0.1", "10.78.0.1"
	server, client := hosts(t)
	relay := host(t, "c")
	cable(t, "eth1", server, media, relay, "10.78.0.2")
	cable(t, "eth2", relay, "10.79.0.1", client, "10.79.0.2")
	if out, err := stack.TryCommand(t, client, 10*time.Second, "ip", "route", "get", media); err == nil {
		t.Fatalf("the client has a way to the edge's media: %s", out)
	}
	site := siteIn(t, client)
	for _, c := range []struct{ transport, coturn, server string }{
		{"udp", "--user=visitor:word", "username: visitor, credential: word"},
		{"tcp", "--static-auth-secret=" + secret, "ttl: 1h, secret: " + secret},
	} {
		t.Run(c.transport, func(t *testing.T) {
			turn := coturn(t, relay, c.coturn)
			config := written(t, fmt.Sprintf(`ice: {servers: [{urls: ["turn:10.79.0.1:3478?transport=%s"], %s}]}`, c.transport, c.server))
			s := stack.Start(t, stack.Options{Namespace: server, Host: signalling, EdgeFlags: []string{
				"--config", config, "--decoder.path", stack.Binary(t, "sluice-decoder"), "--ice.udp", media + ":8189", "--ice.tcp", "", "--http.origins", site,
			}})
			for _, publisher := range []string{"whip-whep", "sluice.js"} {
				t.Run(publisher, func(t *testing.T) { relayed(t, s, client, site, publisher, c.transport) })
			}
			t.Run("whip-client", func(t *testing.T) {
				came := whipClient(t, s, server, client, "--follow-link", "--force-turn")
				came.check(t, 40, 60, 40)
			})
			if said := turn.Log(); !strings.Contains(said, "ALLOCATE processed, success") {
				t.Error("the TURN server says nothing of an allocation")
			}
		})
	}
}

// relayed publishes from Chromium through the TURN server that the edge names.
func relayed(t *testing.T, s *stack.Stack, client, site, publisher, transport string) {
	t.Helper()
	const outcomes = 150
	b := browse(t, "visit.mjs", time.Minute, map[string]any{
		"namespace": client, "url": site + "/publishers.html",
		"run": map[string]any{
			"edge": s.HTTP, "client": publisher, "token": "", "relay": true, "clip": site + "/clips/faces-360p30.webm", "voice": site + "/clips/voice.wav", "outcomes": outcomes,
		},
	})
	page := publication(t, b)
	t.Logf("%d outcomes by %s", page.Seen, page.Way)
	if page.State != "connected" || page.Way != "relay "+transport || page.Seen < outcomes {
		t.Errorf("the connection was %s by %s, with %d outcomes", page.State, page.Way, page.Seen)
	}
}

// coturn runs a TURN server between the client's network and that of the edge's media.
func coturn(t *testing.T, namespace string, credentials string) *stack.Process {
	t.Helper()
	folder := t.TempDir()
	scheme := "--lt-cred-mech"
	if strings.HasPrefix(credentials, "--static-auth-secret") {
		scheme = "--use-auth-secret"
	}
	turn := stack.Run(t, namespace, "turnserver", "-n", "--no-cli", "--no-tls", "--no-dtls", "--listening-ip=10.79.0.1", "--listening-port=3478", "--relay-ip=10.78.0.2",
		"--realm=sluice.test", scheme, credentials, "--log-file=stdout", "--verbose", "--pidfile="+filepath.Join(folder, "pid"), "--userdb="+filepath.Join(folder, "users"))
	turn.Foreign = true
	stack.Eventually(t, 20*time.Second, "the TURN server listens", func() error {
		if out := stack.Command(t, namespace, 10*time.Second, "ss", "-Hltn", "sport", "=", ":3478"); out == "" {
			return os.ErrNotExist
		}
		return nil
	})
	return turn
}

// siteIn serves the test pages and the clips within a network namespace, on its loopback address, and gives their address.
func siteIn(t *testing.T, namespace string) string {
	t.Helper()
	folder := t.TempDir()
	root := stack.Root(t)
	files, err := filepath.Glob(filepath.Join(root, "deploy", "e2e", "browser", "pages", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range append(files, filepath.Join(root, ".cache", "clips"), webClients(t)) {
		if err := os.Symlink(file, filepath.Join(folder, filepath.Base(file))); err != nil {
			t.Fatal(err)
		}
	}
	site := stack.Run(t, namespace, "python3", "-m", "http.server", "--bind", "127.0.0.1", "--directory", folder, "8000")
	site.Foreign = true
	stack.Eventually(t, 20*time.Second, "the pages are served", func() error {
		_, err := stack.TryCommand(t, namespace, 10*time.Second, "curl", "-sSf", "--output", "/dev/null", "http://127.0.0.1:8000/publishers.html")
		return err
	})
	return "http://127.0.0.1:8000"
}
