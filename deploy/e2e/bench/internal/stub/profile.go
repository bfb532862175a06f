package stub

import (
	"math/rand/v2"
	"time"
)

// Profile is how long a model takes for a batch: l(b) = Alpha + Beta·b.
type Profile struct {
	Alpha, Beta time.Duration
}

// Takes gives l(b).
func (p Profile) Takes(b int) time.Duration { return p.Alpha + time.Duration(b)*p.Beta }

const (
	// deviation is the standard deviation of a batch's time, as a share of it.
	deviation = 0.03
	// least keeps a draw far out from making a batch absurdly quick.
	least = 0.5
	// spikes is how often a batch takes spike times as long: a page fault, a neighbour on the device.
	spikes = 0.005
	spike  = 1.5
)

// noise is what makes one batch slower than the next. It is not safe for concurrent use.
type noise struct{ random *rand.Rand }

func newNoise(seed uint64, instance int) *noise {
	return &noise{rand.New(rand.NewPCG(seed, uint64(instance)))}
}

// of gives the time of a batch that should take d.
func (n *noise) of(d time.Duration) time.Duration {
	factor := max(least, 1+deviation*n.random.NormFloat64())
	if n.random.Float64() < spikes {
		factor *= spike
	}
	return time.Duration(float64(d) * factor)
}
