package dispatch

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/services/router/internal/backend"
	"github.com/sluice-dev/sluice/services/router/internal/reply"
)

// listener is a model of sound whose windows begin every 50 ms: of one deadline, five of a stream may wait.
func listener(name string, r Runner) ModelConfig {
	c := modelConfig(name, r)
	c.Input = media.SoundForm(media.SoundInput{Rate: 8000, Window: 400, Hop: 400})
	return c
}

func TestWindowsOfSound(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		sound    media.SoundInput
		deadline time.Duration
		line     int
	}{
		{media.SoundInput{Rate: 16000, Window: 512, Hop: 512}, 250 * ms, 8},
		{media.SoundInput{Rate: 8000, Window: 400, Hop: 400}, 250 * ms, 5},
		{media.SoundInput{Rate: 8000, Window: 800, Hop: 400}, 250 * ms, 5},
		{media.SoundInput{Rate: 8000, Window: 8000, Hop: 8000}, 250 * ms, 1},
	} {
		m := listener("speech", &runner{run: echo(0)})
		m.Input, m.Deadline = media.SoundForm(c.sound), c.deadline
		slow := m
		slow.Name, slow.Deadline = "slow", 4*c.deadline
		d, err := newForTest(Config{Models: []ModelConfig{m, slow, modelConfig("faces", m.Runner)}})
		if err != nil {
			t.Fatal(err)
		}
		if got := lineOf(m); got != c.line {
			t.Errorf("%+v within %v: %d may wait, want %d", c.sound, c.deadline, got, c.line)
		}
		inputs := d.Inputs()
		if len(inputs) != 2 || inputs[0].Window != lineOf(slow)+2 || inputs[1].Window != 0 {
			t.Errorf("inputs %+v, want one window for both models of sound, of the slower one, and none of its own for pictures", inputs)
		}
	}
}

// TestSoundGoesInOrder has a stream's windows arrive faster than the model takes them: all go, one after the other, and those of two streams together.
func TestSoundGoesInOrder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := &runner{run: echo(10 * ms)}
		cfg := listener("speech", r)
		cfg.Slots = 2 // a second batch could take the next window of a stream, and must not
		b := newBedOf(t, nil, cfg)
		one, two := b.session("one"), b.session("two")
		for i := range uint32(3) {
			b.submit(one, "voice", i+1, fmt.Sprint("one", i+1), 250*ms, "speech")
			b.submit(two, "voice", i+1, fmt.Sprint("two", i+1), 250*ms, "speech")
		}
		b.begin()
		advance(100 * ms)
		expect(t, one, wants{1, "result", 10}, wants{2, "result", 20}, wants{3, "result", 30})
		expect(t, two, wants{1, "result", 10}, wants{2, "result", 20}, wants{3, "result", 30})
		for _, batch := range r.seen() {
			streams := map[string]bool{}
			for _, payload := range batch {
				if streams[payload[:3]] {
					t.Errorf("two windows of a stream in one batch: %v", batch)
				}
				streams[payload[:3]] = true
			}
		}
		_ = b.stop()
	})
}

// TestSoundDoesNotWait sends a lone window at once: a batch is not worth waiting for.
func TestSoundDoesNotWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, listener("speech", &runner{run: echo(2 * ms)}))
		s := b.session("s")
		for i := range uint32(4) {
			b.submit(s, "voice", i+1, "w", 250*ms, "speech")
			advance(50 * ms)
		}
		for _, o := range s.take() {
			if o.Timings.Queue != 0 || o.Timings.Infer != 2*ms {
				t.Errorf("window %d waited for %v", o.Sequence, o.Timings.Queue)
			}
		}
		_ = b.stop()
	})
}

// TestSoundOverflows has a model that is far too slow: the line of a stream is as long as its deadline, and its oldest windows give way, said why.
func TestSoundOverflows(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, listener("speech", &runner{run: echo(100 * ms)}))
		s := b.session("s")
		for i := range uint32(8) {
			b.submit(s, "voice", i+1, "w", 250*ms+time.Duration(i)*ms, "speech")
			synctest.Wait()
		}
		expect(t, s, wants{2, "OVERLOADED", 0}, wants{3, "OVERLOADED", 0})
		advance(300 * ms)
		// None of the rest has the 100 ms that a window seems to take. They give way to the last, which is tried all the same: two batches prove nothing.
		expect(t, s, wants{1, "result", 100}, wants{4, "result", 200},
			wants{5, "EXPIRED", 200}, wants{6, "EXPIRED", 200}, wants{7, "EXPIRED", 200}, wants{8, "BACKEND_TIMEOUT", 257})
		_ = b.stop()
	})
}

