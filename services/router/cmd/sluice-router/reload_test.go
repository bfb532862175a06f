package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/pkg/tensor"
	"github.com/sluice-dev/sluice/pkg/wire"
	sluicev1 "github.com/sluice-dev/sluice/proto/gen/sluice/v1"
	"github.com/sluice-dev/sluice/services/router/internal/backend"
	"github.com/sluice-dev/sluice/services/router/internal/backend/backendtest"
)

// signed answers each text with its own sign, and is ready when it is told to be.
type signed struct {
	reader
	away *atomic.Bool
}

func (s signed) Ready(context.Context) error {
	if s.away != nil && s.away.Load() {
		return &backend.Error{Code: media.BackendUnavailable, Reason: "told to be away"}
	}
	return nil
}

// signs serves a model of texts that answers with a sign, and gives its configuration under a name.
func signs(t *testing.T, name, sign string, away *atomic.Bool) string {
	t.Helper()
	driver := signed{reader{func([]byte) string { return fmt.Sprintf("%q", sign) }}, away}
	address := backendtest.Serve(t, &backendtest.Server{Model: "m", Driver: driver})
	return fmt.Sprintf(`
  - name: %s
    backend: {oip: {targets: [%q], model: m}}
    input: {kind: document}
    output: {decoder: json}
    deadline: 30s`, name, address)
}

// reloading is a router whose configuration a test changes.
type reloading struct {
	*running
	t    *testing.T
	file string
}

func newReloading(t *testing.T, models ...string) *reloading {
	t.Helper()
	r := &reloading{t: t, file: filepath.Join(t.TempDir(), "router.yaml")}
	r.write("", models...)
	r.running = launch(t, "--config", r.file)
	return r
}

// write puts a configuration in the place of the one before, in one step.
func (r *reloading) write(other string, models ...string) {
	r.t.Helper()
	text := other + "\nmodels:" + strings.Join(models, "") + "\n"
	if err := errors.Join(os.WriteFile(r.file+".new", []byte(text), 0o600), os.Rename(r.file+".new", r.file)); err != nil {
		r.t.Fatal(err)
	}
}

// reads has the router read what is written, until the metric has counted so many of a result.
func (r *reloading) reads(result string, count int) {
	r.t.Helper()
	r.hangups <- syscall.SIGHUP
	r.counted(result, count)
}

func (r *reloading) counted(result string, count int) {
	r.t.Helper()
	line := fmt.Sprintf("sluice_router_config_reloads_total{result=%q} %d\n", result, count)
	r.await(line, func() bool {
		_, metrics := r.get(r.t, "/metrics")
		return strings.Contains(metrics, line)
	})
}

func (r *reloading) await(what string, holds func() bool) {
	r.t.Helper()
	deadline := time.NewTimer(60 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-deadline.C:
			r.t.Fatalf("not in a minute: %s\n%s", what, r.logs)
		case <-tick.C:
		}
	}
}

func (r *reloading) models() (names []string) {
	r.t.Helper()
	list, err := sluicev1.NewInspectServiceClient(r.conn).ListModels(r.t.Context(), &sluicev1.ListModelsRequest{})
	if err != nil {
		r.t.Fatal(err)
	}
	for _, m := range list.GetModels() {
		names = append(names, m.GetName())
	}
	return names
}

// caller is an edge that sends texts and goes by what the router says it needs.
type caller struct {
	t        *testing.T
	stream   grpc.BidiStreamingClient[sluicev1.StreamRequest, sluicev1.StreamResponse]
	opened   *sluicev1.Opened
	sequence uint32
}

