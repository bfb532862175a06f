package sample

import "time"

// Timeline turns the RTP timestamps of one source (RFC 3550 section 5.1), which wrap and start anywhere, into media time that does not. It
// is not safe for concurrent use.
type Timeline struct {
	rate    int64
	ticks   int64 // unwrapped, from the first timestamp
	last    uint32
	started bool
}

// NewTimeline makes a timeline for a clock rate in ticks a second; 90000 for video. It panics when the rate is zero.
func NewTimeline(rate uint32) *Timeline {
	if rate == 0 {
		panic("sample: a timeline needs a clock rate")
	}
	return &Timeline{rate: int64(rate)}
}

// At gives the media time of a timestamp, counted from the first one that At was given. A timestamp less than half the range (6.6 hours at
// 90 kHz) behind the one before it lies in the past, any other in the future.
func (t *Timeline) At(timestamp uint32) time.Duration {
	if t.started {
		t.ticks += int64(int32(timestamp - t.last))
	}
	t.last, t.started = timestamp, true
	return time.Duration(t.ticks/t.rate)*time.Second + time.Duration(t.ticks%t.rate)*time.Second/time.Duration(t.rate)
}
