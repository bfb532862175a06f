package dispatch

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/services/router/internal/backend"
	"github.com/sluice-dev/sluice/services/router/internal/reply"
)

// TestSoundUnderOverload has streams say more than a model can hear. Nearly all that it is given comes back in time, and every stream has its share.
func TestSoundUnderOverload(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		streams, largest int
		alpha, beta      time.Duration // what a batch of n takes: alpha + n·beta
		possible         int           // results in the test's time
	}{
		{8, 2, 20 * ms, 15 * ms, 400},
		{30, 16, 40 * ms, 5 * ms, 1333},
		{3, 1, 0, 60 * ms, 166},
		{1, 1, 0, 90 * ms, 111},
	} {
		t.Run(fmt.Sprintf("%d streams", c.streams), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				cfg := listener("speech", &runner{run: func(ctx context.Context, frames []backend.Frame) []reply.Answer {
					return echo(c.alpha+c.beta*time.Duration(len(frames)))(ctx, frames)
				}})
				cfg.MaxBatch, cfg.Streams = c.largest, c.streams
				results, late := speak(t, newBed(t, cfg), c.streams)
				total := 0
				for _, n := range results {
					total += n
				}
				t.Logf("results %v, %d in all, %d late", results, total, late)
				if total < c.possible*4/5 || late > total/20 {
					t.Errorf("%d results and %d too late: of %d possible, nearly all that are sent should be answered", total, late, c.possible)
				}
				if least, most := slices.Min(results), slices.Max(results); least*5 < most*4 {
					t.Errorf("the streams have %v results: they should share evenly", results)
				}
			})
		})
	}
}

// speak lets streams say windows of 50 ms for ten seconds, out of step. It gives the results of each, and how many windows were sent in vain.
func speak(t *testing.T, b *bed, streams int) (results []int, late int) {
	t.Helper()
	var sessions []*session
	for i := range streams {
		sessions = append(sessions, b.session(fmt.Sprint(i)))
	}
	for w := range uint32(200) {
		for _, s := range sessions {
			b.submit(s, "voice", w+1, "w", 250*ms, "speech")
			advance(50 * ms / time.Duration(streams))
		}
	}
	advance(time.Second)
	for _, s := range sessions {
		n := 0
		for _, o := range s.take() {
			if o.Result != nil {
				n++
			}
			if o.Error == media.BackendTimeout {
				late++
			}
		}
		results = append(results, n)
	}
	if err := b.stop(); err != nil {
		t.Error(err)
	}
	return results, late
}

// TestSharesOfAnOverloadedModel has cameras of several weights and classes send more than a model can do. Each gets what its share says, and the second class its twentieth.
func TestSharesOfAnOverloadedModel(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cfg := modelConfig("faces", &runner{run: func(ctx context.Context, frames []backend.Frame) []reply.Answer {
			return echo(10*ms+5*ms*time.Duration(len(frames)))(ctx, frames)
		}})
		cfg.MaxBatch = 2
		b := newBed(t, cfg)
		shares := []media.Share{{Weight: 3}, {Weight: 1}, {}, {}, {}, {}, {}, {Class: 1, Weight: 100}, {Class: 1, Weight: 100}}
		var cameras []*session
		for i, share := range shares {
			s := b.session(fmt.Sprint(i))
			s.share = share
			cameras = append(cameras, s)
		}
		const length, interval = 20 * time.Second, 10 * ms // 900 frames a second; the model does 100
		for sequence := range uint32(length / interval) {
			for _, s := range cameras {
				b.submit(s, "camera", sequence+1, "x", 250*ms, "faces")
			}
			advance(interval)
		}
		results, total := make([]float64, len(shares)), 0.0
		for i, s := range cameras {
			for _, o := range s.take() {
				if o.Result != nil {
					results[i]++
					total++
				}
			}
		}
		second := results[7] + results[8]
		t.Logf("results %v", results)
		for i, n := range results[:7] {
			want := float64(max(1, shares[i].Weight)) / 9
			if part := n / (total - second); part < 0.9*want || part > 1.1*want {
				t.Errorf("camera %d has %.3f of its class's results, want %.3f", i, part, want)
			}
		}
		if part := second / total; part < 0.045 || part > 0.055 {
			t.Errorf("the second class has %.3f of the results, want a twentieth", part)
		}
		_ = b.stop()
	})
}
