package contest

import (
	"math"
	"slices"

	"github.com/sluice-dev/sluice/deploy/e2e/bench/internal/batch"
)

// goal is one demand of the study on the router, in one regime. What is measured is one number for each seed; of these the mean less two standard deviations must meet the bound, or plus two where
// the bound is the most.
type goal struct {
	name, what string
	atMost     bool
	bound      float64
	// of gives the number of one seed, unless a run that it needs is missing.
	of func(runs map[policy]Row) (float64, bool)
}

// verdict is a goal with what was measured.
type verdict struct {
	goal
	regime          string
	mean, deviation float64
	seeds           int
	met             bool
}

// own demands something of the router alone.
func own(name, what string, atMost bool, bound float64, of func(Row) float64) goal {
	return goal{name: name, what: what, atMost: atMost, bound: bound, of: func(runs map[policy]Row) (float64, bool) {
		ours, here := runs[fresh]
		return of(ours), here
	}}
}

// than demands that the router has at least, or at most, bound times what another has.
func than(name, what string, other policy, atMost bool, bound float64, of func(Row) float64) goal {
	return goal{name: name, what: what + ", × " + string(other), atMost: atMost, bound: bound, of: func(runs map[policy]Row) (float64, bool) {
		ours, here := runs[fresh]
		theirs, there := runs[other]
		ratio := mostRatio
		if of(theirs) > 0 {
			ratio = min(mostRatio, of(ours)/of(theirs))
		}
		return ratio, here && there
	}}
}

// mostRatio stands for any larger ratio, and for those to nothing.
const mostRatio = 99.0

func goodput(r Row) float64  { return r.Goodput }
func ofBound(r Row) float64  { return r.Goodput / r.Bound }
func meanAge(r Row) float64  { return r.MeanAge }
func worstAge(r Row) float64 { return r.WorstAge }
func share(r Row) float64    { return r.Share }

// goalsOf gives the demands of a regime.
func goalsOf(e Extent, r regime) []goal {
	always := []goal{
		own("G7", "answers later than the SLO", true, 0.01, func(r Row) float64 { return r.Late }),
		own("G7", "p99, of the SLO", true, 1, func(r Row) float64 { return r.P99 / r.SLO }),
		own("G7", "dropped frames that the model saw", true, 0, func(r Row) float64 { return float64(r.Wasted) }),
		own("", "batches at an instance at once", true, 2, func(r Row) float64 { return r.InFlight }),
		own("", "failed frames", true, 0, func(r Row) float64 { return float64(r.Failed + r.Unanswered) }),
	}
	if e == Smoke { // loose: one short run must not fail by bad luck; starvation gives shares near 0
		least := 0.8
		if r.shape == batch.InPhase {
			least = 0.5
		}
		return append([]goal{own("", "goodput, of the upper bound", false, 0.85, ofBound), own("", "worst share", false, least, share)}, always[2:]...)
	}
	periodic := r.shape == batch.Periodic
	var list []goal
	switch {
	case r.load == 0.5:
		list = []goal{
			own("G1", "goodput, of what was offered", false, 0.99, func(r Row) float64 { return r.Goodput / r.Offered }),
			than("G1", "p50", tritonDefault, true, 1.1, func(r Row) float64 { return r.P50 }),
		}
	case r.load == 0.9:
		list = []goal{
			own("G2", "goodput, of what was offered", false, 0.97, func(r Row) float64 { return r.Goodput / r.Offered }),
			own("G2", "p99, of the SLO", true, 1, func(r Row) float64 { return r.P99 / r.SLO }),
			own("G2", "worst share", false, 0.93, share),
		}
	case r.load == 1.5 && r.shape == batch.InPhase:
		list = []goal{own("G6", "worst share", false, 0.70, share)}
	case r.load == 1.5:
		list = overloaded(r, periodic)
	case r.load == 3:
		list = []goal{
			own("G5", "goodput, of the upper bound", false, 0.92, ofBound),
			than("G5", "mean age", tritonTuned, true, 0.70, meanAge),
			than("G5", "worst stream's age", tritonTuned, true, 0.40, worstAge),
			own("G5", "worst share", false, 0.88, share),
		}
	}
	return append(list, always...)
}

// overloaded gives the demands at a load of 1.5.
func overloaded(r regime, periodic bool) []goal {
	ofGate, least := 1.6, 0.65
	if r.instances > 1 {
		ofGate = 1.4
	}
	if periodic {
		least = 0.90
	}
	list := []goal{own("G3", "goodput, of the upper bound", false, 0.92, ofBound)}
	if periodic { // the ratios were simulated for such arrivals only
		list = append(list,
			than("G3", "goodput", tritonTuned, false, 0.94, goodput),
			than("G3", "goodput", gated, false, ofGate, goodput),
			than("G3", "goodput", tritonDefault, false, 10, goodput),
			than("G3", "goodput", fixed, false, 10, goodput),
		)
	}
	return append(list,
		than("G4", "mean age", tritonTuned, true, 0.80, meanAge),
		than("G4", "worst stream's age", tritonTuned, true, 0.70, worstAge),
		own("G4", "worst share", false, least, share),
		own("G4", "Jain's index", false, 0.98, func(r Row) float64 { return r.Jain }),
	)
}

// judge holds runs against a goal: one map for each seed, of those runs that count.
func (g goal) judge(regime string, seeds []map[policy]Row) verdict {
	v := verdict{goal: g, regime: regime}
	var counted []float64
	for _, runs := range seeds {
		if x, known := g.of(runs); known {
			counted = append(counted, x)
		}
	}
	v.seeds = len(counted)
	v.mean, v.deviation = spread(counted)
	if g.atMost {
		v.met = v.seeds > 0 && v.mean+2*v.deviation <= g.bound
	} else {
		v.met = v.seeds > 0 && v.mean-2*v.deviation >= g.bound
	}
	return v
}

// spread gives the mean and the standard deviation of a sample, 0 of a single one.
func spread(values []float64) (mean, deviation float64) {
	if len(values) == 0 {
		return 0, 0
	}
	for _, x := range values {
		mean += x / float64(len(values))
	}
	if len(values) == 1 || slices.Min(values) == slices.Max(values) {
		return mean, 0
	}
	for _, x := range values {
		deviation += (x - mean) * (x - mean) / float64(len(values)-1)
	}
	return mean, math.Sqrt(deviation)
}
