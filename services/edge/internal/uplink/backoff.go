package uplink

import (
	"math"
	"math/rand/v2"
	"time"

	grpcbackoff "google.golang.org/grpc/backoff"
)

// The pauses between attempts. A connection that cannot be had is tried again within a quarter of a second, however long the outage, so
// that the first frame goes within 300 ms of a router's return: there is one connection for some two hundred sessions, so this costs
// next to nothing. Each session of its own tries less often, since it does so only at routers that are there and refuse.
const (
	firstPause         = 50 * time.Millisecond
	longestPause       = time.Second
	longestConnectWait = 200 * time.Millisecond
	pauseGrowth        = 1.6
	pauseJitter        = 0.2
)

// connectPauses is the same rule for gRPC's connections.
func connectPauses() grpcbackoff.Config {
	return grpcbackoff.Config{BaseDelay: firstPause, Multiplier: pauseGrowth, Jitter: pauseJitter, MaxDelay: longestConnectWait}
}

// backoff gives pauses that grow: none, then 50 ms, up to 1 s, each spread by a fifth either way. Its zero value is ready.
type backoff struct{ attempts int }

func (b *backoff) next() time.Duration {
	b.attempts++
	if b.attempts == 1 {
		return 0
	}
	pause := min(float64(firstPause)*math.Pow(pauseGrowth, float64(b.attempts-2)), float64(longestPause))
	return time.Duration(pause * (1 + pauseJitter*(2*rand.Float64()-1))) //nolint:gosec // spreading load needs no secrecy
}

func (b *backoff) reset() { b.attempts = 0 }
