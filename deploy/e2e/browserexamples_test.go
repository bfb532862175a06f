//go:build e2e

package e2e

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sluice-dev/sluice/deploy/e2e/stack"
)

// The example pages are as they are shipped, from an origin of their own: one takes the SDK by a script tag from the edge, the other is React and takes it as a package. Each shows the
// face before the camera, and leaves no session behind when its visitor goes.
func TestBrowserExamples(t *testing.T) {
	beside(t, 1)
	server := httptest.NewUnstartedServer(nil)
	site := "http://" + server.Listener.Addr().String()
	s := stack.Start(t, stack.Options{EdgeFlags: []string{"--http.origins", site}})
	server.Config.Handler = examplePages(t, s.HTTP)
	server.Start()
	t.Cleanup(server.Close)
	for _, page := range []string{"script.html", "react.html?edge=" + s.HTTP} {
		name, _, _ := strings.Cut(page, ".")
		t.Run(name, func(t *testing.T) {
			b := browse(t, "example.mjs", 90*time.Second, map[string]any{"url": site + "/" + page, "camera": stack.Clip(t, "faces-360p30.y4m")})
			b.next(t, &struct{}{}) // it shows the picture, and that there is a face in it
			var last struct{ Complaints []string }
			b.next(t, &last)
			for _, complaint := range last.Complaints {
				t.Errorf("the page: %s", complaint)
			}
			noSession(t, s) // the visitor's has ended
			b.over()
			b.end()
		})
	}
}

// examplePages serves the examples, with the edge's address for the one that a user would write there.
func examplePages(t *testing.T, edge string) http.Handler {
	t.Helper()
	folder := filepath.Join(stack.Root(t), "deploy", "examples", "browser")
	script, err := os.ReadFile(filepath.Join(folder, "script.html"))
	if err != nil {
		t.Fatal(err)
	}
	const written = "http://127.0.0.1:8080/sdk/sluice.js"
	if !strings.Contains(string(script), written) {
		t.Fatalf("script.html does not take %s", written)
	}
	own := strings.Replace(string(script), written, edge+"/sdk/sluice.js", 1)
	react := bundleReact(t, folder)
	mux := http.NewServeMux()
	mux.HandleFunc("/script.html", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(own)) })
	mux.HandleFunc("/react.html", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`<!doctype html><html lang="en"><title>React</title><link rel="icon" href="data:,"><body><script type="module" src="react.js"></script></body></html>`))
	})
	mux.HandleFunc("/react.js", func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, react) })
	return mux
}

// bundleReact bundles the React example with the SDK as npm would install it and gives the module's path.
func bundleReact(t *testing.T, folder string) string {
	t.Helper()
	root, work := stack.Root(t), t.TempDir()
	modules, browser := filepath.Join(work, "node_modules", "@sluice-dev"), filepath.Join(root, "deploy", "e2e", "browser")
	if err := os.MkdirAll(modules, 0o700); err != nil {
		t.Fatal(err)
	}
	stack.Command(t, "", time.Minute, "npm", "pack", "--silent", "--ignore-scripts", "--pack-destination", work, filepath.Join(root, "services", "edge", "web", "sdk"))
	packages, err := filepath.Glob(filepath.Join(work, "*.tgz"))
	if err != nil || len(packages) != 1 {
		t.Fatalf("npm packed %v: %v", packages, err)
	}
	stack.Command(t, "", time.Minute, "tar", "-xzf", packages[0], "-C", modules)
	if err := os.Rename(filepath.Join(modules, "package"), filepath.Join(modules, "sdk")); err != nil {
		t.Fatal(err)
	}
	module := filepath.Join(work, "react.js")
	stack.Command(t, "", time.Minute, "env", "NODE_PATH="+filepath.Dir(modules)+":"+filepath.Join(browser, "node_modules"), filepath.Join(browser, "node_modules", ".bin", "esbuild"),
		filepath.Join(folder, "main.jsx"), "--bundle", "--format=esm", "--jsx=automatic", "--log-level=error", "--define:process.env.NODE_ENV=\"production\"", "--outfile="+module)
	return module
}
