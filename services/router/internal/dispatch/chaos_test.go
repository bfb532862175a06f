package dispatch

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/services/router/internal/backend"
	"github.com/sluice-dev/sluice/services/router/internal/reply"
)

func newForTest(cfg Config) (*Dispatcher, error) {
	cfg.Registry, cfg.Logger = prometheus.NewRegistry(), slog.New(slog.DiscardHandler)
	return New(cfg)
}

// unreliable answers after a random time, correctly or not, minding its context or not.
func unreliable(random func() *rand.Rand) func(context.Context, []backend.Frame) []reply.Answer {
	return func(ctx context.Context, frames []backend.Frame) []reply.Answer {
		r := random()
		took, kind := time.Duration(r.IntN(150))*ms, r.IntN(10)
		if kind == 0 {
			<-time.After(4 * took) // hangs, deaf to its context
			return echoes(frames)
		}
		select {
		case <-time.After(took):
		case <-ctx.Done():
			return reply.All(len(frames), media.BackendTimeout)
		}
		switch kind {
		case 1:
			return reply.All(len(frames), media.BackendProtocol)
		case 2:
			return echoes(frames)[1:]
		case 3:
			panic("unreliable")
		}
		return echoes(frames)
	}
}

// TestEveryFrameEndsOnce lets sessions come, send and go at random on models that answer at random, and then checks the books: the promise of the package
// and the invariants of the design's section 5.
func TestEveryFrameEndsOnce(t *testing.T) {
	t.Parallel()
	for seed := range uint64(20) {
		for name, kind := range map[string]func(string, Runner) ModelConfig{"pictures": modelConfig, "sound": listener} {
			t.Run(fmt.Sprint(name, " ", seed), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) { chaos(t, rand.New(rand.NewPCG(seed, 2)), kind) })
			})
		}
	}
}

// exclusive lets a runner fail the test when two batches use one state at the same time.
func exclusive(t *testing.T, run func(context.Context, []backend.Frame) []reply.Answer) func(context.Context, []backend.Frame) []reply.Answer {
	t.Helper()
	var mu sync.Mutex
	using := map[*backend.State]bool{}
	mark := func(frames []backend.Frame, used bool) {
		mu.Lock()
		defer mu.Unlock()
		for _, f := range frames {
			if f.State != nil && used && using[f.State] {
				t.Errorf("stream %s of %s: its state is used by two frames at once", f.Stream, f.Session)
			}
			using[f.State] = used
		}
	}
	return func(ctx context.Context, frames []backend.Frame) []reply.Answer {
		mark(frames, true)
		defer mark(frames, false)
		return run(ctx, frames)
	}
}

