package dispatch

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/services/router/internal/backend"
	"github.com/sluice-dev/sluice/services/router/internal/reply"
)

type nobody struct{ ended int }

func (n *nobody) Ended(*Frame, media.Outcome) { n.ended++ }
func (*nobody) Demand(media.Demand)           {}

// BenchmarkFrame is the cost of one frame, from submission to outcome, with 500 streams and a model that answers at once.
func BenchmarkFrame(b *testing.B) {
	answers := results(16)
	cfg := modelConfig("faces", &instant{answers})
	cfg.MaxBatch, cfg.Streams = 16, 500
	d, err := newForTest(Config{Models: []ModelConfig{cfg}})
	if err != nil {
		b.Fatal(err)
	}
	m, owner := d.table.models[0], &nobody{}
	var names []string
	for i := range 500 {
		names = append(names, fmt.Sprint("stream", i))
	}
	b.ReportAllocs()
	for i := range b.N {
		now := time.Now()
		d.Submit(&Frame{
			Frame: media.Frame{Stream: names[i%500], Sequence: uint32(i), Due: []media.Due{{Model: "faces", Deadline: now.Add(time.Second)}}},
			Owner: owner, Arrived: now,
		})
		if i%16 == 15 {
			once(b, m, now)
		}
	}
}

// once does what run does, and waits for the batch.
func once(b *testing.B, m *model, now time.Time) {
	b.Helper()
	m.step(b.Context(), now)
	m.mu.Lock()
	flights := slices.Clone(m.instances[0].flights)
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
