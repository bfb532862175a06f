// Package jitter puts the RTP packets of one source back in order. What it gives out is a sequence without surprises: packets in order, and
// a named gap wherever packets are given up as lost.
//
// A Buffer is a single-threaded value that reads no clock: its owner pushes a packet, then pops until nothing comes, and pops again at the
// time that Next names.
package jitter

import (
	"time"

	"github.com/pion/rtp"
)

const (
	defaultSize = 2048
	defaultWait = 100 * time.Millisecond
	// smallest is the window that a buffer starts with; it grows to Size when packets are that far apart. largest keeps it well under the
	// 32768 at which 16 bits no longer tell before from after.
	smallest, largest = 64, 1 << 14
	// misorder is how far behind a packet must lie to be no late one but the beginning of a new sequence, if its successor follows. No
	// sender answers retransmission requests for packets that old.
	misorder = 2048
)

// Config sets up a Buffer. Zero fields take their defaults.
type Config struct {
	// Size bounds how many sequence numbers the buffer spans from the oldest missing packet, and so how many packets it holds. It is
	// rounded up to a power of two between 64 and 16384. Default 2048.
	Size int
	// Wait is how long a missing packet may still come, from the arrival of the packet that showed it missing. Default 100 ms.
	Wait time.Duration
}

// Event is either a packet in order or a gap.
type Event struct {
	// Packet is nil for a gap. It is the caller's again.
	Packet *rtp.Packet
	// Arrival is when the packet arrived; for a gap it is zero.
	Arrival time.Time
	// Sequence is the packet's sequence number unwrapped to 64 bits, or that of a gap's first packet.
	Sequence int64
	// Lost is the number of packets given up in a gap, at least 1; after a restart of the source, where nobody can know, it is 1.
	Lost int
}

// Stats counts what a Buffer has seen. Every packet pushed is in exactly one of Packets, Fillers, Duplicate, Late and Overrun.
type Stats struct {
	// Packets were taken, to be given out in order.
	Packets uint64
	// Fillers had no payload: they hold a place in the sequence and nothing else. Chrome probes bandwidth with them.
	Fillers uint64
	// Duplicate packets were here already.
	Duplicate uint64
	// Late packets came after their place had been given out or given up.
	Late uint64
	// Overrun packets were refused because the owner did not pop.
	Overrun uint64
	// Lost is the number of packets given up, Gaps in how many gaps.
	Lost, Gaps uint64
	// Restarts is how often the source began a new sequence.
	Restarts uint64
}

// Buffer reorders one source. It is not safe for concurrent use.
type Buffer struct {
	size  int
	wait  time.Duration
	stats Stats

	slots   []slot // a ring: sequence n lies at n & (len-1)
	next    int64  // the sequence to give out next
	highest int64  // the newest sequence seen
	started bool

	// ahead is a packet that lies too far ahead for the window, at sequence aheadAt: everything before it is given out or given up at once.
	ahead   slot
	aheadAt int64
	// restart is true when the packet ahead begins a new sequence, so that its distance means nothing.
	restart bool

	// stray is the sequence number that would confirm that the source has restarted, while suspect is true.
	stray   uint16
	suspect bool
}

type state uint8

const (
	missing state = iota
	filler
	present
)

// slot is one place in the sequence.
type slot struct {
	packet *rtp.Packet
	// at is when the packet arrived or, while missing, when it was noticed to be missing.
	at    time.Time
	state state
}

// New makes an empty buffer.
func New(c Config) *Buffer {
	b := &Buffer{size: smallest, wait: c.Wait, highest: -1}
	if c.Size <= 0 {
		c.Size = defaultSize
	}
	if c.Wait <= 0 {
		b.wait = defaultWait
	}
	for b.size < min(c.Size, largest) {
		b.size *= 2
	}
	b.slots = make([]slot, smallest)
	return b
}

// SetWait changes how long missing packets may still come, those already missed included. A round-trip time that is known makes the better
// wait: a retransmission takes at least one.
func (b *Buffer) SetWait(wait time.Duration) { b.wait = wait }

// Stats gives the counts so far.
func (b *Buffer) Stats() Stats { return b.stats }

