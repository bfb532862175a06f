package batch

import (
	"slices"
	"time"
)

const (
	// keep is the weight that every earlier batch keeps in the fit when another one is observed.
	keep = 0.98
	// keepChanged is the same when the model has changed.
	keepChanged = 0.3
	// settled is the number of batches after which the fit is believed enough to tell a spike or a change from ignorance.
	settled = 20
	// proof is the number of batches without which nothing is hopeless.
	proof = 3
	// A ratio of a batch's time to what was predicted outside of these is an outlier.
	tooFast, tooSlow = 0.75, 1.3
	// recent is the number of the last ratios in which a change is looked for, and changed is the number of outliers among them that prove it.
	recent, changed = 8, 6
	// tails is the number of the last ratios that the margin is taken from, every few batches.
	tails, tailEvery = 100, 5
	// tailShare is the share of batches that the margin covers, between the two bounds.
	tailShare            = 0.97
	minMargin, maxMargin = 1.02, 1.4
	// firstMargin is the margin while too few batches were seen.
	firstMargin = 1.15
	// instant is the least time that a batch is predicted to take where something is divided by it.
	instant = 100 * time.Microsecond
)

// profile is what a batch takes by its size, base + each·size, learnt while the model runs: exponentially weighted least squares, to which the batches of
// the model's warm-up are anchors. Without them, base and each could not be told apart as long as all batches are of one size.
type profile struct {
	base, each float64 // seconds
	// margin is how many times the predicted time a batch takes that is slower than nearly all.
	margin  float64
	fit     sums
	anchors []anchor
	// observed is the number of batches.
	observed int
	ratios   window // the last ratios of observed to predicted, to find a change
	tail     window // the same by the instance's own speed, to find the margin
}

// sums are those of a weighted least-squares fit of y to x.
type sums struct{ w, x, xx, y, xy float64 }

func (s *sums) add(w, x, y float64) {
	s.w += w
	s.x += w * x
	s.xx += w * x * x
	s.y += w * y
	s.xy += w * x * y
}

func (s *sums) fade(by float64) {
	s.w *= by
	s.x *= by
	s.xx *= by
	s.y *= by
	s.xy *= by
}

// anchor is what a batch took while the model was warmed up.
type anchor struct {
	size    int
	seconds float64
}

// newProfile begins with a guess of little weight.
func newProfile(base, each time.Duration) profile {
	const one, several, weight = 1, 8, 0.2
	p := profile{
		base: base.Seconds(), each: each.Seconds(), margin: firstMargin,
		ratios: window{values: make([]float64, 0, recent)}, tail: window{values: make([]float64, 0, tails), sorted: make([]float64, 0, tails)},
	}
	for _, size := range []float64{one, several} {
		p.fit.add(weight, size, p.base+p.each*size)
	}
	return p
}

// seconds predicts what a batch takes.
func (p *profile) seconds(size int) float64 { return p.base + p.each*float64(size) }

// took predicts what a batch takes on an instance of a speed.
func (p *profile) took(size int, scale float64) time.Duration {
	return seconds(p.seconds(size) * scale)
}

// atMost predicts the time by which nearly every batch of a size is done on an instance of a speed.
func (p *profile) atMost(size int, scale float64) time.Duration {
	return seconds(p.seconds(size) * p.margin * scale)
}

// known tells whether the prediction rests on more than the guess.
func (p *profile) known() bool { return len(p.anchors) > 0 || p.observed >= recent }

// sure tells whether enough was seen to say that a frame is hopeless: one batch may be slow for reasons of its own, and the first of all often is.
func (p *profile) sure() bool { return len(p.anchors) > 0 || p.observed >= proof }

// ratio compares what a batch took with what was predicted.
func (p *profile) ratio(size int, took time.Duration) float64 {
	return took.Seconds() / max(instant.Seconds(), p.seconds(size))
}

// anchor takes in what a batch took while the model was warmed up. Of batches of one size, from several instances or after a restart, it keeps the middle.
func (p *profile) anchor(size int, took time.Duration) {
	if at := slices.IndexFunc(p.anchors, func(a anchor) bool { return a.size == size }); at >= 0 {
		p.anchors[at].seconds = (p.anchors[at].seconds + took.Seconds()) / 2
	} else {
		p.anchors = append(p.anchors, anchor{size, took.Seconds()})
	}
	p.solve()
}

// observe takes in what a batch took on an instance of a speed. When it does not count, for it was on an instance whose speed is its own, it says something
// about the margin and about a change of the model only. It returns the factor by which the model has changed, 1 as long as it has not.
func (p *profile) observe(size int, took time.Duration, scale float64, counts bool) float64 {
	ratio, known := p.ratio(size, took), p.known()
	p.observed++
	p.ratios.add(ratio)
	outlier := ratio > tooSlow || ratio < tooFast
	factor := 1.0
	switch {
	case p.observed <= settled || !outlier:
		if counts {
			p.fit.fade(keep)
			p.fit.add(1, float64(size), took.Seconds())
		}
	case p.ratios.count(func(r float64) bool { return r > tooSlow || r < tooFast }) < changed:
		// A spike, or the first sign of a change: the fit waits until it is clear which.
	default:
		factor = p.ratios.at(0.5)
		p.change(factor)
		p.fit.add(1, float64(size), took.Seconds())
	}
	p.solve()
	if !known {
		return factor // the ratio was to a guess
	}
	p.tail.add(ratio / max(0.5, scale))
	if len(p.tail.values) >= settled && p.observed%tailEvery == 0 {
		p.margin = min(maxMargin, max(minMargin, p.tail.at(tailShare)))
	}
	return factor
}

// change moves all that is known by a factor, as if the model had always been so, and believes it less from now on.
func (p *profile) change(factor float64) {
	for i := range p.anchors {
		p.anchors[i].seconds *= factor
	}
	p.fit.y *= factor
	p.fit.xy *= factor
	p.fit.fade(keepChanged)
	p.ratios.clear()
	p.tail.clear()
}

// solve fits base and each.
func (p *profile) solve() {
	s := p.fit
	for _, a := range p.anchors {
		s.add(1, float64(a.size), a.seconds)
	}
	mean := s.x / s.w
	spread := s.w*s.xx - s.x*s.x
	if spread <= max(0.5, 0.04*mean*mean)*s.w*s.w {
		// The sizes differ too little to tell what a batch costs from what a frame costs: both move together.
		factor := s.y / s.w / max(instant.Seconds(), p.base+p.each*mean)
		p.base, p.each = p.base*factor, p.each*factor
		return
	}
	p.each = max(0, (s.w*s.xy-s.x*s.y)/spread)
	if p.base = (s.y - p.each*s.x) / s.w; p.base < 0 {
		p.base, p.each = 0, s.y/s.x
	}
}

// window holds the last values, as many as its capacity.
type window struct {
	values []float64
	next   int
	sorted []float64 // scratch of at
}

func (w *window) add(v float64) {
	if len(w.values) < cap(w.values) {
		w.values = append(w.values, v)
		return
	}
	w.values[w.next] = v
	w.next = (w.next + 1) % len(w.values)
}

func (w *window) clear() { w.values, w.next = w.values[:0], 0 }

// at gives the value that a share of the others is below, rounded down. There must be one.
func (w *window) at(share float64) float64 {
	w.sorted = append(w.sorted[:0], w.values...)
	slices.Sort(w.sorted)
	return w.sorted[int(share*float64(len(w.sorted)-1))]
}

func (w *window) count(is func(float64) bool) int {
	n := 0
	for _, v := range w.values {
		if is(v) {
			n++
		}
	}
	return n
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
