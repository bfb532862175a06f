//go:build e2e

package batch

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sluice-dev/sluice/deploy/e2e/stack"
)

const (
	// stretch makes all times of the study longer, so that they are long beside what a busy machine adds to them.
	stretch = 4
	// A batch of n takes 48 ms + n · 2 ms, so that a server that is ten times slower cannot answer a single frame in time.
	faultSLO            = stretch * 100 * time.Millisecond
	faultAlpha          = stretch * 12 * time.Millisecond
	faultBeta           = stretch * time.Millisecond / 2
	faultCalm           = 6 * time.Second
	faultLength         = 16 * time.Second
	faultLoad           = 0.45 * 2 * 1143. / stretch // frames a second: of what two servers can do
	faultFirst, faultOn = stretch * 250 * time.Millisecond, stretch * 500 * time.Millisecond
)

// oipServer is a running oipstub.
type oipServer struct {
	*stack.Process
	t             *testing.T
	grpc, control string
}

func startOIP(t *testing.T) *oipServer {
	t.Helper()
	path := filepath.Join(stack.Root(t), ".build", "oipstub")
	if _, err := os.Stat(path); err != nil {
		t.Fatal("oipstub is missing: run `make oipstub` first")
	}
	s := &oipServer{t: t, Process: stack.Run(t, "", path, "-alpha", faultAlpha.String(), "-beta", faultBeta.String())}
	stack.Eventually(t, 20*time.Second, "the model server is ready", func() error {
		line, _, _ := strings.Cut(s.Log(), "\n")
		var at struct{ GRPC, Control string }
		if err := json.Unmarshal([]byte(line), &at); err != nil {
			return err
		}
		s.grpc, s.control = at.GRPC, at.Control
		return nil
	})
	return s
}

// tell uses the server's remote control.
func (s *oipServer) tell(what string) {
	s.t.Helper()
	response, err := http.Post(s.control+what, "", nil)
	if err != nil {
		s.t.Error(err)
		return
	}
	_ = response.Body.Close()
	if response.StatusCode >= 300 {
		s.t.Errorf("%s: %s", what, response.Status)
	}
}

// TestOneOfTwoServersFails lets one of two model servers fail in each way, at less than half of what both can do. Results go on, and hardly anything is sent twice.
func TestOneOfTwoServersFails(t *testing.T) {
	const together = 3 // of six, so that two processors are not busy
	turns := make(chan struct{}, together)
	for _, c := range []struct {
		name string
		fail func(s *oipServer)
		heal func(s *oipServer)
	}{
		{"SIGKILL", func(s *oipServer) { s.Kill(s.t) }, func(*oipServer) {}},
		{
			"SIGSTOP", func(s *oipServer) { s.signal(syscall.SIGSTOP) },
			func(s *oipServer) { s.signal(syscall.SIGCONT) },
		},
		{
			"errors at once", func(s *oipServer) { s.tell("/fail?code=13") },
			func(s *oipServer) { s.tell("/fail?code=0") },
		},
		{
			"unavailable", func(s *oipServer) { s.tell("/fail?code=14") },
			func(s *oipServer) { s.tell("/fail?code=0") },
		},
		{
			"four times slower", func(s *oipServer) { s.tell("/slow?factor=4") },
			func(s *oipServer) { s.tell("/slow?factor=1") },
		},
		{
			"ten times slower", func(s *oipServer) { s.tell("/slow?factor=10") },
			func(s *oipServer) { s.tell("/slow?factor=1") },
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			turns <- struct{}{}
			defer func() { <-turns }()
			good, bad := startOIP(t), startOIP(t)
			address, admin := startRouterOn(t, good.grpc, bad.grpc)
			trace, err := NewTrace(Arrivals{Shape: Periodic, Offered: faultLoad, Dilation: stretch, Length: faultLength, Seed: 1})
			if err != nil {
				t.Fatal(err)
			}
			path, err := OpenRouter(t.Context(), address, Model{Name: "stub", Width: 64}, trace.Streams, faultSLO)
			if err != nil {
				t.Fatal(err)
			}
			var failed time.Time
			done := make(chan struct{})
			breaking := time.AfterFunc(lead+faultCalm, func() { defer close(done); failed = time.Now(); c.fail(bad) })
			record, err := Replay(t.Context(), trace, faultSLO, path)
			breaking.Stop()
			if err != nil {
				t.Fatal(err)
			}
			<-done
			c.heal(bad)
			checkFault(t, record, failed)

			look := &stack.Stack{}
			batches, again := look.Metric(t, admin, "sluice_router_decisions_total", "decision=send"), look.Metric(t, admin, "sluice_router_batches_again_total")
			t.Logf("%.0f batches, %.0f run again", batches, again)
			if again > 0.1*batches {
				t.Errorf("%.0f of %.0f batches were run again: more than a tenth", again, batches)
			}
			accepted, ended := look.Metric(t, admin, "sluice_router_accepted_total"), look.Metric(t, admin, "sluice_router_outcomes_total")
			if accepted != ended {
				t.Errorf("the router accepted %.0f frames and ended %.0f", accepted, ended)
			}
		})
	}
}

