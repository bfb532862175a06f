//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sluice-dev/sluice/deploy/e2e/docs"
	"github.com/sluice-dev/sluice/deploy/e2e/stack"
)

// documented gives the examples that the documentation says the test runs; there must be some.
func documented(t *testing.T) []docs.Example {
	t.Helper()
	examples, err := docs.By(stack.Root(t), t.Name())
	if err != nil {
		t.Fatal(err)
	}
	if len(examples) == 0 {
		t.Fatalf("no example says that it is run by %s", t.Name())
	}
	return examples
}

// TestDocumentedCommands runs what the documentation has a reader type beside `make run`, as it stands there, but for the time that clips are published, and with a real session, stream and unit in
// the place of the example's: in a network namespace where the ports of `make run` are free, with a session going on.
func TestDocumentedCommands(t *testing.T) {
	beside(t, 1)
	const documentedTime, shortTime = "--duration 20s", "--duration 3s"
	place := host(t, "d")
	startMakeRun(t, place)
	clip := stack.Clip(t, "faces-720p30.ivf")
	background := stack.Run(t, place, stack.Binary(t, "sluicectl"), "publish", clip, "--duration", "5m")
	background.Foreign = true // ended in the middle
	for _, e := range documented(t) {
		session, stream, sequence := anyOutcome(t, place)
		actual := strings.NewReplacer(documentedTime, shortTime, "SESSION", session, `"…"`, `"`+session+`"`, "camera", stream, "1042", sequence)
		script := "cd " + stack.Root(t) + "\n" + actual.Replace(e.Text)
		if out, err := stack.TryCommand(t, place, 90*time.Second, "bash", "-euo", "pipefail", "-c", script); err != nil {
			t.Errorf("%s: %v\n%s\nit printed %q", e, err, e.Text, out)
		}
	}
}

// anyOutcome names a unit that has just ended at the edge of a `make run`.
func anyOutcome(t *testing.T, namespace string) (session, stream, sequence string) {
	t.Helper()
	out := stack.Command(t, namespace, 30*time.Second, stack.Tool(t, "grpcurl"), "-plaintext", "-d", `{"limit":1}`, "localhost:50052", "sluice.v1.InspectService/WatchOutcomes")
	var watched struct {
		Outcome struct {
			Session, Stream string
			Sequence        int
		}
	}
	if err := json.Unmarshal([]byte(out), &watched); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	return watched.Outcome.Session, watched.Outcome.Stream, fmt.Sprint(watched.Outcome.Sequence)
}

// TestDocumentedConfigurations has the services read every piece of configuration in the documentation. Pieces of a list of models get the key above it.
func TestDocumentedConfigurations(t *testing.T) {
	beside(t, 0.5)
	for _, e := range documented(t) {
		text, service := e.Text, "sluice-edge"
		if strings.HasPrefix(strings.TrimSpace(text), "- name:") {
			text = "models:\n" + text
		}
		if strings.Contains(text, "models:") {
			service = "sluice-router"
		}
		folder := t.TempDir()
		file := filepath.Join(folder, "config.yaml")
		for name, content := range map[string]string{file: text, filepath.Join(folder, "speech.onnx"): "a file that an example names"} {
			if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := stack.TryCommand(t, "", 30*time.Second, stack.Binary(t, service), "--config", file, "--check-config"); err != nil {
			t.Errorf("%s: %v", e, err)
		}
	}
}

// documentedPage is around a script of the documentation: what the reader's own page has, and something on the canvas that moves. What the script logs is kept.
const documentedPage = `<!doctype html><html lang="en"><title>Documented</title><link rel="icon" href="data:,">
<canvas id="canvas" width="640" height="360"></canvas><video id="video" autoplay muted playsinline></video>
<script>
  const logged = [];
  console.log = (value) => logged.push(value);
  let drawn = 0;
  setInterval(() => { const c = canvas.getContext("2d"); c.fillStyle = "#" + (++drawn %% 4096).toString(16).padStart(3, "0"); c.fillRect(0, 0, 640, 360); }, 50);
  window.run = async ({ values }) => {
    while (logged.length < values) await new Promise((resolve) => setTimeout(resolve, 50));
    return { logged: logged.slice(0, values).map((value) => JSON.stringify(value ?? null)) };
  };
</script>
<script type="module">
%s
</script></html>`

// TestDocumentedScripts runs the scripts of the documentation in a browser, each on a page of its own, with the address of the test's edge in the place of the example's: what they log are outcomes
// or detections.
func TestDocumentedScripts(t *testing.T) {
	beside(t, 1)
	examples := documented(t)
	var edge string
	mux := http.NewServeMux()
	for i, e := range examples {
		mux.HandleFunc(fmt.Sprintf("/%d.html", i), func(w http.ResponseWriter, _ *http.Request) {
			address := strings.NewReplacer("http://127.0.0.1:8080", edge, "ws://127.0.0.1:8080", strings.Replace(edge, "http", "ws", 1), "https://edge.example", edge)
			_, _ = fmt.Fprintf(w, documentedPage, address.Replace(e.Text))
		})
	}
	site := httptest.NewServer(mux)
	t.Cleanup(site.Close)
	edge = stack.Start(t, stack.Options{EdgeFlags: []string{"--http.origins", site.URL}}).HTTP
	for i, e := range examples {
		const values = 5
		b := browse(t, "visit.mjs", 90*time.Second, map[string]any{
			"url": fmt.Sprintf("%s/%d.html", site.URL, i), "camera": stack.Clip(t, "faces-360p30.y4m"), "run": map[string]any{"values": values},
		})
		var shown struct{ Logged, Complaints []string }
		b.next(t, &shown)
		b.end()
		t.Logf("%s logs %.200q", e, shown.Logged)
		if len(shown.Logged) != values || len(shown.Complaints) > 0 {
			t.Errorf("%s: the page logged %q and complained %q", e, shown.Logged, shown.Complaints)
		}
		for _, value := range shown.Logged {
			if !containsAll(value, `"stream"`, `"sequence"`) && !strings.HasPrefix(value, "[") {
				t.Errorf("%s: it logged %s, which is neither an outcome nor a list of detections", e, value)
			}
		}
	}
}
