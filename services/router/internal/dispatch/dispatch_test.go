package dispatch

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluice-dev/sluice/pkg/batch"
	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/services/router/internal/backend"
	"github.com/sluice-dev/sluice/services/router/internal/reply"
)

const ms = time.Millisecond

func TestBatchesAcrossSessions(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := &runner{run: echo(10 * ms)}
		b := newBed(t, modelConfig("faces", r))
		s1, s2, s3 := b.session("s1"), b.session("s2"), b.session("s3")
		b.submit(s1, "camera", 1, "s1#1", 250*ms, "faces")
		synctest.Wait() // the first goes alone, at once; the others wait for the slot
		b.submit(s1, "camera", 2, "s1#2", 250*ms, "faces")
		b.submit(s2, "camera", 1, "s2#1", 240*ms, "faces")
		b.submit(s3, "camera", 1, "s3#1", 245*ms, "faces")
		advance(30 * ms)
		want := [][]string{{"s1#1"}, {"s2#1", "s3#1", "s1#2"}}
		if got := r.seen(); !slices.EqualFunc(got, want, slices.Equal) {
			t.Errorf("batches %v, want %v", got, want)
		}
		for _, s := range []*session{s1, s2, s3} {
			for _, o := range s.take() {
				if text := fmt.Sprintf("%s#%d", s.id, o.Sequence); o.Session != s.id || o.Result.JSON[0] != text {
					t.Errorf("session %s got %+v, want the result of %s", s.id, o.Outcome, text)
				}
				if o.Sequence == 2 && (o.BatchSize != 3 || o.Timings.Queue != 10*ms || o.Timings.Infer != 10*ms) {
					t.Errorf("batch of %d, queue %v, infer %v; want 3, 10ms, 10ms", o.BatchSize, o.Timings.Queue, o.Timings.Infer)
				}
			}
		}
		if err := b.stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestNewestWinsBeforeItCosts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := &runner{run: echo(50 * ms)}
		b := newBed(t, modelConfig("faces", r))
		s := b.session("s")
		for i := range 4 {
			b.submit(s, "camera", uint32(i+1), fmt.Sprint(i+1), 250*ms, "faces")
			advance(10 * ms)
		}
		advance(100 * ms)
		expect(t, s, wants{2, "SUPERSEDED", 20}, wants{3, "SUPERSEDED", 30}, wants{1, "result", 50}, wants{4, "result", 100})
		if got := r.seen(); len(got) != 2 {
			t.Errorf("batches %v: superseded frames cost model time", got)
		}
		_ = b.stop()
	})
}

func TestExpiredBeforeItCosts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := &runner{run: echo(100 * ms)}
		b := newBed(t, modelConfig("faces", r))
		s, other := b.session("s"), b.session("other")
		b.submit(s, "camera", 1, "1", 250*ms, "faces")
		advance(0)
		b.submit(other, "camera", 1, "x", 40*ms, "faces")      // over before the slot is free
		b.submit(other, "late", 1, "y", -time.Second, "faces") // was over on arrival
		advance(200 * ms)
		expect(t, other, wants{1, "EXPIRED", 0}, wants{1, "EXPIRED", 40})
		expect(t, s, wants{1, "result", 100})
		if got := r.seen(); len(got) != 1 {
			t.Errorf("batches %v: expired frames cost model time", got)
		}
		_ = b.stop()
	})
}

// TestRouterOwnsTheDeadline hangs a backend that ignores its context.
func TestRouterOwnsTheDeadline(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		r := &runner{run: hang(release)}
		b := newBed(t, modelConfig("faces", r))
		s := b.session("s")
		b.submit(s, "camera", 1, "1", 100*ms, "faces")
		advance(20 * ms)
		b.submit(s, "camera", 2, "2", 100*ms, "faces")
		advance(280 * ms)
		expect(t, s, wants{1, "BACKEND_TIMEOUT", 100}, wants{2, "EXPIRED", 120})
		if got := b.payloadsReleased(); got != 1 {
			t.Errorf("%d payloads released, want 1: the backend still reads the other", got)
		}
		close(release)
		advance(0)
		expect(t, s) // the late answer is nobody's
		if got := b.payloadsReleased(); got != 2 {
			t.Errorf("%d payloads released when the backend came back, want 2", got)
		}
		b.submit(s, "camera", 3, "3", 100*ms, "faces")
		advance(0)
		expect(t, s, wants{3, "result", 300})
		if c := b.Totals()[0]; c.Accepted != 3 || c.Results != 1 || c.Late != 1 || c.InFlight != 0 || c.Drops[media.Expired] != 1 || c.Errors[media.BackendTimeout] != 1 {
			t.Errorf("totals %+v", c)
		}
		_ = b.stop()
	})
}

