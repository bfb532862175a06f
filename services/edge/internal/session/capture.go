package session

import (
	"time"

	"github.com/sluice-dev/sluice/pkg/media"
)

// captureClock tells when a source captured what carries an RTP timestamp: by its sender reports (RFC 3550 section 6.4.1), and by arrival
// until there is one that can be believed. It is a single-threaded value.
type captureClock struct {
	rate   float64 // ticks a second
	report media.SenderReport
	known  bool
	// doubted is a report that contradicts the one in use; a second one in agreement with it replaces that.
	doubted      media.SenderReport
	doubtedKnown bool
}

const (
	// farthest is how far a report's timestamp may lie from the media's: some senders' first report is nonsense.
	farthest = 10 * time.Second
	// agreement is how far two reports of one source may lie apart before the sender's clock must have been set.
	agreement = 100 * time.Millisecond
)

// observe takes a report, given the timestamp of the newest unit.
func (c *captureClock) observe(r media.SenderReport, newest uint32) {
	if abs(c.span(r.RTPTimestamp, newest)) > farthest {
		return
	}
	believed := !c.known || c.agree(c.report, r) || c.doubtedKnown && c.agree(c.doubted, r)
	if !believed {
		c.doubted, c.doubtedKnown = r, true
		return
	}
	c.report, c.known, c.doubtedKnown = r, true, false
}

// at gives the capture time of a unit and its quality.
func (c *captureClock) at(timestamp uint32, arrival time.Time) (time.Time, media.Clock) {
	if !c.known {
		return arrival, media.ClockArrival
	}
	return reportTime(c.report).Add(c.span(c.report.RTPTimestamp, timestamp)), media.ClockSenderReport
}

// span is the media time from one timestamp to another; timestamps wrap.
func (c *captureClock) span(from, to uint32) time.Duration {
	return time.Duration(float64(int32(to-from)) / c.rate * float64(time.Second))
}

func (c *captureClock) agree(a, b media.SenderReport) bool {
	return abs(reportTime(b).Sub(reportTime(a))-c.span(a.RTPTimestamp, b.RTPTimestamp)) <= agreement
}

func reportTime(r media.SenderReport) time.Time {
	millis := r.UnixMillis()
	whole := int64(millis)
	return time.UnixMilli(whole).Add(time.Duration((millis - float64(whole)) * float64(time.Millisecond)))
}

func abs(d time.Duration) time.Duration {
	if d < 0 {
		return -d
	}
	return d
}
