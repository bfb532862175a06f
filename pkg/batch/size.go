package batch

import "time"

const (
	// kneeShare is the share of the best throughput at which a larger batch is not worth its time any more.
	kneeShare = 0.98
	// cycleShare is the share of the frames' time into which a batch has to fit together with the wait for the one before: a frame that just missed a batch
	// must still make the next. What is left is for what else may hold it up.
	cycleShare = 0.85
	// A model is overloaded when more comes than this share of its peak over a second and a half, or, over half a second, more than that one, and this many
	// times the batches that are worth it wait already.
	overloadShare, overloadSoon, overloadWaiting = 1.03, 0.97, 1.3
	// requiredShare is how much more than comes the size of a batch has to be able to carry.
	requiredShare = 1.05
)

// plan is what the load and the profile ask of every batch.
type plan struct {
	// peak is the best throughput of an instance within the frames' time, in frames a second.
	peak float64
	// knee is the largest batch that is worth its time, at least 1.
	knee int
	// required is the smallest batch, up to knee, that carries what comes.
	required int
	// overloaded is true when more comes than can be answered in time.
	overloaded bool
}

// plan makes the plan for frames that have so much time from their arrival, of which so many wait.
func (f *Fresh) plan(budget time.Duration, waiting, largest int) plan {
	well := max(1, f.well)
	p := f.peak(budget-2*f.net, largest, well)
	fast, slow := f.demand.fast/float64(well), f.demand.slow/float64(well)
	p.overloaded = slow > overloadShare*p.peak || fast > overloadSoon*p.peak && float64(waiting) > overloadWaiting*float64(p.knee*well)
	p.required = 1
	for p.required < p.knee && float64(p.required) < requiredShare*fast*f.profile.seconds(p.required) {
		p.required++
	}
	return p
}

// peak finds the best throughput and the knee, for frames that have so much time at the instance.
func (f *Fresh) peak(budget time.Duration, largest, well int) plan {
	p := plan{peak: 1 / max(instant.Seconds(), f.profile.seconds(1)), knee: 1}
	best := 0.0
	for b := 1; b <= largest && f.profile.atMost(b, 1) <= budget; b++ {
		if rate := float64(b) / max(instant.Seconds(), f.profile.seconds(b)); rate > best {
			best, p.knee = rate, b
		}
	}
	if best > 0 {
		p.peak = best
	}
	for b := 1; b < p.knee; b++ {
		if float64(b) >= kneeShare*p.peak*f.profile.seconds(b) {
			p.knee = b
			break
		}
	}
	for p.knee > 1 && f.cycle(p.knee, well) > seconds(cycleShare*(budget+2*f.net).Seconds()) {
		p.knee--
	}
	return p
}

// cycle gives the time from when a frame just missed a batch of a size to its answer in the next one: the wait, on average for one of so many instances, is as long as a batch is
// expected to take, and the next one must be as short as nearly all are.
func (f *Fresh) cycle(size, well int) time.Duration {
	return f.profile.took(size, 1)/time.Duration(well) + f.profile.atMost(size, 1) + 2*f.net
}
