// Package batch replays the arrivals of live frames against a model, through a router or without one, and measures what becomes of each frame, with one monotonic clock, where a router's
// edge would be.
//
// A [Trace] is what arrives, by a seed. A [Path] takes frames to a model: [OpenRouter] by way of sluice-router, [OpenServer] straight to a model server. [Replay] plays a trace on a path and gives a
// [Record], which [Record.Measure] sums up.
package batch

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// Shape is how frames arrive.
type Shape string

// The shapes.
const (
	// Periodic cameras run by their own clocks, with a little jitter.
	Periodic Shape = "periodic"
	// InPhase cameras all begin within a moment and never drift apart.
	InPhase Shape = "in phase"
	// Bursty cameras' frames are held up by stalls of the network now and then, and come together after it.
	Bursty Shape = "bursty"
	// Poisson frames come independently of each other.
	Poisson Shape = "poisson"
)

// Shapes gives all shapes.
func Shapes() []Shape { return []Shape{Periodic, InPhase, Bursty, Poisson} }

// Rates gives the frame rates of the cameras, in turn, in frames a second.
func Rates() []float64 { return []float64{5, 10, 15, 30} }

// Arrivals describe a trace. All times of the cameras are those of reality, stretched by Dilation, so that a machine too small for the traffic of reality sees the same, but slower.
type Arrivals struct {
	Shape Shape
	// Offered is the least rate of frames of all streams together, in frames a second of the trace's own time; streams are added, at Rates in turn, until it is reached.
	Offered float64
	// Dilation is at least 1.
	Dilation float64
	// Length is that of the trace.
	Length time.Duration
	Seed   uint64
}

// Arrival is one frame.
type Arrival struct {
	Stream   int
	Sequence uint32 // from 1 in each stream
	// At is when it arrives, Captured when it was captured, which differs after a stall. Both are since the trace's beginning.
	At, Captured time.Duration
}

// Trace is what arrives, earliest first.
type Trace struct {
	// Streams is the number of streams.
	Streams  int
	Arrivals []Arrival
	Length   time.Duration
}

const (
	// jitter is the standard deviation of a frame's arrival.
	jitter = 2 * time.Millisecond
	// drift is how far a camera's clock is off at most.
	drift = 20e-6
	// together is within what time cameras in phase begin.
	together = 8 * time.Millisecond
	// stalls is how often a frame meets a stall, which takes shortest to longest.
	stalls   = 0.03
	shortest = 100 * time.Millisecond
	longest  = 400 * time.Millisecond
	// slack is how far below the offered rate a trace may stay, in undilated frames a second: less than half of the slowest stream.
	slack = 2
)

// NewTrace makes a trace. The same arguments give the same one.
func NewTrace(a Arrivals) (*Trace, error) {
	if a.Dilation < 1 || a.Offered <= 0 || a.Length <= 0 || !slices.Contains(Shapes(), a.Shape) {
		return nil, fmt.Errorf("a trace of shape %q, %g frames a second, %s, stretched %g times: cannot be", a.Shape, a.Offered, a.Length, a.Dilation)
	}
	t := &Trace{Length: a.Length}
	random := rand.New(rand.NewPCG(a.Seed, 0))
	rates := Rates()
	for offered := 0.0; offered < a.Offered-slack/a.Dilation; t.Streams++ {
		rate := rates[t.Streams%len(rates)] / a.Dilation
		offered += rate
		c := camera{arrivals: a, random: random, stream: t.Streams, period: float64(time.Second) / rate}
		t.Arrivals = append(t.Arrivals, c.frames()...)
	}
	slices.SortStableFunc(t.Arrivals, func(a, b Arrival) int { return cmp.Compare(a.At, b.At) })
	sequences := make([]uint32, t.Streams)
	for i := range t.Arrivals {
		at := &t.Arrivals[i]
		sequences[at.Stream]++
		at.Sequence = sequences[at.Stream]
	}
	return t, nil
}

// camera makes one stream. Its times are floats in nanoseconds, so that drift does not round away.
type camera struct {
	arrivals Arrivals
	random   *rand.Rand
	stream   int
	period   float64
}

func (c *camera) stretched(d time.Duration) float64 { return float64(d) * c.arrivals.Dilation }

func (c *camera) frames() []Arrival {
	length := float64(c.arrivals.Length)
	var list []Arrival
	add := func(captured, at float64) {
		if at < length {
			list = append(list, Arrival{Stream: c.stream, Captured: time.Duration(captured), At: time.Duration(at)})
		}
	}
	if c.arrivals.Shape == Poisson {
		for t := c.random.ExpFloat64() * c.period; t < length; t += c.random.ExpFloat64() * c.period {
			add(t, t)
		}
		return list
	}
	begin, period := c.random.Float64()*c.period, c.period*(1+drift*(2*c.random.Float64()-1))
	if c.arrivals.Shape == InPhase {
		begin, period = c.random.Float64()*c.stretched(together), c.period
	}
	stalled := -1.0
	for t := begin; t < length; t += period {
		at := max(0, t+c.random.NormFloat64()*c.stretched(jitter))
		if c.arrivals.Shape == Bursty {
			if t > stalled && c.random.Float64() < stalls {
				stalled = t + c.stretched(shortest) + c.random.Float64()*c.stretched(longest-shortest)
			}
			if t < stalled {
				at = max(at, stalled)
			}
		}
		add(min(t, at), at)
	}
	return list
}
