package jitter

import "time"

const (
	// shortest and longest bound Wait. Requests are not repeated as fast as the round trip of a city allows, and senders take their time to answer;
	// what takes longer than the longest is cheaper had from a new key frame, and with the time that this takes a picture would be older than a
	// second.
	shortest = 150 * time.Millisecond
	longest  = 500 * time.Millisecond
	// usualTrip is taken for the round-trip time until one is measured: it makes the default wait of a buffer.
	usualTrip = 40 * time.Millisecond
)

// Wait gives how long a missing packet may still come: four attempts to have it again, each of the round-trip time and an eighth, and twice the
// jitter, within 150 and 500 ms. With a tenth of all packets lost either way, one attempt in five fails: two leave a gap every few seconds, and a
// sixth of the pictures is lost to waiting for key frames; four leave one in minutes. A round-trip time of zero is not known yet.
func Wait(rtt, spread time.Duration) time.Duration {
	if rtt <= 0 {
		rtt = usualTrip
	}
	return min(max(rtt*9/2+2*spread, shortest), longest)
}

// Straggle gives how long a packet may still come that nobody asks for again, as those of sound: twice the jitter and what reordering on the
// way may cost, within 20 and 100 ms.
func Straggle(spread time.Duration) time.Duration {
	return min(reordering+2*spread, defaultWait)
}

// reordering is how long paths that carry packets out of order hold one back beside the jitter that they have anyway.
const reordering = 20 * time.Millisecond

// Spread measures how much the time that packets are on their way varies: the interarrival jitter of RFC 3550 section 6.4.1, of the first
// packet of each picture only, for senders pace the others. The zero value has no rate; make one with NewSpread.
type Spread struct {
	rate      time.Duration // ticks a second
	started   bool
	timestamp uint32
	at        time.Time
	estimate  time.Duration
}

// NewSpread makes a measure of a source whose timestamps count ticks of a rate, per second.
func NewSpread(rate int) *Spread { return &Spread{rate: time.Duration(rate)} }

// Arrived notes a packet. Retransmissions of older pictures are told by their timestamps.
func (s *Spread) Arrived(timestamp uint32, at time.Time) {
	ticks := int32(timestamp - s.timestamp)
	if s.started && ticks <= 0 {
		return
	}
	if s.started {
		late := at.Sub(s.at) - time.Duration(ticks)*time.Second/s.rate
		s.estimate += (min(max(late, -late), longest) - s.estimate) / 16
	}
	s.started, s.timestamp, s.at = true, timestamp, at
}

// Estimate gives the jitter.
func (s *Spread) Estimate() time.Duration { return s.estimate }
