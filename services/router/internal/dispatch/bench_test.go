package dispatch

import (
	"context"
	"fmt"
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
	answers := reply.All(16, media.BackendRejected)
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
		if i%16 == 15 { // what run and fly do, without their goroutines
			m.mu.Lock()
			m.reap()
			decision := m.decide(now)
			f := m.launch(decision.Instance, decision.Send, now)
			m.mu.Unlock()
			m.settle(f, m.ask(context.Background(), f.instance, f.frames), now)
			close(f.landed)
		}
	}
}

type instant struct{ answers []reply.Answer }

func (r *instant) Instances() int  { return 1 }
func (r *instant) Ready(int) error { return nil }
func (r *instant) Run(_ context.Context, _ int, frames []backend.Frame) []reply.Answer {
	return r.answers[:len(frames)]
}
