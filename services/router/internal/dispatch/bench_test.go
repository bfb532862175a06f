package dispatch

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/sluice-dev/sluice/pkg/batch"
	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/services/router/internal/backend"
	"github.com/sluice-dev/sluice/services/router/internal/reply"
)

// nobody is an owner that only counts.
type nobody struct{ results, others int }

func (n *nobody) Ended(_ *Frame, o media.Outcome) {
	if o.Result != nil {
		n.results++
	} else {
		n.others++
	}
}

func (*nobody) Demand(media.Demand) {}

// check tells when something else was measured than frames that have results.
func (n *nobody) check(tb testing.TB, frames int) {
	tb.Helper()
	if n.results != frames || n.others != 0 {
		tb.Errorf("%d frames ended in %d results and %d other outcomes", frames, n.results, n.others)
	}
}

// full is the usual policy, with all its work, but whatever waits goes when anything does: for a model that answers at once, the usual one takes few frames at a time.
type full struct {
	batch.Policy
	send []int
}

func newFull() batch.Policy { return &full{Policy: batch.NewFresh(batch.Options{})} }

func (f *full) Decide(waiting []batch.Item, s batch.State) batch.Decision {
	d := f.Policy.Decide(waiting, s)
	if len(d.Send) > 0 {
		f.send = f.send[:0]
		for i := range min(len(waiting), s.Max) {
			f.send = append(f.send, i)
		}
		d.Send, d.Expire = f.send, nil
	}
	return d
}

// BenchmarkFrame is the cost of one frame, from submission to outcome, in batches of 16, with 500 streams and a model that answers at once.
func BenchmarkFrame(b *testing.B) {
	answers := results(16)
	cfg := modelConfig("faces", &instant{answers})
	cfg.MaxBatch, cfg.Streams = 16, 500
	d, err := newForTest(Config{Models: []ModelConfig{cfg}, Policy: newFull})
	if err != nil {
		b.Fatal(err)
	}
	m, owner := d.table.models[0], &nobody{}
	var frames Frames
	var names []string
	for i := range 500 {
		names = append(names, fmt.Sprint("stream", i))
	}
	b.ReportAllocs()
	for i := range b.N {
		d.Submit(plain(&frames, owner, "faces", names[i%500], uint32(i)))
		if i%16 == 15 || i == b.N-1 {
			drain(b, m)
		}
	}
	owner.check(b, b.N)
}

// plain gives a frame without a payload.
func plain(frames *Frames, owner Owner, model, stream string, sequence uint32) *Frame {
	f := frames.New()
	f.Stream, f.Sequence, f.InputID, f.Owner, f.Arrived = stream, sequence, 1, owner, time.Now()
	f.Due = append(f.Due, media.Due{Model: model, Deadline: f.Arrived.Add(time.Second)})
	return f
}

// drain does what run does until nothing waits.
func drain(tb testing.TB, m *model) {
	tb.Helper()
	for waiting := true; waiting; {
		once(tb, m, time.Now())
		m.mu.Lock()
		waiting = m.queue.Len() > 0
		m.mu.Unlock()
	}
}

// once does what run does, and waits for the batch.
func once(tb testing.TB, m *model, now time.Time) {
	tb.Helper()
	m.step(tb.Context(), now)
	m.mu.Lock()
	flights := m.instances[0].flights // which only a step changes
	m.mu.Unlock()
	for _, f := range flights {
		<-f.landed
	}
}

func results(n int) []reply.Answer {
	answers := make([]reply.Answer, n)
	for i := range answers {
		answers[i].Result = &media.Result{}
	}
	return answers
}

type instant struct{ answers []reply.Answer }

func (r *instant) Instances() int  { return 1 }
func (r *instant) Ready(int) error { return nil }

func (r *instant) Profile(int) []backend.Timing { return nil }
func (r *instant) Run(_ context.Context, _ int, frames []backend.Frame) []reply.Answer {
	return r.answers[:len(frames)]
}
