// Package demand works out how many frames a second of each stream an overloaded model can use, so that the rest need not be sent: the equal share that uses the
// model up when the slow streams have all that they send (max-min fairness), and of that as many times more as a stream weighs.
//
// The difficulty is that a demand that is kept to hides the load that it is for. So a [Gauge] remembers what each stream sent before it was told to send less,
// and withdraws the demand when that would fit: not when the model is no longer overloaded, which is what the demand brings about.
package demand

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/sluice-dev/sluice/pkg/batch"
	"github.com/sluice-dev/sluice/pkg/media"
)

const (
	// patience is how long a model is overloaded before anything is demanded. What the load is judged by has forgotten a moment's rush by then; and a camera whose
	// model has become slow sends less within three seconds, of which the scheduler takes up to one to believe it.
	patience = time.Second
	// relief is how long what the streams would send must fit before the demand is over: longer, for it costs each camera a picture of another size.
	relief = 2 * time.Second
	// used is the part of the capacity that is given out: with a little left over, frames do not wait for each other.
	used = 0.95
	// change is the least change of a demand that is worth telling.
	change = 0.1
	// leastPart is what a class of streams has when the classes before it want all.
	leastPart = 0.05
	// least is the lowest demand, frames a second. A stream that sends nothing at all could not be seen to be there.
	least = 1
	// window is the time constant of the streams' rates.
	window = time.Second
	// settled is how long after the demand rose a stream that still sends less is believed to have no more.
	settled = 5 * window
	// slack is the part of its demand below which a stream counts as one that has no more.
	slack = 0.8
)

// Gauge follows the streams of one model. It is a single-threaded value without a clock.
type Gauge[K comparable] struct {
	streams map[K]*stream
	limit   int // streams
	last    time.Time
	// level is the demand in force, zero when there is none. raised is when it was last made or raised.
	level  float64
	raised time.Time
	fits   time.Time // since when the streams fit without it; zero when they do not
	asks   []ask     // scratch
	change []Change[K]
}

// stream is what is known of one.
type stream struct {
	weight float64
	count  int     // frames since the last step
	rate   float64 // frames a second, as they come
	known  float64 // weight of the rate, towards 1: how much of window has been seen
	// natural is the rate that it would send if nothing were demanded.
	natural float64
	told    float64
}

// ask is what one stream asks for.
type ask struct{ rate, weight float64 }

// Change tells what a stream is to be told: a rate in frames a second, or zero for as many as it likes.
type Change[K comparable] struct {
	Key  K
	Rate float64
}

// New makes a gauge of at most limit streams; what others send goes unseen.
func New[K comparable](limit int) *Gauge[K] {
	return &Gauge[K]{streams: make(map[K]*stream), limit: limit}
}

// Weight gives what a stream of a share counts: its level is the demand times that. Of a class that is served before another one, streams count as many times more as
// the other one's least part is less than all.
func Weight(share media.Share) float64 {
	return float64(max(1, share.Weight)) * math.Pow(leastPart, float64(share.Class))
}

// Arrived counts a frame of a stream of a weight.
func (g *Gauge[K]) Arrived(key K, weight float64) {
	s := g.streams[key]
	if s == nil {
		if len(g.streams) >= g.limit {
			return
		}
		s = &stream{}
		g.streams[key] = s
	}
	s.weight = weight
	s.count++
}

// Forget ends a stream.
func (g *Gauge[K]) Forget(key K) { delete(g.streams, key) }

// End forgets all streams and gives those of which something is demanded.
func (g *Gauge[K]) End() (demanded []K) {
	for key, s := range g.streams {
		if s.told > 0 {
			demanded = append(demanded, key)
		}
	}
	clear(g.streams)
	g.level = 0
	return demanded
}

// Streams gives the number of streams that are followed.
func (g *Gauge[K]) Streams() int { return len(g.streams) }

// Natural gives the frames a second that all streams together would send if nothing were demanded of them.
func (g *Gauge[K]) Natural() float64 {
	all := 0.0
	for _, s := range g.streams {
		all += s.natural
	}
	return all
}

// Level gives the demand in force, in frames a second of each stream of weight 1; zero means none.
func (g *Gauge[K]) Level() float64 { return g.level }

// Step takes account of the time since the last step, a quarter of a second or so, and says which streams are to be told something. What it returns is valid until the next call.
func (g *Gauge[K]) Step(now time.Time, load batch.Load) []Change[K] {
	elapsed := now.Sub(g.last)
	if g.last.IsZero() {
		elapsed = 0
	}
	g.last = now
	g.measure(now, elapsed)
	if load.Capacity > 0 { // Without any, it is not the streams' number that is the trouble.
		g.adjust(now, load)
	}
	g.change = g.change[:0]
	for key, s := range g.streams {
		rate := 0.0
		if g.level > 0 {
			rate = max(least, g.level*s.weight)
		}
		if s.told != rate {
			s.told = rate
			g.change = append(g.change, Change[K]{key, rate})
		}
	}
	return g.change
}

// measure brings the streams' rates up to date.
func (g *Gauge[K]) measure(now time.Time, elapsed time.Duration) {
	if elapsed <= 0 {
		return
	}
	weight := 1 - math.Exp(-float64(elapsed)/float64(window))
	for _, s := range g.streams {
		measured := float64(s.count) / elapsed.Seconds()
		s.count = 0
		s.known += weight * (1 - s.known)
		s.rate += weight / s.known * (measured - s.rate) // without a bias towards zero at the start
		hasMore := g.level > 0 && s.told > 0 && s.rate >= slack*s.told
		switch {
		case s.told == 0 || s.rate > s.natural:
			s.natural = s.rate
		case !hasMore && now.Sub(g.raised) >= settled:
			s.natural = s.rate
		}
	}
}

// adjust makes, changes or ends the demand.
func (g *Gauge[K]) adjust(now time.Time, load batch.Load) {
	level := g.share(used * load.Capacity)
	if level > 0 {
		g.fits = time.Time{}
	} else if g.fits.IsZero() {
		g.fits = now
	}
	switch {
	case g.level == 0 && level > 0 && load.Overloaded && now.Sub(load.Since) >= patience,
		g.level > 0 && level > g.level*(1+change):
		g.level, g.raised = level, now
	case g.level > 0 && level > 0 && level < g.level*(1-change):
		g.level = level
	case g.level > 0 && level == 0 && now.Sub(g.fits) >= relief:
		g.level = 0
	}
}

// share gives the level l for which the sum of min(l·weight, natural) over the streams is the capacity; zero when all that the streams would send fits.
func (g *Gauge[K]) share(capacity float64) float64 {
	g.asks = g.asks[:0]
	weights := 0.0
	for _, s := range g.streams {
		g.asks = append(g.asks, ask{s.natural, s.weight})
		weights += s.weight
	}
	slices.SortFunc(g.asks, func(a, b ask) int { return cmp.Compare(a.rate*b.weight, b.rate*a.weight) })
	for _, a := range g.asks {
		level := capacity / weights
		if a.rate > level*a.weight {
			return level
		}
		capacity, weights = capacity-a.rate, weights-a.weight
	}
	return 0
}
