//go:build e2e

package e2e

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/sluice-dev/sluice/deploy/e2e/stack"
)

// browser is a node script of deploy/e2e/browser that drives Chromium and reports in lines of JSON.
type browser struct {
	script  string
	reports *json.Decoder
	// over tells the script that the test has seen enough. Not every script asks.
	over func()
	// end waits for the script's end and fails the test unless its status is 0.
	end func()
}

// browse starts a script with options, which it gets as JSON together with the path of Chromium and of a fresh profile; "namespace" among them names a network namespace to run it in. It is
// ended after limit, or with the test.
func browse(t *testing.T, script string, limit time.Duration, options map[string]any) *browser {
	t.Helper()
	chromium, err := exec.LookPath("chromium")
	if err != nil {
		t.Fatal("chromium is not in PATH: run the tests by `make e2e`, which installs it")
	}
	dir := filepath.Join(stack.Root(t), "deploy", "e2e", "browser")
	if _, err := os.Stat(filepath.Join(dir, "node_modules", "puppeteer-core")); err != nil {
		t.Fatal("puppeteer-core is not installed: run the tests by `make e2e`, which installs it")
	}
	options["chromium"], options["profile"] = chromium, t.TempDir()
	text, err := json.Marshal(options)
	if err != nil {
		t.Fatal(err)
	}
	namespace, _ := options["namespace"].(string)
	binary, arguments := stack.Inside(namespace, "node", []string{script, string(text)})
	command := exec.Command(binary, arguments...)
	command.Dir = dir
	var complaints bytes.Buffer
	command.Stderr = &complaints
	out, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	in, err := command.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	// Asked to end, puppeteer ends Chromium.
	timer := time.AfterFunc(limit, func() {
		t.Errorf("%s did not end within %s", script, limit)
		_ = command.Process.Signal(os.Interrupt)
	})
	ended := false
	end := func() {
		if ended {
			return
		}
		ended = true
		_, _ = io.Copy(io.Discard, out) // Wait may come only after all is read.
		err := command.Wait()
		timer.Stop()
		if err != nil {
			t.Errorf("%s: %v\n%s", script, err, complaints.String())
		}
	}
	t.Cleanup(func() {
		if !ended {
			_ = command.Process.Signal(os.Interrupt)
		}
		end()
	})
	over := func() { _ = in.Close() } // A script that has ended needs no word.
	return &browser{script: script, reports: json.NewDecoder(out), over: over, end: end}
}

// next reads the script's next report. When there is none, the script failed.
func (b *browser) next(t *testing.T, report any) {
	t.Helper()
	if err := b.reports.Decode(report); err != nil {
		b.end()
		t.Fatalf("%s reported nothing: %v", b.script, err)
	}
}

// pages serves the test pages, the clips and files that the test made, by their names, on an origin of its own and gives its address.
func pages(t *testing.T, made ...string) string {
	t.Helper()
	root := stack.Root(t)
	mux := http.NewServeMux()
	for _, file := range made {
		mux.HandleFunc("/"+filepath.Base(file), func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, file) })
	}
	mux.Handle("/clips/", http.StripPrefix("/clips/", http.FileServer(http.Dir(filepath.Join(root, ".cache", "clips")))))
	mux.Handle("/", http.FileServer(http.Dir(filepath.Join(root, "deploy", "e2e", "browser", "pages"))))
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server.URL
}
