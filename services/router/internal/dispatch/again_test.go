package dispatch

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/services/router/internal/backend"
	"github.com/sluice-dev/sluice/services/router/internal/reply"
)

// picky refuses batches with a frame whose payload says that it is bad, and takes 5 ms for others.
func picky(ctx context.Context, frames []backend.Frame) []reply.Answer {
	if slices.ContainsFunc(frames, func(f backend.Frame) bool { return strings.HasPrefix(string(f.Payload.Whole()), "bad") }) {
		return reply.All(len(frames), media.BackendRejected)
	}
	return echo(5*ms)(ctx, frames)
}

// TestBadFrameCostsOnlyItself puts one bad frame among 15 good ones, on one instance and on two.
func TestBadFrameCostsOnlyItself(t *testing.T) {
	t.Parallel()
	for more := range 2 {
		t.Run(fmt.Sprint(more+1, " instances"), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := &runner{run: picky, more: more}
				cfg := modelConfig("faces", r)
				cfg.MaxBatch, cfg.Streams, cfg.Deadline = 16, 32, time.Second
				b := newBed(t, cfg)
				good, bad := b.session("good"), b.session("bad")
				for i := range 200 { // what there is in the budget
					b.submit(good, "before", uint32(i+1), "good", time.Second, "faces")
					advance(10 * ms)
				}
				good.take()
				for i := range 15 {
					b.submit(good, fmt.Sprint(i), 1, "good", time.Second, "faces")
				}
				b.submit(bad, "camera", 1, "bad", time.Second, "faces")
				advance(500 * ms)
				if got := short(bad.take()); len(got) != 1 || got[0].end != "BACKEND_REJECTED" {
					t.Errorf("the bad frame: %v", got)
				}
				for _, w := range short(good.take()) {
					if w.end != "result" {
						t.Errorf("a good frame: %v", w)
					}
				}
				// From now on the stream's frames go alone, and after some bad ones they do not go at all for a while.
				before := len(r.seen())
				for i := range 10 {
					b.submit(bad, "camera", uint32(i+2), "bad", time.Second, "faces")
					b.submit(good, "0", uint32(i+2), "good", time.Second, "faces")
					advance(50 * ms)
				}
				sent := 0
				for _, batch := range r.seen()[before:] {
					if slices.Contains(batch, "bad") {
						sent++
						if len(batch) > 1 {
							t.Errorf("a frame of a stream under suspicion went with others: %v", batch)
						}
					}
				}
				if want := (mostBad - 1) * (more + 1); sent != want {
					t.Errorf("%d bad frames were sent, want %d", sent, want)
				}
				advance(barredFor)
				b.submit(bad, "camera", 100, "well again", time.Second, "faces")
				advance(50 * ms)
				got := short(bad.take())
				if last := got[len(got)-1]; last.sequence != 100 || last.end != "result" || len(b.now().models[0].suspicions) != 0 {
					t.Errorf("a good frame of the stream: %v, suspicions %v", last, b.now().models[0].suspicions)
				}
				if err := b.stop(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// TestSecondChance loses batches with one of two instances.
func TestSecondChance(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		also bool // the other instance is lost too
		then func(b *bed, s *session)
		want []wants
	}{
		{"once", false, func(*bed, *session) {}, []wants{{1, "result", 30}}},
		{"not twice", true, func(*bed, *session) {}, []wants{{1, "BACKEND_UNAVAILABLE", 40}}},
		{
			"not when a newer one waits", false, func(b *bed, s *session) { b.submit(s, "camera", 2, "", 100*ms, "faces") },
			[]wants{{1, "BACKEND_UNAVAILABLE", 20}, {2, "result", 20}},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				first := -1
				r := &runner{more: 1}
				r.on = func(ctx context.Context, i int, frames []backend.Frame) []reply.Answer {
					if first < 0 {
						first = i
					}
					if i == first || c.also {
						<-time.After(20 * ms)
						return reply.All(len(frames), media.BackendUnavailable)
					}
					return echo(10*ms)(ctx, frames)
				}
				b := newBed(t, modelConfig("faces", r))
				s := b.session("s")
				b.submit(s, "camera", 1, "", 100*ms, "faces")
				advance(10 * ms)
				c.then(b, s)
				advance(200 * ms)
				got := short(s.take())
				slices.SortFunc(got, func(a, b wants) int { return int(a.sequence) - int(b.sequence) })
				if !slices.Equal(got, c.want) {
					t.Errorf("outcomes %v, want %v", got, c.want)
				}
				if b.payloadsReleased() != len(c.want) {
					t.Errorf("%d payloads released, want %d", b.payloadsReleased(), len(c.want))
				}
				if err := b.stop(); err != nil {
					t.Error(err)
				}
				checkBooks(t, b, len(c.want))
			})
		})
	}
}

func TestNoInstanceFailsAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := &runner{run: echo(ms), more: 1, away: func(int) bool { return true }}
		b := newBed(t, modelConfig("faces", r), listener("speech", r))
		s := b.session("s")
		b.submit(s, "camera", 1, "", 100*ms, "faces")
		b.submit(s, "voice", 1, "", 100*ms, "speech")
		b.submit(s, "voice", 2, "", 100*ms, "speech")
		advance(0)
		got := s.take()
		for _, o := range got {
			if o.Error != media.BackendUnavailable {
				t.Errorf("outcome %+v, want BACKEND_UNAVAILABLE", o.Outcome)
			}
		}
		if len(got) != 3 || len(r.seen()) > 0 {
			t.Errorf("%d outcomes, want 3; batches %v, want none", len(got), r.seen())
		}
		_ = b.stop()
	})
}

// TestModelsDoNotWaitForEachOther has one session use several models, each with its own rate, deadline and queue. One of them hangs, one is slow.
func TestModelsDoNotWaitForEachOther(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		var configs []ModelConfig
		for _, c := range []struct {
			name     string
			run      func(context.Context, []backend.Frame) []reply.Answer
			deadline time.Duration
		}{
			{"quick", echo(5 * ms), 50 * ms}, {"steady", echo(20 * ms), 100 * ms}, {"slow", echo(180 * ms), 400 * ms}, {"hung", hang(release), 150 * ms},
		} {
			cfg := modelConfig(c.name, &runner{run: c.run})
			cfg.Deadline = c.deadline
			configs = append(configs, cfg)
		}
		b := newBed(t, configs...)
		s := b.session("s")
		const frames = 100
		for i := range uint32(frames) {
			now := time.Now()
			f := &Frame{Frame: media.Frame{Stream: "camera", Sequence: i + 1, InputID: 1, Payload: media.Payload{[]byte("x")}}, Session: s.id, Owner: s, Arrived: now}
			for _, c := range configs {
				f.Due = append(f.Due, media.Due{Model: c.Name, Deadline: now.Add(c.Deadline)})
			}
			b.Submit(f)
			advance(40 * ms)
		}
		advance(time.Second)
		results, slowest := map[string]int{}, map[string]time.Duration{}
		for _, o := range s.take() {
			if o.Result != nil {
				results[o.Model]++
				slowest[o.Model] = max(slowest[o.Model], o.Timings.Queue+o.Timings.Infer)
			}
		}
		if results["quick"] != frames || slowest["quick"] > 5*ms || results["steady"] != frames || slowest["steady"] > 20*ms {
			t.Errorf("results %v, the slowest after %v: quick and steady must be as if alone", results, slowest)
		}
		if results["slow"] < 15 || results["hung"] > 0 {
			t.Errorf("results %v: want about 20 of slow and none of hung", results)
		}
		close(release)
		advance(0)
		if err := b.stop(); err != nil {
			t.Error(err)
		}
		checkBooks(t, b, len(configs)*frames)
	})
}

func TestBudget(t *testing.T) {
	t.Parallel()
	var b budget
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	allowed := func(n int) (got int) {
		for range n {
			if b.again(now) {
				got++
			}
		}
		return got
	}
	if got := allowed(10); got != budgetFew {
		t.Errorf("%d batches may run again when none was sent, want %d", got, budgetFew)
	}
	for range 100 {
		b.sent(now)
	}
	if got := allowed(100); got != 10 {
		t.Errorf("%d more may run again of 100, want 10", got)
	}
	now = now.Add((budgetSeconds - 1) * time.Second)
	if got := allowed(100); got != 0 {
		t.Errorf("%d more within the window, want none", got)
	}
	now = now.Add(time.Second)
	if got := allowed(100); got != budgetFew {
		t.Errorf("%d after the window, want %d", got, budgetFew)
	}
	now = now.Add(time.Hour)
	if got := allowed(100); got != budgetFew {
		t.Errorf("%d after an hour, want %d", got, budgetFew)
	}
}
