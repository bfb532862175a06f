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
