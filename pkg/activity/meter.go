package activity

import (
	"math"
	"slices"
	"time"
)

// seconds is what a meter looks back on.
const seconds = 10

// meter counts what happens, second by second.
type meter struct {
	born   time.Time
	second int64 // since born, of the newest count
	counts [seconds]uint32
}

func newMeter(born time.Time) meter { return meter{born: born} }

// add counts one event.
func (m *meter) add(now time.Time) {
	m.advance(now)
	m.counts[m.second%seconds]++
}

// rate gives the events a second. Of a life of less than a second it is a whole second's, so that the first event is no storm.
func (m *meter) rate(now time.Time) float64 {
	m.advance(now)
	var sum uint64
	for _, n := range m.counts {
		sum += uint64(n)
	}
	life := max(now.Sub(m.born).Seconds(), 0)
	// The newest second is not over: what is looked back on is nine seconds and a part.
	_, part := math.Modf(life)
	return float64(sum) / min(max(life, 1), seconds-1+part)
}

// advance makes now's second the newest one. Time does not run backwards.
func (m *meter) advance(now time.Time) {
	second := int64(now.Sub(m.born) / time.Second)
	for gap := min(second-m.second, seconds); gap > 0; gap-- {
		m.counts[(second-gap+1)%seconds] = 0
	}
	m.second = max(m.second, second)
}

// samples is how many latencies are remembered.
const samples = 128

// latencies are the newest ones.
type latencies struct {
	ring [samples]time.Duration
	seen int
}

func (l *latencies) add(d time.Duration) {
	l.ring[l.seen%samples] = d
	l.seen++
}

// quantiles gives nearest-rank quantiles, zero for no values.
func (l *latencies) quantiles() (p50, p95 time.Duration) {
	n := min(l.seen, samples)
	if n == 0 {
		return 0, 0
	}
	sorted := slices.Clone(l.ring[:n])
	slices.Sort(sorted)
	rank := func(percent int) time.Duration { return sorted[(percent*n+99)/100-1] }
	return rank(50), rank(95)
}
