package backend_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/pkg/tensor"
	"github.com/sluice-dev/sluice/services/router/internal/backend"
	"github.com/sluice-dev/sluice/services/router/internal/backend/backendtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func config() backend.Config {
	return backend.Config{
		Name:     "m",
		Input:    tensor.Picture{Width: 2, Height: 2, Layout: tensor.NCHW, Datatype: media.FP32, Scale: [3]float64{1, 1, 1}},
		MaxBatch: 3,
	}
}

func frames(n int) []backend.Frame {
	list := make([]backend.Frame, n)
	for i := range list {
		list[i].Frame = &media.Frame{Payload: media.Payload{bytes.Repeat([]byte{byte(i)}, 12)}}
	}
	return list
}

// sized makes frames with payloads of so many bytes.
func sized(sizes ...int) []backend.Frame {
	list := make([]backend.Frame, len(sizes))
	for i, size := range sizes {
		list[i].Frame = &media.Frame{Payload: media.Payload{make([]byte, size)}}
	}
	return list
}

func newModel(t *testing.T, c backend.Config, drivers ...backend.Driver) *backend.Model {
	t.Helper()
	m, err := backend.New(c, drivers...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return m
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	fake := backendtest.NewFake("a", config())
	for _, c := range []struct {
		name    string
		change  func(*backend.Config)
		drivers []backend.Driver
		want    string
	}{
		{"an input that cannot be", func(c *backend.Config) { c.Input = tensor.Picture{Width: 1, Height: 1, Layout: "HW"} }, []backend.Driver{fake}, `layout "HW"`},
		{"no batch", func(c *backend.Config) { c.MaxBatch = 0 }, []backend.Driver{fake}, "at least 1"},
		{"states of what is no sound", func(c *backend.Config) { c.States = []backend.StatePair{{Input: "h", Output: "hn"}} }, []backend.Driver{fake}, "windows of sound"},
		{"no targets", func(*backend.Config) {}, nil, "no targets"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			configured := config()
			c.change(&configured)
			if _, err := backend.New(configured, c.drivers...); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("New = %v, want an error with %q", err, c.want)
			}
		})
	}
}

func TestReadiness(t *testing.T) {
	t.Parallel()
	fake := backendtest.NewFake("a", config())
	m := newModel(t, config(), fake)
	unavailable := func(when string, err error) {
		t.Helper()
		if backend.CodeOf(err) != media.BackendUnavailable {
			t.Errorf("%s: %v, want %s", when, err, media.BackendUnavailable)
		}
	}
	unavailable("ready before a check", m.Available())
	_, err := m.Infer(t.Context(), 0, frames(1))
	unavailable("inference before a check", err)
	if fake.Batches() != 0 {
		t.Error("the target was asked before it was checked")
	}

	if err := m.Check(t.Context()); err != nil {
		t.Fatalf("Check: %v", err)
	}
	if err := m.Available(); err != nil {
		t.Errorf("Available: %v", err)
	}
	trials := fake.Batches()
	if err := m.Check(t.Context()); err != nil || trials == 0 || fake.Batches() != trials {
		t.Errorf("a second check: %v, %d batches after %d; want no more trials", err, fake.Batches(), trials)
	}

	fake.Away.Store(true)
	unavailable("check of a target that went", m.Check(t.Context()))
	unavailable("ready without targets", m.Available())
	_, err = m.Infer(t.Context(), 0, frames(1))
	unavailable("inference without targets", err)

	fake.Away.Store(false)
	if err := m.Check(t.Context()); err != nil || fake.Batches() != 2*trials {
		t.Errorf("a target that came back: %v, %d batches after %d; want new trials", err, fake.Batches(), trials)
	}
}

func TestCheckThatIsGivenUpChangesNothing(t *testing.T) {
	t.Parallel()
	fake := backendtest.NewFake("a", config())
	m := newModel(t, config(), fake)
	if err := m.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	fake.Away.Store(true)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := m.Check(ctx); err != nil {
		t.Errorf("Check = %v, want what was known before", err)
	}
}

// TestTrialFails shows that a target which cannot do a full batch is not ready, although it says so.
func TestTrialFails(t *testing.T) {
	t.Parallel()
	fake := backendtest.NewFake("a", config())
	fake.Hook = func(_ context.Context, input media.RawTensor, _ *backend.Output) error {
		if input.Shape[0] > 1 {
			return backend.Fail(media.BackendRejected, "refused", "batch-size must be <= 1")
		}
		return nil
	}
	var log bytes.Buffer
	c := config()
	c.Logger = slog.New(slog.NewTextHandler(&log, nil))
	m := newModel(t, c, fake)
	if err := m.Check(t.Context()); backend.CodeOf(err) != media.BackendRejected {
		t.Errorf("Check = %v, want %s", err, media.BackendRejected)
	}
	if !strings.Contains(log.String(), "batch-size must be <= 1") || !strings.Contains(log.String(), "target=a") {
		t.Errorf("the log does not say what the target said: %s", log.String())
	}
	if err := m.Available(); err == nil || strings.Contains(err.Error(), "batch-size") {
		t.Errorf("Available = %v, want an error without the target's words", err)
	}
}