func (r *reloading) call(models ...string) *caller {
	r.t.Helper()
	stream, err := sluicev1.NewRouterServiceClient(r.conn).Stream(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	if err := stream.Send(&sluicev1.StreamRequest{Body: &sluicev1.StreamRequest_Open{Open: &sluicev1.Open{Session: new("s"), Models: models}}}); err != nil {
		r.t.Fatal(err)
	}
	c := &caller{t: r.t, stream: stream}
	c.recv(func(m *sluicev1.StreamResponse) bool { return m.GetOpened() != nil })
	return c
}

// recv receives until something holds.
func (c *caller) recv(holds func(*sluicev1.StreamResponse) bool) *sluicev1.StreamResponse {
	c.t.Helper()
	for {
		m, err := c.stream.Recv()
		if err != nil {
			c.t.Fatal(err)
		}
		if m.GetOpened() != nil {
			c.opened = m.GetOpened()
		}
		if holds(m) {
			return m
		}
	}
}

// ask sends a text to a model and gives what became of it: the answer, the drop's reason or the error's code.
func (c *caller) ask(model string) string {
	c.t.Helper()
	c.sequence++
	now := time.Now()
	f := media.Frame{Stream: "texts", Sequence: c.sequence, Due: []media.Due{{Model: model, Deadline: now.Add(30 * time.Second)}}, Payload: media.Payload{[]byte(`"?"`)}}
	for _, m := range c.opened.GetModels() {
		if m.GetName() == model {
			f.InputID = m.GetInputId()
		}
	}
	if err := c.stream.Send(&sluicev1.StreamRequest{Body: &sluicev1.StreamRequest_Frame{Frame: wire.FrameToProto(&f, now)}}); err != nil {
		c.t.Fatal(err)
	}
	o := c.recv(func(m *sluicev1.StreamResponse) bool { return m.GetOutcome().GetSequence() == c.sequence }).GetOutcome()
	switch {
	case o.GetDrop() != nil:
		return o.GetDrop().GetReason().String()
	case o.GetError() != nil:
		return o.GetError().GetCode().String()
	default:
		return o.GetResult().GetJson()[0]
	}
}

func (c *caller) names() (names []string) {
	for _, m := range c.opened.GetModels() {
		names = append(names, m.GetName())
	}
	return names
}

// has fails the test unless the call's models, told anew, are these.
func (c *caller) has(names ...string) {
	c.t.Helper()
	if !slices.Equal(c.names(), names) {
		c.recv(func(m *sluicev1.StreamResponse) bool { return m.GetOpened() != nil && slices.Equal(c.names(), names) })
	}
}

// TestReload adds, changes and removes models while two sessions go on.
func TestReload(t *testing.T) {
	t.Parallel()
	first, second := signs(t, "first", "1", nil), signs(t, "second", "2", nil)
	r := newReloading(t, first, second)
	all, named := r.call(), r.call("second", "first")
	if all.ask("first") != `"1"` || named.ask("second") != `"2"` {
		t.Fatal("the models do not answer as themselves")
	}

	r.write("", first, second, signs(t, "third", "3", nil))
	r.reads("applied", 1)
	all.has("first", "second", "third")
	if got := all.ask("third"); got != `"3"` {
		t.Errorf("a model that was added: %s", got)
	}

	r.write("", signs(t, "first", "one", nil), second)
	r.reads("applied", 2)
	all.has("first", "second")
	for _, c := range []*caller{all, named} {
		if one, two := c.ask("first"), c.ask("second"); one != `"one"` || two != `"2"` {
			t.Errorf("after a change: %s, %s", one, two)
		}
	}
	if got := all.ask("third"); got != "EXPIRED" && got != "DRAINING" {
		t.Errorf("a model that was removed: %s", got)
	}

	r.write("", second)
	r.reads("applied", 3)
	named.has("second")
	if got := named.ask("second"); got != `"2"` {
		t.Errorf("what stayed: %s", got)
	}
	list, err := sluicev1.NewInspectServiceClient(r.conn).ListSessions(t.Context(), &sluicev1.ListSessionsRequest{})
	if err != nil || len(list.GetSessions()) != 2 || len(list.GetTotals()) != 3 {
		t.Fatalf("%v, %v", list, err)
	}
	for i, want := range []uint32{3, 4, 1} {
		if total := list.GetTotals()[i]; total.GetResults() != want || total.GetInFlight() != 0 {
			t.Errorf("totals %v, want %d results", total, want)
		}
	}
	stopped(t, r.running)
}

// stopped ends a router.
func stopped(t *testing.T, r *running) {
	t.Helper()
	if err := r.stop(); err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("the router ended with %v", err)
	}
}