func TestTimeoutOfEachFrameInABatch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := &runner{run: echo(150 * ms)}
		b := newBedOf(t, nil, modelConfig("faces", r))
		a, c := b.session("a"), b.session("c")
		b.submit(a, "camera", 1, "1", 100*ms, "faces")
		b.submit(c, "camera", 1, "2", 200*ms, "faces")
		b.begin()
		advance(300 * ms)
		expect(t, a, wants{1, "BACKEND_TIMEOUT", 100})
		expect(t, c, wants{1, "result", 150})
		_ = b.stop()
	})
}

// TestBackendsMisbehave answers batches in every wrong way: each frame gets its one error and the model goes on.
func TestBackendsMisbehave(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		run  func(context.Context, []backend.Frame) []reply.Answer
		want string
	}{
		"error": {func(_ context.Context, fs []backend.Frame) []reply.Answer {
			return reply.All(len(fs), media.BackendUnavailable)
		}, "BACKEND_UNAVAILABLE"},
		"panic":        {func(context.Context, []backend.Frame) []reply.Answer { panic("boom") }, "INTERNAL"},
		"no answers":   {func(context.Context, []backend.Frame) []reply.Answer { return nil }, "INTERNAL"},
		"too many":     {func(_ context.Context, fs []backend.Frame) []reply.Answer { return append(echoes(fs), echoes(fs)...) }, "INTERNAL"},
		"empty answer": {func(_ context.Context, fs []backend.Frame) []reply.Answer { return make([]reply.Answer, len(fs)) }, "INTERNAL"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := newBed(t, modelConfig("faces", &runner{run: c.run}))
				a, z := b.session("a"), b.session("z")
				for i := range 3 {
					b.submit(a, "camera", uint32(i+1), "a", 100*ms, "faces")
					b.submit(z, "camera", uint32(i+1), "z", 100*ms, "faces")
					advance(10 * ms)
				}
				for _, s := range []*session{a, z} {
					expect(t, s, wants{1, c.want, 0}, wants{2, c.want, 10}, wants{3, c.want, 20})
				}
				if got := b.payloadsReleased(); got != 6 {
					t.Errorf("%d payloads released, want 6", got)
				}
				_ = b.stop()
			})
		})
	}
}

func TestModelsShareAFrame(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		fast, slow := &runner{run: echo(10 * ms)}, &runner{run: echo(90 * ms)}
		b := newBed(t, modelConfig("slow", slow), modelConfig("fast", fast))
		if in := b.Inputs(); len(in) != 1 || in[0].ID == 0 || in[0].Picture != input {
			t.Fatalf("inputs %+v, want one", in)
		}
		s := b.session("s")
		b.submit(s, "camera", 1, "1", 200*ms, "fast", "slow")
		advance(50 * ms)
		if got := b.payloadsReleased(); got != 0 {
			t.Error("the payload was released while the slow model reads it")
		}
		expect(t, s, wants{1, "result", 10})
		advance(50 * ms)
		expect(t, s, wants{1, "result", 90})
		if got := b.payloadsReleased(); got != 1 {
			t.Errorf("the payload was released %d times, want once", got)
		}
		_ = b.stop()
	})
}

func TestForgetAndFull(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cfg := modelConfig("faces", &runner{run: echo(50 * ms)})
		cfg.Streams = 2
		b := newBed(t, cfg)
		a, z := b.session("a"), b.session("z")
		b.submit(a, "1", 1, "", 200*ms, "faces")
		advance(0)
		b.submit(a, "2", 1, "", 200*ms, "faces")
		b.submit(z, "3", 7, "", 200*ms, "faces")
		expect(t, z, wants{7, "OVERLOADED", 0})
		b.Forget(a, "2")
		expect(t, a, wants{1, "EXPIRED", 0})
		b.submit(z, "3", 8, "", 200*ms, "faces")
		b.Forget(a, "1") // in flight: ends as if nothing had happened
		advance(100 * ms)
		expect(t, a, wants{1, "result", 50})
		expect(t, z, wants{8, "result", 100})
		_ = b.stop()
	})
}

func TestDrop(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, modelConfig("faces", &runner{}), modelConfig("pose", &runner{}))
		s := b.session("s")
		released := false
		b.Drop(&Frame{Frame: media.Frame{Sequence: 4, Due: []media.Due{{Model: "faces"}, {Model: "pose"}}, Release: func() { released = true }}, Owner: s}, media.Expired)
		expect(t, s, wants{4, "EXPIRED", 0}, wants{4, "EXPIRED", 0})
		for _, c := range b.Totals() {
			if c.Accepted != 1 || c.Drops[media.Expired] != 1 || c.InFlight != 0 {
				t.Errorf("totals %+v", c)
			}
		}
		if !released {
			t.Error("the payload was not released")
		}
		_ = b.stop()
	})
}

func TestStop(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, modelConfig("faces", &runner{run: echo(50 * ms)}))
		s := b.session("s")
		b.submit(s, "1", 1, "", 200*ms, "faces")
		advance(10 * ms)
		b.submit(s, "2", 2, "", 200*ms, "faces")
		if err := b.stop(); err != nil {
			t.Error(err)
		}
		b.submit(s, "3", 3, "", 200*ms, "faces")
		got := short(s.take())
		slices.SortFunc(got, func(a, b wants) int { return int(a.sequence) - int(b.sequence) })
		if want := []wants{{1, "BACKEND_TIMEOUT", 10}, {2, "DRAINING", 10}, {3, "DRAINING", 10}}; !slices.Equal(got, want) {
			t.Errorf("outcomes %v, want %v", got, want)
		}
	})
}

