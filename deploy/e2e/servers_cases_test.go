//go:build e2e

package e2e

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluice-dev/sluice/deploy/e2e/stack"
	"github.com/sluice-dev/sluice/deploy/e2e/uplink"
	sluicev1 "github.com/sluice-dev/sluice/proto/gen/sluice/v1"
)

// TestModelServers runs one table of cases against real servers from their packages, through the real router. That the router finds out by itself when they are ready is the
// first of them, and part of the start.
func TestModelServers(t *testing.T) {
	t.Parallel()
	for _, kind := range modelServers() {
		t.Run(kind.name, func(t *testing.T) {
			beside(t, 0.5)
			b := startServers(t, kind)
			for _, c := range []struct {
				name string
				run  func(*testing.T, *serverBed)
			}{
				{"metadata", metadata},
				{"a wrong shape", wrongShape},
				{"a model that is not loaded", notLoaded},
				{"a batch equals singles", batchEqualsSingles},
				{"one is killed and comes back", killedAndRestarted}, // the last, for it changes the bed
			} {
				if !t.Run(c.name, func(t *testing.T) { c.run(t, b) }) {
					break
				}
			}
		})
	}
}

// metadata shows that the router knows the model, and that its outputs come as the server declares them.
func metadata(t *testing.T, b *serverBed) {
	t.Helper()
	m := b.model(t, "echo")
	if !m.GetReady() || m.GetResult() != "tensors" || m.GetMaxBatch() != maxBatch {
		t.Errorf("the router says %v", m)
	}
	s := b.open(t)
	send(t, s, "one", 1, "echo", vector(1, 1))
	outcome := wait(t, s)[0].Outcome
	readEcho(t, outcome, vector(1, 1))
	for _, tensor := range outcome.GetResult().GetTensors() {
		if want := []uint32{uint32(len(tensor.GetValues()))}; !slices.Equal(tensor.GetShape(), want) {
			t.Errorf("tensor %s of shape %v, want %v: one frame's, without the batch axis", tensor.GetName(), tensor.GetShape(), want)
		}
	}
}

// wrongShape configures another shape than the servers have: the router refuses to start and shows both.
func wrongShape(t *testing.T, b *serverBed) {
	t.Helper()
	config := "models:\n" + modelYAML("echo", b.kind.backend("echo", b.ports[:]...), 12)
	_, err := stack.TryCommand(t, "", 30*time.Second, stack.Binary(t, "sluice-router"), "--config", written(t, config), "--listen", local(t), "--admin.listen", local(t))
	if err == nil {
		t.Fatal("the router ran and ended well")
	}
	for _, want := range []string{"echo", "configured: frames FP32 [?,12]", "served:     frames FP32 [?,16]"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("it does not say %q:\n%v", want, err)
		}
	}
	_, said, _ := strings.Cut(err.Error(), "sluice-router: ")
	t.Logf("the router says: %s", said)
}

// notLoaded asks for a model that the server does not have: that is not ready and its frames end as errors, beside one that works.
func notLoaded(t *testing.T, b *serverBed) {
	t.Helper()
	if b.model(t, "absent").GetReady() {
		t.Error("absent is ready")
	}
	s := b.open(t)
	send(t, s, "one", 1, "absent", vector(1, 1))
	send(t, s, "two", 1, "echo", vector(2, 1))
	fates := wait(t, s)
	if code := fates[0].Outcome.GetError().GetCode(); code != sluicev1.Error_BACKEND_UNAVAILABLE {
		t.Errorf("a frame for a model that is not loaded: %v, want %s", fates[0].Outcome, sluicev1.Error_BACKEND_UNAVAILABLE)
	}
	readEcho(t, fates[1].Outcome, vector(2, 1))
}

