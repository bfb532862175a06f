package contest

import (
	"fmt"
	"slices"
	"time"

	"github.com/sluice-dev/sluice/deploy/e2e/bench/internal/batch"
	"github.com/sluice-dev/sluice/deploy/e2e/bench/internal/stub"
)

// Profile is a model: how long its batches take, how large they may be, and how old an answer may be.
type Profile struct {
	stub.Profile
	Max int
	SLO time.Duration
}

// undilated is what the study's goals are about: answers within 100 ms, batches up to 32.
const (
	slo      = 100 * time.Millisecond
	maxBatch = 32
	// way is the assumed time between router and server and back, as the simulation had it.
	way = 2 * time.Millisecond
)

// capacity gives the frames a second that instances answer in time at best: batches of the best size that alone meet the SLO, one after the other.
func (p Profile) capacity(instances int, dilation float64) float64 {
	best := 0.0
	for b := 1; b <= p.Max; b++ {
		if took := p.Takes(b); took+stretch(way, dilation) <= p.SLO {
			best = max(best, float64(b)/took.Seconds())
		}
	}
	return best * float64(instances)
}

func stretch(d time.Duration, dilation float64) time.Duration {
	return time.Duration(float64(d) * dilation)
}

// model is one of the profiles of the study, with the settings that its simulator found best for the others, all undilated.
type model struct {
	alpha, beta time.Duration
	// triton is the best of 24 settings over all loads.
	triton stub.TritonRules
	// fixed is the best of 16 settings at each load; at loads beyond those listed none gives anything.
	fixed map[float64]batch.Fixed
}

func models() []model {
	const ms = time.Millisecond
	few := batch.Fixed{Size: 4, Delay: 5 * ms} // the first of many that give nothing
	return []model{
		{
			alpha: 5 * ms, beta: ms, triton: stub.TritonRules{Max: 32, Timeout: 39 * ms},
			fixed: map[float64]batch.Fixed{0.5: {Size: 16, Delay: 50 * ms}, 0.9: {Size: 32, Delay: 50 * ms}, 1.5: few, 3: few},
		},
		{
			alpha: 20 * ms, beta: ms / 2, triton: stub.TritonRules{Max: 32, Delay: 10 * ms, Timeout: 40 * ms},
			fixed: map[float64]batch.Fixed{0.5: {Size: 32, Delay: 50 * ms}, 0.9: {Size: 32, Delay: 50 * ms}, 1.5: few, 3: few},
		},
		{
			alpha: 2 * ms, beta: 4 * ms, triton: stub.TritonRules{Max: 8, Delay: 10 * ms, Timeout: 44 * ms},
			fixed: map[float64]batch.Fixed{0.5: {Size: 8, Delay: 50 * ms}, 0.9: {Size: 16, Delay: 50 * ms}, 1.5: few, 3: few},
		},
	}
}

// regime is a situation that all policies are put in.
type regime struct {
	model     model
	instances int
	load      float64
	shape     batch.Shape
}

func (r regime) String() string {
	text := fmt.Sprintf("%.1f×", r.load)
	if r.shape != batch.Periodic {
		text += " " + string(r.shape)
	}
	return text
}

// setting names the model and its instances.
func (r regime) setting() string {
	return fmt.Sprintf("α %g β %g, %d instance(s)", millis(r.model.alpha), millis(r.model.beta), r.instances)
}

func (r regime) profile(dilation float64) Profile {
	return Profile{
		Profile: stub.Profile{Alpha: stretch(r.model.alpha, dilation), Beta: stretch(r.model.beta, dilation)}, Max: maxBatch, SLO: stretch(slo, dilation),
	}
}

// Extent is how much is measured.
type Extent uint8

// The extents.
const (
	// Issue is one profile on one instance, at the loads that the goals are about.
	Issue Extent = iota
	// Grid is all profiles, on one and four instances, and all shapes.
	Grid
	// Smoke is a part of the first, to see that all works.
	Smoke
)

// regimes gives the situations of an extent.
func regimes(e Extent) (list []regime) {
	all := models()
	switch e {
	case Smoke:
		return []regime{{all[0], 1, 0.9, batch.Periodic}, {all[0], 1, 1.5, batch.Periodic}, {all[0], 1, 1.5, batch.InPhase}}
	case Issue:
		return ofModel(all[0], 1, []batch.Shape{batch.InPhase})
	case Grid:
	}
	for _, m := range all {
		for _, instances := range []int{1, 4} {
			list = append(list, ofModel(m, instances, []batch.Shape{batch.InPhase, batch.Bursty, batch.Poisson})...)
		}
	}
	return list
}

// ofModel gives all loads with periodic arrivals, and 1.5 with those of other shapes; bursty ones at 0.9 too.
func ofModel(m model, instances int, shapes []batch.Shape) (list []regime) {
	for _, load := range []float64{0.5, 0.9, 1.5, 3} {
		list = append(list, regime{m, instances, load, batch.Periodic})
	}
	if slices.Contains(shapes, batch.Bursty) {
		list = append(list, regime{m, instances, 0.9, batch.Bursty})
	}
	for _, shape := range shapes {
		list = append(list, regime{m, instances, 1.5, shape})
	}
	return list
}
