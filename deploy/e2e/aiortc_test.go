//go:build e2e

package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sluice-dev/sluice/deploy/e2e/stack"
)

// Show 6: aiortc, a WebRTC stack that shares no code with ours, publishes. It knows no loopback candidates, so it is a host of its own.
func TestAiortcPublishes(t *testing.T) {
	beside(t, 0.5)
	if os.Getuid() != 0 {
		t.Fatal("network namespaces need root: run `make e2e` as root")
	}
	folder := filepath.Join(stack.Root(t), "deploy", "e2e")
	environment := strings.TrimSpace(stack.Command(t, "", 10*time.Minute, filepath.Join(folder, "venv.sh"), "aiortc"))
	server, host := hosts(t)
	s := stack.Start(t, stack.Options{Namespace: server, Host: "10.77.0.1"})
	out := stack.Command(t, host, time.Minute, filepath.Join(environment, "bin", "python"), filepath.Join(folder, "aiortc", "publish.py"),
		"--edge", s.HTTP, "--video", stack.Clip(t, "faces-360p30.webm"), "--audio", stack.Clip(t, "voice.wav"), "--seconds", "8")
	var came struct {
		report
		Sent map[string]int
	}
	if err := json.Unmarshal([]byte(out), &came); err != nil {
		t.Fatalf("%v in %.300s", err, out)
	}
	t.Logf("packets sent: %v", came.Sent)
	// The clip of 8 seconds is silent for its first second and for two in the middle.
	came.check(t, 40, 60, 40)
}
