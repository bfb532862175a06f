package session

import (
	"context"
	"sync"
	"time"

	"github.com/sluice-dev/sluice/pkg/ledger"
	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/pkg/sound"
)

// channelIntake takes a data channel's messages as fast as they come, so that what waits is here, where the newest wins, and not in the
// client. The channel's reader uses it; others run the converter that takes from its slot and the player that takes from its queue of sounds.
type channelIntake struct {
	kind    channelType
	stream  *stream
	budget  *budget
	waiting *slot
	sounds  *soundQueue
	origin  time.Time // media time 0
	// hears is true when messages are sound; see settle.
	hears, settled bool
}

func newChannelIntake(kind channelType, s *stream, b *budget, waiting *slot, sounds *soundQueue) *channelIntake {
	return &channelIntake{
		kind: kind, stream: s, budget: b, waiting: waiting, sounds: sounds,
		hears: kind.hears(), settled: !kind.sniffs(),
	}
}

// whole implements messageTaker.
func (c *channelIntake) whole(message []byte, first, now time.Time, owned bool) {
	if c.settle(message); c.hears {
		c.hear(message, now, owned)
		return
	}
	sequence, due := c.receive(first)
	if len(due) == 0 {
		return
	}
	codec := c.kind.codec
	if codec == media.CodecUnknown {
		codec = sniff(message)
	}
	switch {
	case c.kind.problem != nil || codec == media.CodecUnknown:
		c.stream.fail(sequence, due, media.Unsupported)
		return
	case !c.budget.take(len(message), now):
		c.stream.drop(sequence, due, media.RateLimited)
		return
	}
	if !owned {
		message = append([]byte(nil), message...)
	}
	traced := c.stream.traced(sequence)
	traced.Arrived(first, now)
	replaced, ok := c.waiting.put(job{
		unit:     media.AccessUnit{Codec: codec, Data: message, Key: true, First: first, Last: now},
		sequence: sequence, due: due, captured: first, clock: media.ClockArrival, begun: first, ready: now, traced: traced,
	})
	if ok {
		c.stream.drop(replaced.sequence, replaced.due, media.Superseded)
	}
}

// settle lets the first message that is recognised say what a channel without a type carries: a stream has one kind.
func (c *channelIntake) settle(message []byte) {
	if c.settled {
		return
	}
	c.hears = sound.IsWAV(message)
	c.settled = c.hears || sniff(message) != media.CodecUnknown
}

// hear hands a message of sound on.
func (c *channelIntake) hear(message []byte, now time.Time, owned bool) {
	m := soundMessage{ready: now}
	switch {
	case !c.budget.take(len(message), now):
		m.drop = media.RateLimited
	case owned:
		m.data = message
	default:
		m.data = append([]byte(nil), message...)
	}
	c.sounds.put(m)
}

// lost implements messageTaker. A message's size is charged all the same: it was sent.
func (c *channelIntake) lost(first time.Time, reason media.DropReason, code media.ErrorCode, size int) {
	c.budget.take(size, first)
	if c.hears {
		c.sounds.put(soundMessage{ready: first, drop: reason, code: code})
		return
	}
	sequence, due := c.receive(first)
	if reason != media.NotDropped {
		c.stream.drop(sequence, due, reason)
	} else {
		c.stream.fail(sequence, due, code)
	}
}

func (c *channelIntake) receive(first time.Time) (sequence uint32, due []media.Due) {
	if c.origin.IsZero() {
		c.origin = first
	}
	u := ledger.Unit{Arrival: first, Captured: first, Clock: media.ClockArrival}
	c.stream.refresh()
	sequence, due = c.stream.receive(u, first.Sub(c.origin), true)
	if sequence == 0 {
		return 0, nil // the session is ending
	}
	return sequence, due
}

// slot holds the newest message that waits for the decoder. It is safe for concurrent use.
type slot struct {
	filled chan struct{} // capacity 1

	mu   sync.Mutex
	job  job
	full bool
}

func newSlot() *slot { return &slot{filled: make(chan struct{}, 1)} }

// put makes a job the one that waits, and gives the one whose place it took.
func (s *slot) put(j job) (replaced job, was bool) {
	s.mu.Lock()
	replaced, was = s.job, s.full
	s.job, s.full = j, true
	s.mu.Unlock()
	select {
	case s.filled <- struct{}{}:
	default:
	}
	return replaced, was
}

// take waits for a job until ctx ends.
func (s *slot) take(ctx context.Context) (job, bool) {
	for {
		select {
		case <-ctx.Done():
			return job{}, false
		case <-s.filled:
		}
		s.mu.Lock()
		j, ok := s.job, s.full
		s.job, s.full = job{}, false
		s.mu.Unlock()
		if ok {
			return j, true
		}
	}
}

// convertMessages takes a channel's messages to the uplink, the newest each time, until ctx ends.
func convertMessages(ctx context.Context, waiting *slot, c *converter, live liveWants) {
	for {
		j, ok := waiting.take(ctx)
		if !ok {
			return
		}
		c.convert(ctx, j, live.current())
	}
}