// batchEqualsSingles runs frames one by one and then as one batch. The frames of a round are one of each of as many streams as a batch holds; they gather while the servers
// are busy with the frames of others, which is likely and not sure, so there are some rounds.
func batchEqualsSingles(t *testing.T, b *serverBed) {
	t.Helper()
	s := b.open(t)
	var singles []echoed
	for stream := range maxBatch {
		send(t, s, fmt.Sprint("single", stream), 1, "echo", vector(stream, 1))
		fates := wait(t, s)
		a := readEcho(t, fates[stream].Outcome, vector(stream, 1))
		if a.batch != 1 || fates[stream].Outcome.GetBatchSize() != 1 {
			t.Fatalf("a frame alone was in a batch of %d, %d by the router", a.batch, fates[stream].Outcome.GetBatchSize())
		}
		singles = append(singles, a)
	}
	largest, differs := 0, 0.0
	for round := uint32(1); round <= 50 && largest < maxBatch; round++ {
		for busy := range 2 * inFlight {
			send(t, s, fmt.Sprint("busy", busy), round, "echo", vector(busy, 0))
		}
		for stream := range maxBatch {
			send(t, s, fmt.Sprint("batched", stream), round, "echo", vector(stream, 1))
		}
		fates := wait(t, s)
		for stream, f := range fates[len(fates)-maxBatch:] {
			a := readEcho(t, f.Outcome, vector(stream, 1))
			if a.batch != int(f.Outcome.GetBatchSize()) {
				t.Errorf("the model was called with %d frames, and the outcome says %d", a.batch, f.Outcome.GetBatchSize())
			}
			largest = max(largest, a.batch)
			for i, score := range a.score {
				differs = max(differs, math.Abs(score-singles[stream].score[i]))
			}
		}
	}
	t.Logf("largest batch %d, scores differ by %.1g at most", largest, differs)
	if largest < maxBatch || differs > 1e-6 {
		t.Errorf("a largest batch of %d and scores that differ by %g, want %d and at most 1e-6", largest, differs, maxBatch)
	}
}

// killedAndRestarted kills one of the servers under load, with all that it started, and starts it again. Nothing may be lost but what it had in its hands.
func killedAndRestarted(t *testing.T, b *serverBed) {
	t.Helper()
	const streams, rate = 8, 10 // frames a second of each
	s := b.open(t)
	tick := time.NewTicker(time.Second / (streams * rate))
	defer tick.Stop()
	sent, held := 0, 0
	load := func(done func() bool) {
		for begin := time.Now(); !done(); <-tick.C {
			if time.Since(begin) > 90*time.Second {
				t.Fatalf("not within 90 s; the server says:\n%s", b.servers[0].Log())
			}
			ok, err := s.Send(fmt.Sprint("stream", sent%streams), uint32(1+sent/streams), "echo", within, vector(sent%streams, 1+sent/streams))
			if err != nil {
				t.Fatal(err)
			}
			if !ok {
				held++
			}
			sent++
		}
	}
	span := func(d time.Duration) func() bool {
		until := time.Now().Add(d)
		return func() bool { return time.Now().After(until) }
	}
	first := func() map[int]bool { return processes(t, s.Fates(), time.Time{}) }
	load(func() bool { return len(first()) == len(b.servers) })
	known := first()
	load(span(time.Second))
	b.servers[0].KillAll(t)
	killed := time.Now()
	load(span(2 * time.Second))
	b.servers[0] = b.kind.start(t, b.ports[0])
	var back time.Time
	load(func() bool {
		for process := range processes(t, s.Fates(), killed) {
			if !known[process] {
				back = time.Now()
			}
		}
		return !back.IsZero()
	})
	load(span(time.Second))
	lost, others, superseded := 0, 0, 0
	fates := wait(t, s)
	for _, f := range fates {
		switch {
		case f.Outcome.GetResult() != nil:
			continue
		case f.Outcome.GetDrop().GetReason() == sluicev1.Drop_SUPERSEDED: // a newer one of the stream was there before it went anywhere
			superseded++
			continue
		}
		lost++
		if f.Outcome.GetBatchSize() == 0 || f.Sent.After(killed) {
			if others++; others == 1 {
				t.Errorf("sent %s after the kill, so not in the dead server's hands, and lost: %v", f.Sent.Sub(killed), f.Outcome)
			}
		}
	}
	t.Logf("of %d frames %d were lost, %d of them not in the dead server's hands; %d were superseded, %d held back; the new server answered %.1f s after the kill",
		len(fates), lost, others, superseded, held, back.Sub(killed).Seconds())
	if most := inFlight * maxBatch; lost > most {
		t.Errorf("%d frames are lost, and the server had at most %d in its hands", lost, most)
	}
}

// processes gives the ids of the processes that answered frames sent after a time.
func processes(t *testing.T, fates []uplink.Fate, after time.Time) map[int]bool {
	t.Helper()
	ids := map[int]bool{}
	for _, f := range fates {
		if tensors := f.Outcome.GetResult().GetTensors(); len(tensors) == 4 && f.Sent.After(after) {
			ids[int(tensors[3].GetValues()[0])] = true
		}
	}
	return ids
}