func chaos(t *testing.T, random *rand.Rand, kind func(string, Runner) ModelConfig) {
	t.Helper()
	// Each batch gets a source of its own, drawn in the order of the model's batches.
	run := func() func(context.Context, []backend.Frame) []reply.Answer {
		seeds := make(chan uint64, 1<<13)
		for range cap(seeds) {
			seeds <- random.Uint64()
		}
		return exclusive(t, unreliable(func() *rand.Rand { return rand.New(rand.NewPCG(<-seeds, 1)) }))
	}
	quick, slow := kind("quick", &runner{run: run()}), kind("slow", &runner{run: run()})
	quick.Slots, slow.MaxBatch = 2, 2
	b := newBed(t, quick, slow)

	type pair struct {
		stream   string
		sequence uint32
		model    string
	}
	type times struct{ arrived, deadline time.Duration }
	sessions := map[*session]map[pair]times{} // what each submitted
	var owners []*session
	for i := range 5 {
		s := b.session(fmt.Sprint("s", i))
		owners, sessions[s] = append(owners, s), map[pair]times{}
	}
	submitted := 0
	for sequence := range uint32(400) {
		s := owners[random.IntN(len(owners))]
		stream, in := fmt.Sprint("stream", random.IntN(2)), time.Duration(random.IntN(260)-10)*ms
		models := [][]string{{"quick"}, {"slow"}, {"quick", "slow"}}[random.IntN(3)]
		for _, m := range models {
			sessions[s][pair{stream, sequence + 1, m}] = times{time.Since(b.start), time.Since(b.start) + in}
		}
		submitted += len(models)
		b.submit(s, stream, sequence+1, fmt.Sprintf("%s/%s/%d", s.id, stream, sequence+1), in, models...)
		if random.IntN(20) == 0 {
			b.Forget(s, stream)
		}
		advance(time.Duration(random.IntN(12)) * ms)
	}
	advance(2 * time.Second)

	results := 0
	for s, pairs := range sessions {
		last := map[pair]uint32{} // result, by stream and model
		for _, o := range s.take() {
			p := pair{o.Stream, o.Sequence, o.Model}
			at, open := pairs[p]
			if !open {
				t.Fatalf("session %s: second or foreign outcome %+v", s.id, o.Outcome)
			}
			delete(pairs, p)
			latest := at.deadline
			if o.Result == nil { // What was over on arrival has its outcome then: that of a stream that is barred is an error.
				latest = max(at.deadline, at.arrived)
			}
			if o.at > latest+ms && o.Drop != media.Expired {
				t.Errorf("session %s: outcome %v after its deadline: %+v", s.id, o.at-at.deadline, o.Outcome)
			}
			if o.Result != nil {
				results++
				line := pair{stream: o.Stream, model: o.Model}
				if quick.Input.Kind == media.KindSound && o.Sequence < last[line] {
					t.Errorf("session %s: the result of window %d of %s after that of %d", s.id, o.Sequence, o.Stream, last[line])
				}
				last[line] = o.Sequence
				if want := fmt.Sprintf("%s/%s/%d", s.id, o.Stream, o.Sequence); o.Result.JSON[0] != want {
					t.Fatalf("session %s: the result of %s for %s", s.id, o.Result.JSON[0], want)
				}
			}
		}
		if len(pairs) > 0 {
			t.Errorf("session %s: %d frames without an outcome", s.id, len(pairs))
		}
	}
	if results == 0 {
		t.Error("not one result: the test shows nothing")
	}
	if b.payloadsReleased() != 400 {
		t.Errorf("%d payloads released, want 400", b.payloadsReleased())
	}
	if err := b.stop(); err != nil {
		t.Error(err)
	}
	checkBooks(t, b, submitted)
}

// checkBooks compares totals and metrics: accepted is the sum of the outcomes, in both.
func checkBooks(t *testing.T, b *bed, submitted int) {
	t.Helper()
	var accepted uint32
	for _, c := range b.Totals() {
		accepted += c.Accepted
		ended := c.Results
		for _, n := range c.Drops {
			ended += n
		}
		for _, n := range c.Errors {
			ended += n
		}
		if ended != c.Accepted || c.InFlight != 0 {
			t.Errorf("model %s: %d ended of %d accepted, %d in flight", c.Model, ended, c.Accepted, c.InFlight)
		}
		if got := sum(t, b, "sluice_router_outcomes_total", c.Model, ""); got != float64(ended) {
			t.Errorf("model %s: metrics count %v outcomes, the totals %d", c.Model, got, ended)
		}
		if got := sum(t, b, "sluice_router_outcomes_total", c.Model, "result"); got != float64(c.Results) {
			t.Errorf("model %s: metrics count %v results, the totals %d", c.Model, got, c.Results)
		}
		if got := sum(t, b, "sluice_router_accepted_total", c.Model, ""); got != float64(c.Accepted) {
			t.Errorf("model %s: metrics count %v accepted, the totals %d", c.Model, got, c.Accepted)
		}
		for _, gauge := range []string{"sluice_router_in_flight", "sluice_router_batches_in_flight"} {
			if got := sum(t, b, gauge, c.Model, ""); got != 0 {
				t.Errorf("model %s: %s = %v at the end", c.Model, gauge, got)
			}
		}
	}
	if int(accepted) != submitted {
		t.Errorf("%d accepted, %d submitted", accepted, submitted)
	}
}

// sum adds up a metric's series of a model, and of a kind unless empty.
func sum(t *testing.T, b *bed, name, model, kind string) float64 {
	t.Helper()
	families, err := b.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	total := 0.0
	for _, family := range families {
		if family.GetName() != name {
			continue
		}
		for _, m := range family.GetMetric() {
			labels := map[string]string{}
			for _, l := range m.GetLabel() {
				labels[l.GetName()] = l.GetValue()
			}
			if labels["model"] == model && (kind == "" || labels["kind"] == kind) {
				total += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return total
}
