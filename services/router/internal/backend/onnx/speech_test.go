package onnx_test

import (
	"fmt"
	"testing"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/services/router/internal/backend"
	"github.com/sluice-dev/sluice/services/router/internal/backend/backendtest"
)

// BenchmarkSpeech tells what a window costs in batches of several sizes, packing, state and checking included. A stream has 31 windows a second.
func BenchmarkSpeech(b *testing.B) {
	for _, frames := range []int{1, 2, 4, 8, 16, 32} {
		b.Run(fmt.Sprintf("batch=%d", frames), func(b *testing.B) {
			m, err := backend.New(backendtest.SpeechConfig(b, frames), backendtest.OpenSpeech(b, 1))
			if err != nil {
				b.Fatal(err)
			}
			defer m.Close()
			if err := m.Check(b.Context()); err != nil {
				b.Fatal(err)
			}
			batch := make([]backend.Frame, frames)
			for i := range batch {
				batch[i] = backend.Frame{Frame: &media.Frame{Payload: media.Payload{make([]byte, 2*backendtest.SpeechInput().Samples())}}, State: &backend.State{}}
			}
			b.ReportAllocs()
			for b.Loop() {
				reply, err := m.Infer(b.Context(), 0, batch)
				if err != nil {
					b.Fatal(err)
				}
				reply.Release()
				for i := range batch {
					batch[i].FirstSample += uint32(backendtest.SpeechInput().Hop)
				}
			}
			b.ReportMetric(b.Elapsed().Seconds()*1e6/float64(b.N*frames), "µs/window")
		})
	}
}