// TestReloadRefuses reads what cannot be used: everything stays as it was.
func TestReloadRefuses(t *testing.T) {
	t.Parallel()
	first := signs(t, "first", "1", nil)
	numbers := backendtest.Serve(t, &backendtest.Server{Model: "m", Driver: backendtest.NewFake("fake", backend.Config{Input: tensor.Raw{Datatype: media.FP32, Shape: []int{1, 2}}})})
	r := newReloading(t, first)
	c := r.call()
	for i, text := range []string{
		"this: is none",
		first + "\n    rate: -1",
		first + first,
		first + "\n  - name: nowhere\n    backend: {onnx: {path: nowhere.onnx}}\n    input: {kind: tensor, dtype: FP32, shape: [1]}\n    output: {decoder: tensors}",
		// What the server has does not fit, be the model new or in the place of another.
		first + fmt.Sprintf("\n  - name: other\n    backend: {oip: {targets: [%q], model: m}}\n    input: {kind: tensor, dtype: FP32, shape: [1, 3]}\n    output: {decoder: tensors}", numbers),
		fmt.Sprintf("\n  - name: first\n    backend: {oip: {targets: [%q], model: m}}\n    input: {kind: document}\n    output: {decoder: json}", numbers),
		first + fmt.Sprintf("\n  - name: large\n    backend: {oip: {targets: [%q], model: m}}\n    input: {width: 8000, height: 8000, fit: stretch, color: RGB, layout: NCHW, dtype: FP32}\n    output: {decoder: tensors}", numbers),
	} {
		r.write("", text)
		r.reads("refused", i+1)
		if got := r.models(); !slices.Equal(got, []string{"first"}) {
			t.Errorf("%s: the models are %v", text, got)
		}
		if got := c.ask("first"); got != `"1"` {
			t.Errorf("%s: the model that stays: %s", text, got)
		}
	}
	for _, want := range []string{"the configuration is refused", "nowhere.onnx", "configured", "served", "restart the router"} {
		if !strings.Contains(r.logs.String(), want) {
			t.Errorf("the log does not say %q:\n%s", want, r.logs)
		}
	}
	r.write("log: {level: debug}\nadmin: {pprof: true}", first)
	r.reads("applied", 1)
	if !strings.Contains(r.logs.String(), "takes a restart") || !strings.Contains(r.logs.String(), "[admin log]") {
		t.Errorf("the log does not name the keys that take a restart:\n%s", r.logs)
	}
	stopped(t, r.running)
}

// TestReloadWaitsForAChangedModel has the old model serve until the new one is ready; another hangup has the waiting end.
func TestReloadWaitsForAChangedModel(t *testing.T) {
	t.Parallel()
	first := signs(t, "first", "1", nil)
	r := newReloading(t, first)
	c := r.call()
	var away atomic.Bool
	away.Store(true)
	changed := signs(t, "first", "one", &away)
	waiting := func(times int) func() bool {
		return func() bool { return strings.Count(r.logs.String(), "all models stay as they are until it is") == times }
	}
	r.write("", changed, signs(t, "second", "2", &away)) // a new name waits for nobody, but comes with the others
	r.hangups <- syscall.SIGHUP
	r.await("the router waits", waiting(1))
	if got := c.ask("first"); got != `"1"` {
		t.Errorf("while the new model is away: %s", got)
	}
	r.write("", first)
	r.hangups <- syscall.SIGHUP
	r.counted("superseded", 1)
	r.counted("applied", 1)
	if got := c.ask("first"); got != `"1"` {
		t.Errorf("when all is as before: %s", got)
	}
	r.write("", changed)
	r.hangups <- syscall.SIGHUP
	r.await("the router waits again", waiting(2))
	away.Store(false)
	r.counted("applied", 2)
	if got := c.ask("first"); got != `"one"` {
		t.Errorf("when the new model is ready: %s", got)
	}
	stopped(t, r.running)
}

