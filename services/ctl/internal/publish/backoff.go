package publish

import (
	"math"
	"math/rand/v2"
	"time"
)

const (
	firstWait   = 100 * time.Millisecond
	longestWait = time.Second
	// spread keeps the clients of an edge that has gone from coming back all at once.
	spread = 0.2
)

// backoff says how long to wait before the edges are asked again. The zero value is ready; it is a single-threaded value.
type backoff struct {
	rounds int // since it was new
}

// next gives the wait before another round, of which none is due before the first. asked is how long the edges themselves want to be left alone.
func (b *backoff) next(asked time.Duration) time.Duration {
	b.rounds++
	if b.rounds == 1 {
		return 0
	}
	usual := min(float64(longestWait), float64(firstWait)*math.Pow(2, float64(min(b.rounds-2, 10))))
	usual *= 1 + spread*(2*rand.Float64()-1) //nolint:gosec // not secret
	return max(time.Duration(usual), asked)
}
