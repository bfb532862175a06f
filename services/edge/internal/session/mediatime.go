package session

import (
	"time"

	"github.com/sluice-dev/sluice/pkg/clock"
	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/pkg/sample"
	"github.com/sluice-dev/sluice/services/edge/internal/peer"
)

// mediaTime gives the time of a track's units: when they were captured, and the media time by which they are sampled, which runs on when
// another layer of a simulcast takes over. Each layer is a source with timestamps and reports of its own. One goroutine uses it.
type mediaTime struct {
	reports *reportBoard
	// clocks of the sources heard so far, by SSRC; the peer bounds their number.
	clocks map[uint32]*clock.Clock

	source   uint32
	timeline *sample.Timeline // of the source
	origin   time.Duration    // media time at the timeline's beginning
	last     moment
}

// moment is a unit in all times.
type moment struct {
	media             time.Duration
	captured, arrival time.Time
	quality           media.Clock
}

func newMediaTime(reports *reportBoard) *mediaTime {
	return &mediaTime{reports: reports, clocks: make(map[uint32]*clock.Clock)}
}

// packet takes note of what a packet says about the time.
func (m *mediaTime) packet(p peer.Packet) {
	if p.Capture != 0 {
		m.clock(p.RTP.SSRC).Absolute(p.Capture, p.RTP.Timestamp)
	}
}

// at gives the times of a unit whose first packet arrived then.
func (m *mediaTime) at(id media.RTP, arrival time.Time) moment {
	c := m.clock(id.SSRC)
	m.reports.update(id.SSRC, c.Report)
	now := moment{arrival: arrival}
	now.captured, now.quality = c.At(id.Timestamp, arrival)
	if m.timeline == nil || id.SSRC != m.source {
		if m.timeline != nil {
			m.origin = m.last.media + m.last.until(now)
		}
		m.source, m.timeline = id.SSRC, sample.NewTimeline(videoClock)
	}
	now.media = m.origin + m.timeline.At(id.Timestamp)
	m.last = now
	return now
}

// until is the time from one unit to another one of another source: by the sender's clock where it is known of both.
func (a moment) until(b moment) time.Duration {
	if a.quality > media.ClockArrival && b.quality > media.ClockArrival {
		return b.captured.Sub(a.captured)
	}
	return b.arrival.Sub(a.arrival)
}

func (m *mediaTime) clock(ssrc uint32) *clock.Clock {
	c, ok := m.clocks[ssrc]
	if !ok {
		c = clock.New(videoClock)
		m.clocks[ssrc] = c
	}
	return c
}
