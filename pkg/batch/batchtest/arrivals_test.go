// Package batchtest drives the scheduler in virtual time, with the arrivals and the accounting of the study. It consists of tests.
package batchtest

import (
	"cmp"
	"slices"
	"time"
)

// Shape is a way in which the frames of many streams come.
type Shape string

// Shapes.
const (
	// Periodic is cameras, each of a phase and a drift of its own, with a little jitter.
	Periodic Shape = "periodic"
	// Sync is the same with all cameras in phase.
	Sync Shape = "sync"
	// Bursty is the same over networks that now and then stall for a while, after which all that was held up comes at once.
	Bursty Shape = "bursty"
	// Poisson is frames that come at random.
	Poisson Shape = "poisson"
)

const (
	jitter = 2 * time.Millisecond // standard deviation
	drift  = 2e-5                 // of a camera's clock, at most
	inStep = 8 * time.Millisecond // within which cameras in phase begin
	// A frame begins a stall with this chance, of a length between the two.
	stallChance          = 0.03
	minStall, spareStall = 100 * time.Millisecond, 300 * time.Millisecond
)

// Random is a source of random numbers, such as a *rand.Rand of math/rand/v2.
type Random interface {
	// Float64 is uniform in [0, 1), NormFloat64 is normal and ExpFloat64 exponential, with a mean or deviation of 1.
	Float64() float64
	NormFloat64() float64
	ExpFloat64() float64
}

// Arrival is one frame that comes.
type Arrival struct {
	// At is when it comes and Captured when it was made, from the beginning of the trace. They differ by the jitter and by what the network held up.
	At, Captured time.Duration
	Stream       int
}

// Periods gives the time between the frames of each stream: streams of 5, 10, 15 and 30 frames a second in turn, as many as together have a rate, in frames a
// second.
func Periods(rate float64) []time.Duration {
	var periods []time.Duration
	offered := 0.0
	for i := 0; offered < rate-2; i++ {
		perSecond := []float64{5, 10, 15, 30}[i%4]
		periods = append(periods, time.Duration(float64(time.Second)/perSecond))
		offered += perSecond
	}
	return periods
}

// Offered gives the rate of streams, in frames a second.
func Offered(periods []time.Duration) float64 {
	rate := 0.0
	for _, p := range periods {
		rate += float64(time.Second) / float64(p)
	}
	return rate
}

// Arrivals gives what comes of streams in a time, in order.
func Arrivals(shape Shape, periods []time.Duration, length time.Duration, random Random) []Arrival {
	var all []Arrival
	for stream, period := range periods {
		if shape == Poisson {
			for t := times(period, random.ExpFloat64()); t < length; t += times(period, random.ExpFloat64()) {
				all = append(all, Arrival{t, t, stream})
			}
			continue
		}
		all = camera(all, shape, stream, period, length, random)
	}
	inOrder(all)
	return all
}

// inOrder sorts arrivals as they come.
func inOrder(all []Arrival) {
	slices.SortFunc(all, func(a, b Arrival) int {
		return cmp.Or(cmp.Compare(a.At, b.At), cmp.Compare(a.Captured, b.Captured), cmp.Compare(a.Stream, b.Stream))
	})
}

// camera appends what comes of one stream.
func camera(all []Arrival, shape Shape, stream int, period, length time.Duration, random Random) []Arrival {
	t := times(period, random.Float64())
	if shape == Sync {
		t = times(inStep, random.Float64())
	} else {
		period += times(period, drift*(2*random.Float64()-1))
	}
	stalled := time.Duration(-1) // until
	for ; t < length; t += period {
		at := max(0, t+times(jitter, random.NormFloat64()))
		if shape == Bursty {
			if t > stalled && random.Float64() < stallChance {
				stalled = t + minStall + times(spareStall, random.Float64())
			}
			if t < stalled {
				at = max(at, stalled)
			}
		}
		all = append(all, Arrival{at, t, stream})
	}
	return all
}

func times(d time.Duration, x float64) time.Duration { return time.Duration(float64(d) * x) }