func TestStopDoesNotWaitForAHungBackend(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		cfg := modelConfig("faces", &runner{run: hang(release), more: 1})
		cfg.MaxBatch = 1
		b := newBed(t, cfg)
		s := b.session("s")
		b.submit(s, "1", 1, "", 5*time.Second, "faces")
		b.submit(s, "2", 2, "", 5*time.Second, "faces")
		advance(10 * ms)
		if err := b.stop(); err == nil {
			t.Error("no error though two batches never came back")
		}
		expect(t, s, wants{1, "BACKEND_TIMEOUT", 1010}, wants{2, "BACKEND_TIMEOUT", 1010})
		close(release)
	})
}

// lingering is an owner that takes its time for an outcome.
type lingering struct {
	takes time.Duration
	done  bool
}

func (l *lingering) Ended(*Frame, media.Outcome) {
	<-time.After(l.takes)
	l.done = true
}

func (*lingering) Demand(media.Demand) {}

// TestStopJoinsBatchesThatAreBeingDelivered stops between a batch's return and the delivery of its outcomes.
func TestStopJoinsBatchesThatAreBeingDelivered(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, modelConfig("faces", &runner{run: echo(10 * ms)}))
		owner := &lingering{takes: 100 * ms}
		b.Submit(&Frame{Frame: media.Frame{Stream: "1", Sequence: 1, Due: []media.Due{{Model: "faces", Deadline: time.Now().Add(time.Second)}}}, Owner: owner})
		advance(50 * ms)
		if err := b.stop(); err != nil {
			t.Error(err)
		}
		if !owner.done {
			t.Error("the dispatcher ended while a batch was still being delivered")
		}
	})
}

// TestIdleModelHoldsNoOwner checks that the memory of calls that are over can be had back.
func TestIdleModelHoldsNoOwner(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, modelConfig("faces", &runner{run: echo(10 * ms)}))
		s := b.session("s")
		for i := range uint32(10) {
			b.submit(s, fmt.Sprint(i), 1, "", 200*ms, "faces")
		}
		advance(time.Second)
		m := b.table.models[0]
		m.mu.Lock()
		for _, l := range m.lanes[:cap(m.lanes)] {
			if l.owner != nil {
				t.Errorf("the model still holds the owner of stream %q", l.stream)
			}
		}
		for _, f := range m.instances[0].flights[:cap(m.instances[0].flights)] {
			if f != nil {
				t.Error("the model still holds a batch that came back")
			}
		}
		m.mu.Unlock()
		if err := b.stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(*ModelConfig){
		"no name":     func(c *ModelConfig) { c.Name = "" },
		"no batch":    func(c *ModelConfig) { c.MaxBatch = 0 },
		"no slots":    func(c *ModelConfig) { c.Slots = 0 },
		"no streams":  func(c *ModelConfig) { c.Streams = 0 },
		"no deadline": func(c *ModelConfig) { c.Deadline = 0 },
		"no runner":   func(c *ModelConfig) { c.Runner = nil },
		"name twice":  func(c *ModelConfig) { c.Name = "first" },
	} {
		c := modelConfig("second", &runner{})
		spoil(&c)
		cfg := Config{Models: []ModelConfig{modelConfig("first", &runner{}), c}}
		if _, err := newForTest(cfg); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// watched is a policy whose observations a test sees.
type watched struct {
	*batch.Fresh
	seen []batch.Completion
}

func (w *watched) Observe(c batch.Completion) {
	w.seen = append(w.seen, c)
	w.Fresh.Observe(c)
}

// TestPolicyLearnsWhatTheServerComputed has a server say how long it computed, once more than can be.
func TestPolicyLearnsWhatTheServerComputed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		policy, says := &watched{Fresh: batch.NewFresh(batch.Options{})}, 6*ms
		model := modelConfig("faces", &runner{run: func(ctx context.Context, frames []backend.Frame) []reply.Answer {
			answers := echo(10*ms)(ctx, frames)
			for i := range answers {
				answers[i].Compute = says
			}
			return answers
		}})
		b := newBedOf(t, func() batch.Policy { return policy }, model)
		b.begin()
		s := b.session("s")
		for i, want := range []time.Duration{6 * ms, 10 * ms, 0} {
			says = []time.Duration{6 * ms, time.Minute, 0}[i]
			b.submit(s, "camera", uint32(i)+1, "x", 250*ms, "faces")
			advance(20 * ms)
			if len(policy.seen) != i+1 || policy.seen[i].Compute != want {
				t.Errorf("the policy was told %+v, want %v in the last", policy.seen, want)
			}
		}
		_ = b.stop()
	})
}
