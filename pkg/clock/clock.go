// Package clock tells when a source captured what carries an RTP timestamp.
//
// Three sources of time are used, the best one that there is: the capture times that a sender puts into its packets (abs-capture-time), its
// sender reports (RFC 3550 section 6.4.1), and the arrival of its packets. The first two are on the sender's clock, which all sources of one
// sender share: its sound and its pictures are then on one time line, although nobody knows how that relates to the edge's own. Arrival
// is on the edge's clock.
//
// A Clock is a single-threaded value that reads no clock of its own.
package clock

import (
	"time"

	"github.com/sluice-dev/sluice/pkg/media"
)

const (
	// farthest is how far a report's timestamp may lie from the media's, and how far media may run away from its arrival, before they have
	// nothing to do with each other: some senders' first report is nonsense (OBS), and a sender may begin a new sequence of timestamps.
	farthest = 10 * time.Second
	// agreement is how far a statement about the time may lie from those before it. One that lies farther off is believed when another one
	// agrees with it: then the sender's clock was set.
	agreement = 100 * time.Millisecond
	// absoluteFor is the media time for which a capture time serves the packets without one: a sender repeats it at least so often.
	absoluteFor = 5 * time.Second
)

// Clock maps the RTP timestamps of one source (SSRC) to capture times. It is not safe for concurrent use.
type Clock struct {
	rate time.Duration // ticks a second

	// newest is the timestamp seen last by At, and position its place on the unwrapped time line, in ticks.
	newest   uint32
	position int64
	heard    time.Time // its arrival
	started  bool

	arrivals delays
	reports  series
	absolute series
	// pending is a report that came before any media, which it is judged by; early tells that there is one.
	pending media.SenderReport
	early   bool
}

// New makes a clock for timestamps that count ticks of a rate, per second: 90000 for video, 48000 for Opus, 8000 for G.722. It panics when
// the rate is zero.
func New(rate uint32) *Clock {
	if rate == 0 {
		panic("clock: a source needs a clock rate")
	}
	return &Clock{rate: time.Duration(rate), reports: series{fits: true}}
}

// Report takes a sender report, and when it arrived. One that says nothing about the time, or whose timestamp is far from the media's, is
// ignored; one that contradicts those before it needs another one to agree with it.
func (c *Clock) Report(r media.SenderReport, arrival time.Time) {
	if r.NTP == 0 {
		return // RFC 3550 section 6.4.1: the sender has no clock
	}
	if !c.started {
		c.pending, c.early = r, true
		return
	}
	position := c.unwrap(r.RTPTimestamp)
	// While a source is silent its timestamps may run on or stand still.
	silent := max(0, arrival.Sub(c.heard))
	if off := c.span(c.position, position); off.Abs() > farthest && (off-silent).Abs() > farthest {
		return
	}
	c.reports.add(c, anchor{position, Time(r.NTP)})
}

// Absolute takes the capture time that a packet with an RTP timestamp carries, as an NTP timestamp of the sender's clock: seconds since 1900
// in the upper 32 bits, fractions in the lower ones. Zero is none.
func (c *Clock) Absolute(ntp uint64, timestamp uint32) {
	if ntp == 0 {
		return
	}
	if !c.started {
		c.begin(timestamp)
	}
	c.absolute.add(c, anchor{c.unwrap(timestamp), Time(ntp)})
}

// At gives the capture time of what carries a timestamp, and its quality; arrival is when its first packet arrived. It is to be called for
// every unit, in about the order of their arrival.
func (c *Clock) At(timestamp uint32, arrival time.Time) (time.Time, media.Clock) {
	if !c.started {
		c.begin(timestamp)
	}
	position := c.unwrap(timestamp)
	restarts := c.arrivals.jumps(c.span(0, position), arrival)
	if restarts {
		// The sender began a new sequence of timestamps, so all that was said about the old one is void.
		c.reports, c.absolute, c.arrivals = series{fits: true}, series{}, delays{}
	}
	c.arrivals.add(c.span(0, position), arrival)
	if position >= c.position || restarts {
		c.position, c.newest, c.heard = position, timestamp, arrival
	}
	if c.early {
		c.early = false
		c.Report(c.pending, arrival)
	}
	switch newest, ok := c.absolute.newest(); {
	case ok && c.span(newest.position, position).Abs() <= absoluteFor:
		return c.absolute.at(c, position), media.ClockAbsCapture
	case c.reports.known():
		return c.reports.at(c, position), media.ClockSenderReport
	default:
		return c.arrivals.at(c.span(0, position)), media.ClockArrival
	}
}

func (c *Clock) begin(timestamp uint32) {
	c.newest, c.position, c.started = timestamp, int64(timestamp), true
}

// unwrap gives a timestamp's place on the time line: timestamps wrap after 13 hours at 90 kHz.
func (c *Clock) unwrap(timestamp uint32) int64 {
	return c.position + int64(int32(timestamp-c.newest))
}

// span is the media time between two places on the time line.
func (c *Clock) span(from, to int64) time.Duration {
	ticks := to - from
	rate := int64(c.rate)
	return time.Duration(ticks/rate)*time.Second + time.Duration(ticks%rate)*time.Second/c.rate
}

// Time gives the time that an NTP timestamp names: seconds since 1900 in the upper 32 bits. Seconds below 2³¹ are taken to be of the
// era that begins in 2036 (RFC 4330 section 3).
func Time(ntp uint64) time.Time {
	const (
		sinceUnix = 2208988800 // seconds from 1900 to 1970
		era       = 1 << 32
	)
	seconds := int64(ntp >> 32)
	if seconds < era/2 {
		seconds += era
	}
	nanoseconds := (ntp & (era - 1)) * uint64(time.Second) >> 32
	return time.Unix(seconds-sinceUnix, int64(nanoseconds)).UTC()
}
