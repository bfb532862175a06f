//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sluice-dev/sluice/deploy/e2e/stack"
)

// Show 6: aiortc, a WebRTC stack that shares no code with ours, publishes. It knows no loopback candidates, so it is a host of its own.
func TestAiortcPublishes(t *testing.T) {
	if os.Getuid() != 0 {
		t.Fatal("network namespaces need root: run `make e2e` as root")
	}
	folder := filepath.Join(stack.Root(t), "deploy", "e2e")
	environment := strings.TrimSpace(stack.Command(t, "", 10*time.Minute, filepath.Join(folder, "venv.sh"), "aiortc"))
	server, host := hosts(t)
	s := stack.Start(t, stack.Options{Namespace: server, Host: "10.77.0.1"})
	out := stack.Command(t, host, time.Minute, filepath.Join(environment, "bin", "python"), filepath.Join(folder, "aiortc", "publish.py"),
		"--edge", s.HTTP, "--video", stack.Clip(t, "faces-360p30.webm"), "--audio", stack.Clip(t, "voice.wav"), "--seconds", "8")
	var report struct {
		Outcomes []struct {
			Stream, Model string
			Sequence      int
			RTPTimestamp  uint32
			Result        *struct {
				Detections []json.RawMessage
				Speech     []struct{ Probability float64 }
			}
			Drop  *struct{ Reason string }
			Error *struct{ Code string }
		}
		Sent    map[string]int
		Summary struct{ Streams []streamCounts }
	}
	if err := json.Unmarshal([]byte(out), &report); err != nil {
		t.Fatalf("%v in %.300s", err, out)
	}
	results, faces, spoken, silent, seen := 0, 0, 0, 0, map[string]bool{}
	for _, o := range report.Outcomes {
		unit := fmt.Sprint(o.Stream, o.Sequence, o.Model)
		if seen[unit] {
			t.Errorf("a second outcome for one unit: %+v", o)
		}
		seen[unit] = true
		switch {
		case o.Result == nil:
		case o.Model == "faces":
			results++
			faces += min(1, len(o.Result.Detections))
		case len(o.Result.Speech) == 1 && o.Result.Speech[0].Probability >= 0.5:
			spoken++
		default:
			silent++
		}
	}
	t.Logf("packets sent %v; %d outcomes, %d results of faces, %d with a face, %d windows with speech, %d without; %+v", report.Sent, len(report.Outcomes), results, faces, spoken, silent, report.Summary)
	if results < 40 || faces*100 < results*95 {
		t.Errorf("%d results, %d with a face: want 40, and a face in 95 of 100", results, faces)
	}
	// The clip of 8 seconds is silent for its first second and for two in the middle.
	if spoken < 60 || silent < 40 {
		t.Errorf("%d windows of sound with speech and %d without", spoken, silent)
	}
	finalised := 0
	for _, c := range report.Summary.Streams {
		finalised += checkCounts(t, c)
	}
	if finalised != len(report.Outcomes) {
		t.Errorf("%d outcomes came of %d finalised", len(report.Outcomes), finalised)
	}
}
