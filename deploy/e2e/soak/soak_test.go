//go:build soak

// Package soak opens and closes sessions at real services for a long time, breaks them off in every way, and looks whether anything of them is left in the end.
package soak

import (
	"fmt"
	"math"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluice-dev/sluice/deploy/e2e/counter"
	"github.com/sluice-dev/sluice/deploy/e2e/stack"
)

const (
	defaultLength = 2 * time.Minute
	// quietTail is the part at the end of the run in which nothing new begins: the edge still knows an ended session for a minute, and looks every five seconds.
	quietTail = 70 * time.Second
	// Sessions begin in waves, from none to twice the mean and back.
	meanRate = 10.0 // sessions a second
	wave     = 10.0 // seconds
	// maxLive bounds the sessions at once; the edge's own limit is higher, so that none is refused.
	maxLive   = 300
	limit     = 400
	modelRate = 10
)

// The router has the counter, and the embedded model of speech, which keeps a state for each stream.
const (
	onnxRuntime = `onnx: {library: "@CACHE@/onnxruntime/libonnxruntime.so"}`
	speechModel = `
  - name: speech
    backend: {onnx: {path: "@CACHE@/models/speech.onnx", threads: 1}}
    input: {kind: sound, rate: 16000, window: 512, hop: 512, context: 64, dtype: FP32, name: input}
    state: [{input: state, output: stateN}]
    constants: [{name: sr, value: 16000}]
    output: {decoder: speech}
    batch: {max: 16}
    deadline: 250ms
`
)

// TestSoak runs for $SOAK (2m).
func TestSoak(t *testing.T) {
	length := soakLength(t)
	seed := uint64(time.Now().UnixNano())
	t.Logf("%s, seed %d", length, seed)
	clips := makeClips(t)
	s := stack.Start(t, stack.Options{
		Router: onnxRuntime + counter.Serve(t, modelRate) + speechModel, RouterFlags: []string{"--admin.pprof"},
		EdgeFlags: []string{"--admin.pprof", "--limits.sessions", fmt.Sprint(limit), "--log.level", "warn"},
	})
	w := &world{
		edge: s.HTTP, clips: clips, total: newTotal(),
		web: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: maxLive}},
	}
	var warm sync.WaitGroup
	for source := range w.voice() + 1 { // so that what is made once, at the first use, is in the base
		l := newLife(w, seed, source, false)
		l.ending, l.source = orderly, source
		warm.Go(func() { l.run(t.Context()) })
	}
	warm.Wait()
	w.web.CloseIdleConnections()
	var edge, router footprint
	within(t, 10*time.Second, "the services rest before the test", func() error {
		edge, router = measure(t, s.Edge, s.EdgeAdmin, true), measure(t, s.Router, s.RouterAdmin, true)
		if sessions := s.Metric(t, s.EdgeAdmin, "sluice_edge_sessions"); sessions != 0 || edge.Children != 0 {
			return fmt.Errorf("%v sessions, %d decoders", sessions, edge.Children)
		}
		return nil
	})
	t.Logf("at first: edge %+v, router %+v", edge, router)

	churn(t, w, s, seed, max(length-quietTail, length/3))
	w.web.CloseIdleConnections()
	rest(t, s, edge, router)
	for _, f := range w.total.failures[:min(10, len(w.total.failures))] {
		t.Error(f)
	}
	w.total.checkMetrics(t, s)
	c := w.total.counts
	t.Logf("sessions %v; received %d, accepted %d, results %d, drops %v, errors %v", w.total.sessions, w.total.received, c.Accepted, c.Results, c.Drops, c.Errors)
	if c.Results < sum(w.total.sessions) {
		t.Errorf("%d results of %d sessions: too few to have tried anything", c.Results, sum(w.total.sessions))
	}
}

func soakLength(t *testing.T) time.Duration {
	t.Helper()
	text := os.Getenv("SOAK")
	if text == "" {
		return defaultLength
	}
	length, err := time.ParseDuration(text)
	if err != nil || length < 20*time.Second {
		t.Fatalf("SOAK=%s: write a duration of 20s or more, as 2m or 1h", text)
	}
	return length
}

// churn opens sessions for a time and returns when all of them have ended. Endings that the edge's own timers must find come in the first half only, so that the end of the test
// need not wait for those as well.
func churn(t *testing.T, w *world, s *stack.Stack, seed uint64, length time.Duration) {
	t.Helper()
	planned := int(meanRate * length.Seconds())
	var lives sync.WaitGroup
	defer lives.Wait()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	start, progress := time.Now(), time.Now()
	base, _ := w.total.ended()
	for opened := 0; opened < planned; <-tick.C {
		gone := time.Since(start).Seconds()
		if gone > 2*length.Seconds() {
			t.Fatalf("%d of %d sessions in twice the time: this machine is too slow for the soak", opened, planned)
		}
		due := int(meanRate * (gone - wave/(2*math.Pi)*math.Sin(2*math.Pi*gone/wave)))
		ended, failed := w.total.ended()
		for ; opened < min(due, planned) && opened-(ended-base) < maxLive; opened++ {
			l := newLife(w, seed, 100+opened, opened < planned*3/5)
			lives.Go(func() { l.run(t.Context()) })
		}
		if time.Since(progress) > 10*time.Second {
			progress = time.Now()
			t.Logf("%3.0f s: %d of %d sessions opened, %d ended, %d failed; edge %+v", gone, opened, planned, ended-base, failed, measure(t, s.Edge, s.EdgeAdmin, false))
		}
	}
}

// rest waits until both services hold no more than at first, and tells what they hold when they do not.
func rest(t *testing.T, s *stack.Stack, edge, router footprint) {
	t.Helper()
	for _, service := range []struct {
		name    string
		process *stack.Process
		admin   string
		base    footprint
	}{{"edge", s.Edge, s.EdgeAdmin, edge}, {"router", s.Router, s.RouterAdmin, router}} {
		var last footprint
		if err := poll(t, 100*time.Second, func() error {
			last = measure(t, service.process, service.admin, true)
			return last.beyond(service.base)
		}); err != nil {
			t.Errorf("the %s: %v\n%s\n%s", service.name, err, head(fetchProfile(t, service.admin, "goroutine?debug=1"), 80), head(fetchProfile(t, service.admin, "heap?debug=1"), 80))
		}
		t.Logf("in the end: %s %+v", service.name, last)
	}
}

// within fails the test when a condition does not come true.
func within(t *testing.T, limit time.Duration, what string, condition func() error) {
	t.Helper()
	if err := poll(t, limit, condition); err != nil {
		t.Fatalf("not within %s: %s: %v", limit, what, err)
	}
}

// poll asks about twice a second until condition gives nil, and gives its last error when the limit is over.
func poll(t *testing.T, limit time.Duration, condition func() error) error {
	t.Helper()
	deadline := time.Now().Add(limit)
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for {
		err := condition()
		if err == nil || time.Now().After(deadline) {
			return err
		}
		<-tick.C
	}
}

func head(text string, lines int) string {
	all := strings.Split(text, "\n")
	return strings.Join(all[:min(lines, len(all))], "\n")
}
