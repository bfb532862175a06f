//go:build e2e

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sluice-dev/sluice/deploy/e2e/stack"
)

func containsAll(text string, parts ...string) bool {
	for _, p := range parts {
		if !strings.Contains(text, p) {
			return false
		}
	}
	return true
}

// Show 8: a decoder that is killed costs its session the pictures up to the next key frame, and the others nothing.
func TestKilledDecoder(t *testing.T) {
	beside(t, 0.7)
	s := stack.Start(t, stack.Options{})
	type run struct {
		p     published
		lines []outcomeLine
	}
	done := make(chan run, 1)
	go func() {
		p, lines := publish(t, "", s.HTTP, 12*time.Second, stack.Clip(t, "faces-720p30.ivf"), "--streams", "3", "--model", "faces")
		done <- run{p, lines}
	}()
	var decoders []int
	stack.Eventually(t, 20*time.Second, "three sessions are decoding", func() error {
		decoders = s.Edge.Children(t)
		if len(decoders) != 3 {
			return os.ErrNotExist
		}
		if s.Metric(t, s.EdgeAdmin, "sluice_edge_outcomes_total", "kind=result") < 60 {
			return os.ErrDeadlineExceeded
		}
		return nil
	})
	if err := syscall.Kill(decoders[1], syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	r := <-done
	checkAccount(t, r.p)
	hurt := 0
	for i, stream := range r.p.Streams {
		lost := stream.Errors["DECODER"] + stream.Drops["DAMAGED"]
		t.Logf("stream %d: results %d, drops %v, errors %v", i, stream.Results, stream.Drops, stream.Errors)
		if lost == 0 {
			continue
		}
		hurt++
		// The clip has a key frame a second; the models look at no more than 15 pictures of it.
		if lost > 20 {
			t.Errorf("stream %d lost %d pictures, more than up to the next key frame", i, lost)
		}
		last, firstLost := 0, 0
		for _, l := range r.lines {
			if l.Publisher != i {
				continue
			}
			if l.Outcome.Error != nil && firstLost == 0 {
				firstLost = l.Frame
			}
			if l.Outcome.Result != nil {
				last = max(last, l.Frame)
			}
		}
		if last < firstLost+60 {
			t.Errorf("stream %d has no result beyond frame %d after its decoder died at frame %d", i, last, firstLost)
		}
	}
	if hurt != 1 {
		t.Errorf("%d streams lost pictures, want the one whose decoder was killed", hurt)
	}
}

// Bad input from real senders: a clip with four slices a picture is no trouble, and one with a slice cut in half harms nothing but its own pictures.
func TestSlicesAndACutOne(t *testing.T) {
	beside(t, 0.3)
	s := stack.Start(t, stack.Options{})
	p, _ := publish(t, "", s.HTTP, 4*time.Second, stack.Clip(t, "faces-slices.h264"))
	checkAccount(t, p)
	if r := p.Streams[0]; r.Results < 40 || sum(r.Errors) != 0 {
		t.Errorf("four slices a picture: %+v", r)
	}

	data, err := os.ReadFile(stack.Clip(t, "faces-slices.h264"))
	if err != nil {
		t.Fatal(err)
	}
	cut := filepath.Join(t.TempDir(), "cut.h264")
	if err := os.WriteFile(cut, cutOneSlice(t, data), 0o600); err != nil {
		t.Fatal(err)
	}
	p, _ = publish(t, "", s.HTTP, 6*time.Second, cut)
	checkAccount(t, p)
	r := p.Streams[0]
	t.Logf("one slice cut: results %d, drops %v, errors %v", r.Results, r.Drops, r.Errors)
	// The cut picture itself may be one that no model was due to see; those that depend on it are dropped until the next key frame.
	if lost := r.Errors["DECODER"] + r.Drops["DAMAGED"]; lost == 0 || lost > 20 {
		t.Errorf("%d pictures lost: the cut slice went unnoticed, or cost more than up to the next key frame", lost)
	}
	if r.Results < 30 {
		t.Errorf("%d results: the session did not recover", r.Results)
	}
}

// cutOneSlice removes the second half of a slice in the middle of the stream.
func cutOneSlice(t *testing.T, stream []byte) []byte {
	t.Helper()
	starts := []int{}
	for i := 0; i+4 < len(stream); i++ {
		if stream[i] == 0 && stream[i+1] == 0 && stream[i+2] == 1 && stream[i+3]&0x1f == 1 {
			starts = append(starts, i)
		}
	}
	for k := len(starts) / 2; k+1 < len(starts); k++ {
		if size := starts[k+1] - starts[k]; size > 600 {
			return append(append([]byte{}, stream[:starts[k]+size/2]...), stream[starts[k+1]-1:]...)
		}
	}
	t.Fatal("the clip has no slice large enough to cut")
	return nil
}

// A router that is restarted loses no session: the same ones go on as soon as it is back.
func TestRouterRestart(t *testing.T) {
	beside(t, 0.6)
	s := stack.Start(t, stack.Options{})
	done := make(chan published, 1)
	go func() {
		p, _ := publish(t, "", s.HTTP, 14*time.Second, stack.Clip(t, "faces-720p30.ivf"), "--streams", "2")
		done <- p
	}()
	results := func() float64 { return s.Metric(t, s.EdgeAdmin, "sluice_edge_outcomes_total", "kind=result") }
	stack.Eventually(t, 20*time.Second, "results flow", func() error {
		if results() < 40 {
			return os.ErrDeadlineExceeded
		}
		return nil
	})
	s.Router.Kill(t)
	s.StartRouter(t)
	before := results()
	stack.Eventually(t, 5*time.Second, "results flow again", func() error {
		if results() < before+20 {
			return os.ErrDeadlineExceeded
		}
		return nil
	})
	p := <-done
	checkAccount(t, p)
	for i, r := range p.Streams {
		t.Logf("stream %d: results %d, drops %v, errors %v", i, r.Results, r.Drops, r.Errors)
		if r.Drops["NO_ROUTER"] == 0 {
			t.Errorf("stream %d: no frame was dropped for want of a router, though there was none", i)
		}
	}
}