// TestReloadWhileItEnds ends the router while it waits for a changed model.
func TestReloadWhileItEnds(t *testing.T) {
	t.Parallel()
	r := newReloading(t, signs(t, "first", "1", nil))
	var away atomic.Bool
	away.Store(true)
	r.write("", signs(t, "first", "one", &away))
	r.hangups <- syscall.SIGHUP
	r.await("the router waits", func() bool { return strings.Contains(r.logs.String(), "until it is") })
	stopped(t, r.running)
}

// TestReloadUnderLoad has two sessions ask without a pause while models come, change and go: every text has one outcome, and the books balance.
func TestReloadUnderLoad(t *testing.T) {
	t.Parallel()
	stays, goes, changed := signs(t, "stays", "s", nil), signs(t, "goes", "g", nil), signs(t, "changes", "c2", nil)
	r := newReloading(t, stays, goes, signs(t, "changes", "c1", nil))
	done := make(chan struct{})
	var asking sync.WaitGroup
	asked := make([]map[string]int, 2)
	for i := range asked {
		c := r.call()
		asked[i] = map[string]int{}
		asking.Go(func() {
			for {
				for _, model := range []string{"stays", "goes", "changes"} {
					got := c.ask(model)
					asked[i][model]++
					if model == "stays" && got != `"s"` {
						t.Errorf("the model that stays: %s", got)
					}
				}
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	for i := range 6 {
		if i%2 == 0 {
			r.write("", stays, changed)
		} else {
			r.write("", goes, stays, signs(t, "changes", "c1", nil))
		}
		r.reads("applied", i+1)
	}
	close(done)
	asking.Wait()
	list, err := sluicev1.NewInspectServiceClient(r.conn).ListSessions(t.Context(), &sluicev1.ListSessionsRequest{})
	if err != nil || len(list.GetSessions()) != 2 {
		t.Fatalf("%v, %v: both sessions should be open", list, err)
	}
	for _, total := range list.GetTotals() {
		if want := asked[0][total.GetModel()] + asked[1][total.GetModel()]; int(total.GetAccepted()) != want || total.GetInFlight() != 0 {
			t.Errorf("totals %v, want %d accepted", total, want)
		}
	}
	stopped(t, r.running)
}

// TestWatchedFile changes the file, as Kubernetes does with a link to it, without a signal.
func TestWatchedFile(t *testing.T) {
	t.Parallel()
	const watch = "watch: 100ms"
	r := &reloading{t: t, file: filepath.Join(t.TempDir(), "router.yaml")}
	first, second := signs(t, "first", "1", nil), signs(t, "second", "2", nil)
	r.write(watch, first)
	link := filepath.Join(t.TempDir(), "link.yaml")
	lead := func() {
		t.Helper()
		if err := errors.Join(os.Symlink(r.file, link+".new"), os.Rename(link+".new", link)); err != nil {
			t.Fatal(err)
		}
	}
	lead()
	r.running = launch(t, "--config", link)
	if got := r.models(); !slices.Equal(got, []string{"first"}) {
		t.Errorf("models %v at first", got)
	}
	r.write(watch, first, second)
	r.counted("applied", 1)
	if got := r.models(); !slices.Equal(got, []string{"first", "second"}) {
		t.Errorf("models %v after the file changed", got)
	}
	r.write("models: [")
	r.counted("refused", 1)
	r.file = filepath.Join(t.TempDir(), "next.yaml")
	r.write(watch, second)
	lead()
	r.counted("applied", 2)
	if got := r.models(); !slices.Equal(got, []string{"second"}) {
		t.Errorf("models %v after the link led to another file", got)
	}
	if err := os.Remove(r.file); err != nil {
		t.Fatal(err)
	}
	r.await("the file is missed", func() bool { return strings.Contains(r.logs.String(), "cannot be looked at") })
	r.write(watch, first, second)
	r.counted("applied", 3)
}
