package batch

import (
	"math"
	"time"
)

const (
	// interval is what arrivals are counted by.
	interval = 50 * time.Millisecond
	// The weights of a new interval in the two averages, whose memories are half a second and one and a half.
	fastWeight, slowWeight = 0.1, 0.033
)

// demand is the rate at which frames come. Its zero value is ready.
type demand struct {
	begun time.Time // of the interval that is being counted
	count int
	// fast and slow are averages, in frames a second.
	fast, slow float64
	known      bool
}

func (d *demand) arrived(now time.Time, n int) {
	if d.begun.IsZero() {
		d.begun = now
	}
	d.advance(now)
	d.count += n
}

// advance ends the intervals that are over. It does nothing before the first arrival, and when now is not after what it has seen: the result does not depend on how
// often it is asked.
func (d *demand) advance(now time.Time) {
	passed := int(now.Sub(d.begun) / interval)
	if d.begun.IsZero() || passed < 1 {
		return
	}
	rate := float64(d.count) / interval.Seconds()
	if !d.known {
		d.fast, d.slow, d.known = rate, rate, true
	} else {
		d.fast += fastWeight * (rate - d.fast)
		d.slow += slowWeight * (rate - d.slow)
	}
	d.fast *= math.Pow(1-fastWeight, float64(passed-1)) // nothing came in these
	d.slow *= math.Pow(1-slowWeight, float64(passed-1))
	d.begun, d.count = d.begun.Add(time.Duration(passed)*interval), 0
}
