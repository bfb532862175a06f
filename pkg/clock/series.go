package clock

import "time"

const (
	// kept is how many statements the line is fitted to.
	kept = 10
	// fitFrom is the time that statements must span before the line's slope follows them: over less, what they are rounded to would
	// tilt it.
	fitFrom = 5 * time.Second
	// steepest bounds how much a sender's media clock may run away from its wall clock, as a fraction. Crystals keep to 1e-4.
	steepest = 1e-3
)

// anchor is a statement of the sender: what lies there on the time line of its timestamps was captured then.
type anchor struct {
	position int64
	at       time.Time
}

// series is what the sender said lately about the time. The zero value knows nothing.
type series struct {
	// fits makes a straight line of the statements, for those that are rounded; without it the newest one is the truth.
	fits    bool
	anchors []anchor // oldest first, at most kept
	// doubted contradicts the others; another one in agreement with it takes their place.
	doubted anchor
	doubts  bool
}

// add takes a statement, if it is to be believed.
func (s *series) add(c *Clock, a anchor) {
	switch {
	case len(s.anchors) == 0, a.at.Sub(s.at(c, a.position)).Abs() <= agreement:
	case s.doubts && a.at.Sub(s.doubted.at.Add(c.span(s.doubted.position, a.position))).Abs() <= agreement:
		s.anchors = append(s.anchors[:0], s.doubted)
	default:
		s.doubted, s.doubts = a, true
		return
	}
	s.doubts = false
	if last, ok := s.newest(); ok && a.position <= last.position {
		return // overtaken on its way
	}
	if len(s.anchors) == kept {
		copy(s.anchors, s.anchors[1:])
		s.anchors = s.anchors[:kept-1]
	}
	s.anchors = append(s.anchors, a)
}

func (s *series) known() bool { return len(s.anchors) > 0 }

func (s *series) newest() (anchor, bool) {
	if len(s.anchors) == 0 {
		return anchor{}, false
	}
	return s.anchors[len(s.anchors)-1], true
}

// at gives the time of a place on the time line, by the newest statement or the line through all of them. There must be one.
func (s *series) at(c *Clock, position int64) time.Time {
	last := s.anchors[len(s.anchors)-1]
	if !s.fits {
		return last.at.Add(c.span(last.position, position))
	}
	// Deviations from a clock that runs true, relative to the newest statement, are small numbers: x in seconds, y in nanoseconds.
	var sumX, sumY float64
	n := float64(len(s.anchors))
	for _, a := range s.anchors {
		x, y := s.deviation(c, last, a)
		sumX, sumY = sumX+x, sumY+y
	}
	meanX, meanY := sumX/n, sumY/n
	var slope float64
	if c.span(s.anchors[0].position, last.position) >= fitFrom {
		var xx, xy float64
		for _, a := range s.anchors {
			x, y := s.deviation(c, last, a)
			xx, xy = xx+(x-meanX)*(x-meanX), xy+(x-meanX)*(y-meanY)
		}
		limit := steepest * float64(time.Second)
		slope = min(max(xy/xx, -limit), limit)
	}
	span := c.span(last.position, position)
	correction := meanY + slope*(span.Seconds()-meanX)
	return last.at.Add(span + time.Duration(correction))
}

// deviation gives where a statement lies by the media's clock, and how much later the sender's says that it is.
func (s *series) deviation(c *Clock, origin, a anchor) (x, y float64) {
	span := c.span(origin.position, a.position)
	return span.Seconds(), float64(a.at.Sub(origin.at) - span)
}

// delayWindow is how long the least delay counts: long enough to have met a packet that nothing held up, short enough for clocks that drift
// apart to make no difference.
const delayWindow = 10 * time.Second

// delays maps media time to arrival by the packets that took the least time: what others took longer is the network's doing. The zero value
// is ready.
type delays struct {
	// least is the earliest arrival of media time zero, by the packets of the current window; before by those of the one before.
	least, before time.Time
	began         time.Time // the current window
}

// jumps tells whether media lies so far from what its arrival lets expect that it belongs to another time line.
func (d *delays) jumps(media time.Duration, arrival time.Time) bool {
	return !d.least.IsZero() && arrival.Add(-media).Sub(d.origin()).Abs() > farthest
}

// add notes an arrival.
func (d *delays) add(media time.Duration, arrival time.Time) {
	origin := arrival.Add(-media)
	switch {
	case d.least.IsZero():
		*d = delays{least: origin, before: origin, began: arrival}
	case arrival.Sub(d.began) >= delayWindow:
		d.before, d.least, d.began = d.least, origin, arrival
	case origin.Before(d.least):
		d.least = origin
	}
}

// origin is when media time zero would have arrived.
func (d *delays) origin() time.Time {
	if d.before.Before(d.least) {
		return d.before
	}
	return d.least
}

// at gives when media would have arrived with the least delay.
func (d *delays) at(media time.Duration) time.Time { return d.origin().Add(media) }