// TestTwoTargets sees each batch on the target that it is for, and each target's own readiness.
func TestTwoTargets(t *testing.T) {
	t.Parallel()
	fakes := []*backendtest.Fake{backendtest.NewFake("a", config()), backendtest.NewFake("b", config())}
	m := newModel(t, config(), fakes[0], fakes[1])
	if err := m.Check(t.Context()); err != nil || m.Targets() != 2 {
		t.Fatalf("Check: %v, %d targets", err, m.Targets())
	}
	infer := func(target int) error {
		t.Helper()
		before := [2]int{fakes[0].Batches(), fakes[1].Batches()}
		reply, err := m.Infer(t.Context(), target, frames(1))
		if err == nil {
			reply.Release()
		}
		before[target]++
		if got := [2]int{fakes[0].Batches(), fakes[1].Batches()}; err == nil && got != before {
			t.Errorf("%v batches after one for target %d, want %v", got, target, before)
		}
		return err
	}
	for _, away := range [][2]bool{{false, false}, {true, false}, {false, true}, {true, true}} {
		for i := range fakes {
			fakes[i].Away.Store(away[i])
		}
		if err := m.Check(t.Context()); (err != nil) != (away[0] && away[1]) {
			t.Errorf("Check with away %v = %v", away, err)
		}
		for i := range fakes {
			want := media.NoError
			if away[i] {
				want = media.BackendUnavailable
			}
			if got := backend.CodeOf(m.Ready(i)); got != want {
				t.Errorf("away %v: target %d is %s, want %s", away, i, got, want)
			}
			if got := backend.CodeOf(infer(i)); got != want {
				t.Errorf("away %v: a batch on target %d: %s, want %s", away, i, got, want)
			}
		}
	}
}

func TestInferRefusesWhatIsNoBatch(t *testing.T) {
	t.Parallel()
	m := newModel(t, config(), backendtest.NewFake("a", config()))
	if err := m.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	for name, list := range map[string][]backend.Frame{
		"nothing": nil, "too many": frames(4), "a short payload": sized(11), "a long payload": sized(12, 13),
	} {
		if _, err := m.Infer(t.Context(), 0, list); backend.CodeOf(err) != media.Internal {
			t.Errorf("%s: %v, want %s", name, err, media.Internal)
		}
	}
}

// TestWrongAnswers fails the whole batch, and gives the driver's memory back.
func TestWrongAnswers(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		hook func(*backend.Output) error
		want media.ErrorCode
	}{
		{"a tensor less", func(o *backend.Output) error { o.Tensors = o.Tensors[1:]; return nil }, media.BackendProtocol},
		{"a frame less", func(o *backend.Output) error { o.Tensors[0].Shape = []int{1}; return nil }, media.BackendProtocol},
		{"a refusal", func(*backend.Output) error { return backend.Fail(media.BackendRejected, "no", "words") }, media.BackendRejected},
		{"an error of no kind", func(*backend.Output) error { return errors.New("boom") }, media.Internal},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			fake := backendtest.NewFake("a", config())
			var log bytes.Buffer
			configured := config()
			configured.Logger = slog.New(slog.NewTextHandler(&log, nil))
			m := newModel(t, configured, fake)
			if err := m.Check(t.Context()); err != nil {
				t.Fatal(err)
			}
			released := 0
			fake.Hook = func(_ context.Context, _ media.RawTensor, o *backend.Output) error {
				o.Release = func() { released++ }
				return c.hook(o)
			}
			_, err := m.Infer(t.Context(), 0, frames(2))
			var e *backend.Error
			if !errors.As(err, &e) || e.Code != c.want || e.Target != "a" {
				t.Errorf("Infer = %v, want %s at a", err, c.want)
			}
			if want := c.want == media.BackendProtocol; (released == 1) != want {
				t.Errorf("memory given back %d times", released)
			}
			if !strings.Contains(log.String(), c.want.String()) {
				t.Errorf("the failure is not logged: %s", log.String())
			}
		})
	}
}

func TestReleaseOnce(t *testing.T) {
	t.Parallel()
	fake := backendtest.NewFake("a", config())
	m := newModel(t, config(), fake)
	if err := m.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	released := 0
	fake.Hook = func(_ context.Context, _ media.RawTensor, o *backend.Output) error {
		o.Release = func() { released++ }
		return nil
	}
	reply, err := m.Infer(t.Context(), 0, frames(3))
	if err != nil {
		t.Fatal(err)
	}
	// Pixel i of the batch is i, and the second output repeats it as a float.
	if first := reply.Frame(2)[1]; first.Name != "first" || !bytes.Equal(first.Data, []byte{0, 0, 0, 0x40}) {
		t.Errorf("frame 2 = %+v", first)
	}
	if released != 0 {
		t.Error("released too early")
	}
	reply.Release()
	reply.Release()
	if released != 1 {
		t.Errorf("released %d times", released)
	}
}

// TestHungTarget is cut off by the context, and counts as slow, not as gone.
func TestHungTarget(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		fake := backendtest.NewFake("a", config())
		m := newModel(t, config(), fake)
		if err := m.Check(t.Context()); err != nil {
			t.Fatal(err)
		}
		fake.Hook = func(ctx context.Context, _ media.RawTensor, _ *backend.Output) error {
			<-ctx.Done()
			return errors.New("whatever a driver says then")
		}
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		start := time.Now()
		_, err := m.Infer(ctx, 0, frames(1))
		if backend.CodeOf(err) != media.BackendTimeout || time.Since(start) != 200*time.Millisecond {
			t.Errorf("Infer = %v after %v, want %s after 200 ms", err, time.Since(start), media.BackendTimeout)
		}
	})
}

func TestWatch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		fake := backendtest.NewFake("a", config())
		m := newModel(t, config(), fake)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			m.Watch(ctx)
		}()
		steps := []struct {
			away  bool
			ready bool
		}{{true, false}, {false, true}, {true, false}, {false, true}}
		for i, step := range steps {
			fake.Away.Store(step.away)
			<-time.After(1100 * time.Millisecond)
			synctest.Wait()
			if got := m.Available() == nil; got != step.ready {
				t.Errorf("step %d: ready = %v, want %v", i, got, step.ready)
			}
		}
		cancel()
		<-done
	})
}