// Push takes a packet that arrived. The buffer owns the packet while it returns true, until Pop gives it back; when it returns false
// the packet is not needed, a filler, a duplicate or late, and stays the caller's. After each Push the owner pops until nothing comes:
// while a packet from beyond the window waits to be popped, further ones are refused.
//
// The first packet pushed is the first of the sequence: it is given out at once, and what was sent before it is late.
func (b *Buffer) Push(p *rtp.Packet, arrival time.Time) (kept bool) {
	if b.ahead.state != missing {
		b.stats.Overrun++
		return false
	}
	if !b.started {
		b.started = true
		b.next = int64(p.SequenceNumber)
		b.highest = b.next - 1
	}
	sequence := b.highest + int64(int16(p.SequenceNumber-uint16(b.highest)))
	switch {
	case sequence < b.next:
		if !b.restarts(sequence, p.SequenceNumber) {
			b.stats.Late++
			return false
		}
		b.stats.Restarts++
		b.ahead, b.aheadAt, b.restart = b.fill(p, arrival), sequence+1<<16, true
		return b.ahead.state == present
	case sequence >= b.next+int64(b.size):
		b.ahead, b.aheadAt = b.fill(p, arrival), sequence
		return b.ahead.state == present
	}
	b.reach(sequence, arrival)
	s := b.at(sequence)
	if s.state != missing {
		b.stats.Duplicate++
		return false
	}
	*s = b.fill(p, arrival)
	return s.state == present
}

// fill makes the slot of a packet and counts it.
func (b *Buffer) fill(p *rtp.Packet, arrival time.Time) slot {
	b.suspect = false
	if len(p.Payload) == 0 {
		b.stats.Fillers++
		return slot{at: arrival, state: filler}
	}
	b.stats.Packets++
	return slot{packet: p, at: arrival, state: present}
}

// restarts tells whether a packet behind the window begins a new sequence: it does when it lies far behind and follows on another one that
// does (RFC 3550 appendix A.1).
func (b *Buffer) restarts(sequence int64, number uint16) bool {
	if b.next-sequence <= misorder {
		return false
	}
	confirmed := b.suspect && number == b.stray
	b.stray, b.suspect = number+1, true
	return confirmed
}

// reach extends the known sequence up to a packet that arrived, noting what is now seen to be missing.
func (b *Buffer) reach(sequence int64, arrival time.Time) {
	if need := sequence - b.next + 1; need > int64(len(b.slots)) {
		b.grow(need)
	}
	for ; b.highest < sequence; b.highest++ {
		*b.at(b.highest + 1) = slot{at: arrival}
	}
}

// grow makes room for a number of slots from next on.
func (b *Buffer) grow(need int64) {
	size := len(b.slots)
	for int64(size) < need {
		size *= 2
	}
	slots := make([]slot, size)
	for sequence := b.next; sequence <= b.highest; sequence++ {
		slots[sequence&int64(size-1)] = *b.at(sequence)
	}
	b.slots = slots
}

func (b *Buffer) at(sequence int64) *slot { return &b.slots[sequence&int64(len(b.slots)-1)] }

// Pop gives the next event: a packet whose turn it is, or a gap whose wait is over. It returns false when there is none yet. A time far
// enough in the future empties the buffer.
func (b *Buffer) Pop(now time.Time) (Event, bool) {
	for b.next <= b.highest {
		s := b.at(b.next)
		switch {
		case s.state != missing:
			e := Event{Packet: s.packet, Arrival: s.at, Sequence: b.next}
			*s = slot{}
			b.next++
			if e.Packet != nil {
				return e, true
			}
		case b.ahead.state == missing && now.Before(s.at.Add(b.wait)):
			return Event{}, false
		default:
			return b.gap(b.run()), true
		}
	}
	return b.popAhead()
}

// popAhead gives out the packet from beyond the window, now that the window is empty.
func (b *Buffer) popAhead() (Event, bool) {
	switch lost := b.aheadAt - b.next; {
	case b.ahead.state == missing:
		return Event{}, false
	case b.restart:
		b.next = b.aheadAt - 1
		b.restart = false
		return b.gap(1), true
	case lost > 0:
		return b.gap(lost), true
	}
	e := Event{Packet: b.ahead.packet, Arrival: b.ahead.at, Sequence: b.aheadAt}
	b.next, b.highest = b.aheadAt+1, b.aheadAt
	b.ahead = slot{}
	return e, e.Packet != nil
}

// run counts the missing packets from next on. There is an end to them: the newest packet seen is here.
func (b *Buffer) run() int64 {
	n := int64(1)
	for b.at(b.next+n).state == missing {
		n++
	}
	return n
}

// gap gives up a number of packets.
func (b *Buffer) gap(lost int64) Event {
	e := Event{Sequence: b.next, Lost: int(lost)}
	b.next += lost
	b.stats.Lost += uint64(lost)
	b.stats.Gaps++
	return e
}

// Next gives the time at which Pop will have something, if nothing is pushed until then; false when it will not. A time that is not in the
// future means now.
func (b *Buffer) Next() (time.Time, bool) {
	switch {
	case b.ahead.state != missing:
		return b.ahead.at, true
	case b.next > b.highest:
		return time.Time{}, false
	}
	s := b.at(b.next)
	if s.state != missing {
		return s.at, true
	}
	return s.at.Add(b.wait), true
}