// checkFault compares the results before and after a fault. The goals, 0.75 and 0.97 of the results before, are what the dispatcher's own test of these faults asks in
// virtual time; here a busy machine takes its part.
func checkFault(t *testing.T, r *Record, failed time.Time) {
	t.Helper()
	good := func(from, to time.Duration) float64 { // results a second
		n := 0
		for i := range r.frames {
			f := &r.frames[i]
			if at := f.ended.Sub(failed); Fate(f.state.Load()) == Answered && !f.ended.After(f.Deadline) && at >= from && at < to {
				n++
			}
		}
		return float64(n) / (to - from).Seconds()
	}
	fates := map[Fate]int{}
	for i := range r.frames {
		if f := &r.frames[i]; f.Arrived.After(failed.Add(time.Second)) {
			fates[Fate(f.state.Load())]++
		}
	}
	end := faultLength - faultCalm - faultSLO
	before := good(-faultCalm/2, 0)
	first, later := good(0, faultFirst)/before, good(faultOn, end)/before
	t.Logf("%.0f results a second; of that %.2f in the first %s and %.3f from %s on; of what came a second later %v", before, first, faultFirst, later, faultOn, fates)
	if before < 0.95*faultLoad || first < 0.65 || later < 0.95 {
		t.Errorf("%.0f results a second of %.0f, then %.2f and %.3f of that; want at least 0.95, 0.65 and 0.95", before, faultLoad, first, later)
	}
}

func (s *oipServer) signal(what syscall.Signal) {
	if err := syscall.Kill(s.PID(), what); err != nil {
		s.t.Error(err)
	}
}

// startRouterOn runs a router in front of two servers.
func startRouterOn(t *testing.T, first, second string) (address, admin string) {
	t.Helper()
	address, admin = fmt.Sprint("127.0.0.1:", stack.FreePort(t)), fmt.Sprint("127.0.0.1:", stack.FreePort(t))
	config := filepath.Join(t.TempDir(), "router.yaml")
	text := fmt.Sprintf(`
listen: %q
admin: {listen: %q}
models:
  - name: stub
    backend: {oip: {targets: [%q, %q]}}
    input: {kind: tensor, dtype: UINT8, shape: [64]}
    output: {decoder: tensors}
    batch: {max: 32}
    deadline: %s
`, address, admin, first, second, faultSLO)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	stack.Run(t, "", stack.Binary(t, "sluice-router"), "--config", config)
	stack.Eventually(t, 60*time.Second, "the router and both servers are ready", func() error {
		response, err := http.Get("http://" + admin + "/readyz")
		if err != nil {
			return err
		}
		_ = response.Body.Close()
		if well := (&stack.Stack{}).Metric(t, admin, "sluice_router_instances", "state=well"); response.StatusCode != http.StatusOK || well != 2 {
			return fmt.Errorf("%s, %v instances are well", response.Status, well)
		}
		return nil
	})
	return address, admin
}