// TestHopelessWindowHoldsNobodyUp has a window that cannot be answered in time before one that can: the second goes at once.
func TestHopelessWindowHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, listener("speech", &runner{run: echo(20 * ms)}))
		s := b.session("s")
		for i := range uint32(3) { // the evidence of what a batch takes
			b.submit(s, "voice", i+1, "w", 250*ms, "speech")
			advance(20 * ms)
		}
		s.take()
		b.submit(s, "voice", 4, "w", 250*ms, "speech")
		synctest.Wait()
		b.submit(s, "voice", 5, "w", 30*ms, "speech") // 10 ms are left when the one before is back
		b.submit(s, "voice", 6, "w", 250*ms, "speech")
		advance(100 * ms)
		expect(t, s, wants{4, "result", 80}, wants{5, "EXPIRED", 80}, wants{6, "result", 100})
		_ = b.stop()
	})
}

// remembering answers with what it remembered of the stream: the payloads before.
type remembering struct{ runner }

func (r *remembering) Run(_ context.Context, _ int, frames []backend.Frame) []reply.Answer {
	answers := make([]reply.Answer, len(frames))
	for i, f := range frames {
		answers[i].Result = &media.Result{JSON: []string{fmt.Sprintf("%p", f.State)}}
	}
	return answers
}

// TestStateIsTheStreams gives every window of a stream the same state, no two streams the same, and a stream that was forgotten a new one.
func TestStateIsTheStreams(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, listener("speech", &remembering{}), listener("other", &remembering{}), modelConfig("faces", &remembering{}))
		one, two := b.session("one"), b.session("two")
		states := func(s *session, stream, model string) string {
			t.Helper()
			b.submit(s, stream, 1, "w", 250*ms, model)
			synctest.Wait()
			return s.take()[0].Result.JSON[0]
		}
		first := states(one, "voice", "speech")
		if again := states(one, "voice", "speech"); again != first {
			t.Error("the second window of a stream has another state than the first")
		}
		seen := []string{first}
		for _, other := range []string{
			states(two, "voice", "speech"), states(one, "second", "speech"), states(one, "voice", "other"),
		} {
			if slices.Contains(seen, other) {
				t.Error("two streams or two models share a state")
			}
			seen = append(seen, other)
		}
		b.Forget(one, "voice")
		if after := states(one, "voice", "speech"); after == first {
			t.Error("a stream that was forgotten is remembered")
		}
		if picture := states(one, "camera", "faces"); picture != "%!p(*backend.State=<nil>)" && picture != "0x0" {
			t.Errorf("a picture has a state: %s", picture)
		}
		m := b.table.byName["speech"]
		for _, s := range []*session{one, two} {
			b.Forget(s, "voice")
			b.Forget(s, "second")
		}
		if len(m.states) != 0 || m.queue.Streams() != 0 {
			t.Errorf("%d states of %d streams are left", len(m.states), m.queue.Streams())
		}
		_ = b.stop()
	})
}

// TestForgottenWhileInFlight reopens a stream while its last window is still at the model: the new one waits for it, and has a state of its own.
func TestForgottenWhileInFlight(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var used []*backend.State
		r := &runner{run: func(_ context.Context, frames []backend.Frame) []reply.Answer {
			used = append(used, frames[0].State)
			<-time.After(40 * ms)
			return echoes(frames)
		}}
		cfg := listener("speech", r)
		cfg.Slots = 2
		b := newBed(t, cfg)
		s := b.session("s")
		b.submit(s, "voice", 1, "old", 250*ms, "speech")
		advance(10 * ms)
		b.submit(s, "voice", 2, "waits", 250*ms, "speech")
		b.Forget(s, "voice")
		b.submit(s, "voice", 3, "new", 250*ms, "speech")
		advance(100 * ms)
		expect(t, s, wants{2, "EXPIRED", 10}, wants{1, "result", 40}, wants{3, "result", 80})
		if len(used) != 2 || used[0] == used[1] {
			t.Errorf("states %v, want two of their own", used)
		}
		_ = b.stop()
	})
}

// BenchmarkWindow is the cost of one window of sound around the model, from submission to outcome, with ten streams.
func BenchmarkWindow(b *testing.B) {
	cfg := listener("speech", &instant{results(16)})
	cfg.MaxBatch, cfg.Streams = 16, 10
	d, err := newForTest(Config{Models: []ModelConfig{cfg}})
	if err != nil {
		b.Fatal(err)
	}
	m, owner := d.table.models[0], &nobody{}
	var frames Frames
	b.ReportAllocs()
	for i := range b.N {
		now := time.Now()
		d.Submit(plain(&frames, owner, "speech", strconv.Itoa(i%10), uint32(i)))
		once(b, m, now)
	}
	owner.check(b, b.N)
}
