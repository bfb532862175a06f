package session

import "time"

const (
	// lateLag is how far decoding may fall behind the network before pictures are no longer converted: they would be stale.
	lateLag = 100 * time.Millisecond
	// lostLag is how far it may fall behind before it goes on at the next key frame only, unless after lostFor it is catching up at twice the
	// speed of the network or more: decoding is faster than that as a rule, so that a short stall of the machine is soon made up for. Beyond
	// hopelessLag nobody waits for that.
	lostLag     = 180 * time.Millisecond
	lostFor     = 30 * time.Millisecond
	hopelessLag = 500 * time.Millisecond
	// overloadCalm is how long decoding must have kept up for the next time to count as the first.
	overloadCalm = 10 * time.Second
	// mostSpacing is the most seconds between two requests for a key frame because of overload. A stream that needs more keeps the decoder
	// idle for longer than that costs its sender.
	mostSpacing = 3
)

// effort is what is done for a unit.
type effort uint8

const (
	fullEffort  effort = iota
	onlyDecoded        // for the sake of later units
	givenUp            // and all up to the next key frame
)

// overload decides what becomes of a stream's units when decoding cannot keep up: late ones are decoded without being converted, and when that
// does not help, none until the next key frame. It is a pure value; the zero one is ready.
type overload struct {
	behind time.Time     // since when decoding has been too far behind; zero when it is not
	from   time.Duration // how far it was then
	times  int           // it was given up without a calm in between
	last   time.Time     // when it was given up last
	ask    time.Time     // when a key frame was to be asked for then
}

// judge tells what to do for a unit that became ready lag ago.
func (o *overload) judge(lag time.Duration, now time.Time) effort {
	if lag <= lostLag {
		o.behind = time.Time{}
		if lag <= lateLag {
			return fullEffort
		}
		return onlyDecoded
	}
	if o.behind.IsZero() {
		o.behind, o.from = now, lag
	}
	elapsed := now.Sub(o.behind)
	if lag > hopelessLag || elapsed >= lostFor && lag > o.from-elapsed {
		return givenUp
	}
	return onlyDecoded
}

// giveUp notes that units are given up until the next key frame, and gives the time from which one may be asked for: at once the first time,
// and then a second, two and three after the last request while decoding falls behind again, for key frames are the largest there are.
func (o *overload) giveUp(now time.Time) (ask time.Time) {
	o.behind = time.Time{}
	if now.Sub(o.last) > overloadCalm {
		o.times = 0
	}
	ask = now
	if o.times > 0 {
		if at := o.ask.Add(time.Duration(o.times) * time.Second); at.After(now) {
			ask = at
		}
	}
	o.times = min(o.times+1, mostSpacing)
	o.last, o.ask = now, ask
	return ask
}
