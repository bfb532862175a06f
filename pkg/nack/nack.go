// Package nack decides which packets of a source to ask for again (generic NACK, RFC 4585 section 6.2.1).
//
// A Tracker must be told of every packet, those that came as retransmissions (RFC 4588) included: what it does not know to be here, it asks
// for. It is a single-threaded value that reads no clock: its owner tells it of packets, and takes what is due when Next says so.
package nack

import (
	"slices"
	"sort"
	"time"
)

const (
	defaultTries       = 4
	defaultOutstanding = 256
	defaultSettle      = 5 * time.Millisecond
	defaultInterval    = 25 * time.Millisecond
	defaultBurst       = 32
	// defaultWait serves until the owner knows better.
	defaultWait = 100 * time.Millisecond
	// misorder is how far behind a packet must lie to be no late one but the beginning of a new sequence, if its successor follows.
	misorder = 2048
)

// Config sets up a Tracker. Zero fields take their defaults.
type Config struct {
	// Tries is how often one packet is asked for at most. Default 4.
	Tries int
	// Outstanding is how many packets may be missing at once; beyond that the oldest are given up. When as many are missing in a row, the
	// network was gone and the sender is not asked to send all of that again. Default 256.
	Outstanding int
	// Settle is how long a missing packet may still come by itself, out of order, before it is asked for. Default 5 ms.
	Settle time.Duration
	// Interval is the least time between two requests for one packet. Default 25 ms.
	Interval time.Duration
	// Burst is how many packets are asked for at once; the next ones are Settle later. Answers come as they were asked for, and queues on
	// the way are short. Default 32.
	Burst int
}

// Stats counts what a Tracker has seen. Every packet that was missed and is not Outstanding is in one of Recovered, Reordered and GivenUp.
type Stats struct {
	// Requests is how often packets were asked for; a packet that was asked for twice counts as two.
	Requests uint64
	// Recovered packets came after they had been asked for, Reordered ones before.
	Recovered, Reordered uint64
	// GivenUp packets did not come in time, or were too many.
	GivenUp uint64
	// Jumps is how often more packets were missing than are worth asking for, Restarts how often the source began a new sequence.
	Jumps, Restarts uint64
}

// Tracker watches one source. It is not safe for concurrent use.
type Tracker struct {
	cfg   Config
	rtt   time.Duration
	wait  time.Duration
	stats Stats

	started bool
	highest int64     // the newest sequence seen, unwrapped
	missing []absence // in the order of their sequences
	silent  time.Time // no requests until then

	// stray is the sequence number that would confirm that the source has restarted, while suspect is true.
	stray   uint16
	suspect bool
}

// absence is a packet that is missing.
type absence struct {
	sequence int64
	noticed  time.Time
	ask      time.Time // when to ask for it, unless tries is used up
	tries    int
}

// New makes a tracker.
func New(c Config) *Tracker {
	if c.Tries <= 0 {
		c.Tries = defaultTries
	}
	if c.Outstanding <= 0 {
		c.Outstanding = defaultOutstanding
	}
	if c.Settle <= 0 {
		c.Settle = defaultSettle
	}
	if c.Interval <= 0 {
		c.Interval = defaultInterval
	}
	if c.Burst <= 0 {
		c.Burst = defaultBurst
	}
	return &Tracker{cfg: c, wait: defaultWait}
}

// SetTiming says how long an answer takes, zero when nobody knows, and how long a missing packet is of use at all.
func (t *Tracker) SetTiming(rtt, wait time.Duration) { t.rtt, t.wait = rtt, wait }

// Stats gives the counts so far.
func (t *Tracker) Stats() Stats { return t.stats }

// Outstanding gives the number of packets that are missing and may still come.
func (t *Tracker) Outstanding() int { return len(t.missing) }

// Arrived notes a packet that is here, in whichever way it came.
func (t *Tracker) Arrived(number uint16, now time.Time) {
	if !t.started {
		t.started, t.highest = true, int64(number)
		return
	}
	sequence := t.highest + int64(int16(number-uint16(t.highest)))
	switch ahead := sequence - t.highest; {
	case ahead <= -misorder:
		t.perhapsRestart(number)
		return
	case ahead <= 0:
		t.found(sequence)
	case ahead-1 > int64(t.cfg.Outstanding):
		t.stats.Jumps++
		t.stats.GivenUp += uint64(ahead - 1)
		t.giveUp(len(t.missing))
		t.highest = sequence
	default:
		for t.highest++; t.highest < sequence; t.highest++ {
			t.missing = append(t.missing, absence{sequence: t.highest, noticed: now, ask: now.Add(t.cfg.Settle)})
		}
		t.giveUp(max(0, len(t.missing)-t.cfg.Outstanding))
	}
	t.suspect = false
}

// found takes a packet off the list of those that are missing.
func (t *Tracker) found(sequence int64) {
	i := sort.Search(len(t.missing), func(i int) bool { return t.missing[i].sequence >= sequence })
	if i == len(t.missing) || t.missing[i].sequence != sequence {
		return // a duplicate, or too late
	}
	if t.missing[i].tries > 0 {
		t.stats.Recovered++
	} else {
		t.stats.Reordered++
	}
	t.missing = slices.Delete(t.missing, i, i+1)
}

// perhapsRestart takes a packet from far behind, and begins anew if it is the second one in a row (RFC 3550 appendix A.1).
func (t *Tracker) perhapsRestart(number uint16) {
	if t.suspect && number == t.stray {
		t.giveUp(len(t.missing))
		t.highest, t.suspect = int64(number), false
		t.stats.Restarts++
		return
	}
	t.stray, t.suspect = number+1, true
}

// giveUp forgets the oldest packets.
func (t *Tracker) giveUp(n int) {
	t.stats.GivenUp += uint64(n)
	t.missing = slices.Delete(t.missing, 0, n)
}

// Due appends the packets that have to be asked for now, in their order, and takes it that the caller does so.
func (t *Tracker) Due(now time.Time, to []uint16) []uint16 {
	old := 0
	for old < len(t.missing) && !now.Before(t.missing[old].noticed.Add(t.wait)) {
		old++
	}
	t.giveUp(old)
	if now.Before(t.silent) {
		return to
	}
	asked := 0
	for i := range t.missing {
		m := &t.missing[i]
		if !t.asks(m) || now.Before(m.ask) {
			continue
		}
		if asked == t.cfg.Burst {
			t.silent = now.Add(t.cfg.Settle)
			break
		}
		asked++
		m.tries++
		m.ask = now.Add(max(t.cfg.Interval, t.rtt*9/8))
		t.stats.Requests++
		to = append(to, uint16(m.sequence))
	}
	return to
}

// asks tells whether a packet will be asked for once more: not when the answer would come too late, unless it would be the first request, for
// the time that an answer takes is only known from those before.
func (t *Tracker) asks(m *absence) bool {
	return m.tries == 0 || m.tries < t.cfg.Tries && m.ask.Add(t.rtt).Before(m.noticed.Add(t.wait))
}

// Next gives the time at which to call Due again, which may be past; false when nothing is missing.
func (t *Tracker) Next() (time.Time, bool) {
	if len(t.missing) == 0 {
		return time.Time{}, false
	}
	next := t.missing[0].noticed.Add(t.wait)
	for i := range t.missing {
		if m := &t.missing[i]; t.asks(m) {
			next = earlier(next, later(m.ask, t.silent))
		}
	}
	return next, true
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
