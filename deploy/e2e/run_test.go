//go:build e2e

package e2e

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sluice-dev/sluice/deploy/e2e/stack"
)

// The ports of `make run` are fixed: they are what the page's address names.
var runPorts = []string{"8080", "8081", "8082", "8189", "50051", "50052"}

// makeRun is a `make run` on its way.
type makeRun struct {
	out   string // the file that it writes to
	group int
	ended chan error
}

// startMakeRun starts `make run` with further arguments, in a network namespace if one is named, waits until it prints the page's address, and ends it with the test.
func startMakeRun(t *testing.T, namespace string, arguments ...string) *makeRun {
	t.Helper()
	out, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	binary, arguments := stack.Inside(namespace, "make", append([]string{"-C", stack.Root(t), "run"}, arguments...))
	command := exec.Command(binary, arguments...)
	command.Stdout, command.Stderr = out, out
	// A terminal's foreground process group is what Ctrl-C reaches.
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	r := &makeRun{out: out.Name(), group: command.Process.Pid, ended: make(chan error, 1)}
	go func() { r.ended <- command.Wait(); close(r.ended) }()
	t.Cleanup(func() { r.stop(t) })
	stack.Eventually(t, 5*time.Minute, "make run prints the page's address", func() error {
		select {
		case err := <-r.ended:
			t.Fatalf("make run ended: %v\n%s", err, r.said(t))
		default:
		}
		if !strings.Contains(r.said(t), "http://127.0.0.1:8080/") {
			return os.ErrDeadlineExceeded
		}
		return nil
	})
	return r
}

// said gives what it has written so far.
func (r *makeRun) said(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(r.out)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// stop presses Ctrl-C and waits for the end. Stopping it again does nothing.
func (r *makeRun) stop(t *testing.T) {
	t.Helper()
	_ = syscall.Kill(-r.group, syscall.SIGINT) // It may have ended.
	select {
	case err, first := <-r.ended:
		if first {
			t.Logf("make run ended after Ctrl-C: %v", err)
		}
	case <-time.After(20 * time.Second):
		_ = syscall.Kill(-r.group, syscall.SIGKILL)
		t.Fatalf("make run did not end within 20 s of Ctrl-C:\n%s", r.said(t))
	}
}

// Show 1: `make run` prints the address, the page answers, frames get results, and Ctrl-C ends all of it.
func TestMakeRun(t *testing.T) {
	requireFreePorts(t)
	run := startMakeRun(t, "")
	response, err := http.Get("http://127.0.0.1:8080/")
	if err != nil {
		t.Fatal(err)
	}
	page, _ := io.ReadAll(response.Body)
	_ = response.Body.Close()
	if response.StatusCode != http.StatusOK || !strings.Contains(string(page), "<title>") {
		t.Errorf("GET /: %s\n%.300s", response.Status, page)
	}
	p, _ := publish(t, "", "http://127.0.0.1:8080", 4*time.Second, stack.Clip(t, "faces-720p30.ivf"))
	checkAccount(t, p)
	if p.Streams[0].Results < 30 {
		t.Errorf("results: %d", p.Streams[0].Results)
	}

	run.stop(t)
	requireFreePorts(t)
	if left := sluiceProcesses(t); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if left, _ := filepath.Glob("/dev/shm/*sluice*"); len(left) > 0 {
		t.Errorf("shared memory left behind: %v", left)
	}
}

// requireFreePorts fails when a port of make run is taken.
func requireFreePorts(t *testing.T) {
	t.Helper()
	for _, port := range runPorts {
		l, err := net.Listen("tcp", "127.0.0.1:"+port)
		if err != nil {
			t.Fatalf("port %s must be free: %v", port, err)
		}
		_ = l.Close()
	}
	u, err := net.ListenPacket("udp", "127.0.0.1:8189")
	if err != nil {
		t.Fatalf("UDP port 8189 must be free: %v", err)
	}
	_ = u.Close()
}

// sluiceProcesses gives the processes of this clone's binaries.
func sluiceProcesses(t *testing.T) []string {
	t.Helper()
	links, err := filepath.Glob("/proc/[0-9]*/exe")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, link := range links {
		if target, err := os.Readlink(link); err == nil && strings.HasPrefix(target, filepath.Join(stack.Root(t), "bin", "sluice-")) {
			found = append(found, fmt.Sprintf("%s (%s)", target, filepath.Base(filepath.Dir(link))))
		}
	}
	return found
}

// A service that cannot start says why, and what to do.
func TestStartRefuses(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	routerYAML := func(model string) string {
		file := filepath.Join(t.TempDir(), "router.yaml")
		text := "models: [{name: faces, backend: {onnx: {path: " + model + "}}, input: {width: 320, height: 256, fit: letterbox, color: RGB, layout: NCHW, dtype: FP32}, output: {decoder: centerface}, rate: 15, deadline: 250ms}]"
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	misspelt := filepath.Join(t.TempDir(), "edge.yaml")
	if err := os.WriteFile(misspelt, []byte("http:\n  lisen: :8080\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		arguments []string
		want      []string
	}{
		"taken HTTP port":     {[]string{"sluice-edge", "--http.listen", taken.Addr().String(), "--admin.listen", "127.0.0.1:0", "--grpc.listen", "127.0.0.1:0", "--ice.udp", "127.0.0.1:0", "--ice.tcp", "", "--ice.loopback"}, []string{"http.listen", "taken", taken.Addr().String()}},
		"taken router port":   {[]string{"sluice-router", "--config", filepath.Join(stack.Root(t), "deploy/config/router.yaml"), "--listen", taken.Addr().String()}, []string{"listen", "taken"}},
		"missing model file":  {[]string{"sluice-router", "--config", routerYAML("nowhere.onnx")}, []string{"nowhere.onnx", "faces"}},
		"misspelt key":        {[]string{"sluice-edge", "--config", misspelt, "--check-config"}, []string{":2:", `"lisen"`, `"listen"`}},
		"missing config file": {[]string{"sluice-edge", "--config", "/nowhere/edge.yaml"}, []string{"/nowhere/edge.yaml"}},
		"missing decoder":     {[]string{"sluice-edge", "--decoder.path", "/nowhere/sluice-decoder", "--http.listen", "127.0.0.1:0", "--admin.listen", "127.0.0.1:0", "--grpc.listen", "127.0.0.1:0", "--ice.udp", "127.0.0.1:0", "--ice.tcp", "", "--ice.loopback"}, []string{"/nowhere/sluice-decoder"}},
	} {
		t.Run(strings.ReplaceAll(name, " ", "-"), func(t *testing.T) {
			_, err := stack.TryCommand(t, "", 30*time.Second, stack.Binary(t, c.arguments[0]), c.arguments[1:]...)
			if err == nil {
				t.Fatal("it started")
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("it said %q, which does not name %q", err, want)
				}
			}
		})
	}
}
