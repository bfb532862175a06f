package session

import (
	"slices"
	"time"

	"github.com/pion/rtp"

	"github.com/sluice-dev/sluice/pkg/depacket"
	"github.com/sluice-dev/sluice/pkg/jitter"
	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/services/edge/internal/header"
	"github.com/sluice-dev/sluice/services/edge/internal/peer"
)

const (
	// maxHeld is how many packets are kept for a key frame that is not whole yet.
	maxHeld = 1024
	// firstAsk is how long a layer of unknown size has to send a key frame by itself: most senders begin with one.
	firstAsk = 300 * time.Millisecond
	// askAgain is the time to the second request for a key frame; each further one takes twice as long, up to longestAsk.
	askAgain   = 500 * time.Millisecond
	longestAsk = 4 * time.Second
	// probePause is the unit in which a layer waits that did not tell its size, twice as long each time.
	probePause = 10 * time.Second
	// maxProbes is how often a key frame is asked for only to learn a size.
	maxProbes = 3
)

// trial follows a layer that is not decoded up to its next key frame: where its size is known and where it can take over. It is a
// single-threaded value that reads no clock.
type trial struct {
	index int
	// moves is true when the layer is to take over, false when only its size is asked for.
	moves bool

	jitter    *jitter.Buffer
	assembler *depacket.Assembler
	codec     media.Codec
	bytes     int
	held      []peer.Packet // of units that may be a key frame, as they arrived

	key           uint32 // timestamp of the key frame found
	width, height int    // and its size; 0 when it does not tell

	asked   int
	nextAsk time.Time
}

func newTrial(index int, moves bool, maxBytes int, now time.Time) *trial {
	t := &trial{index: index, moves: moves, bytes: maxBytes, jitter: jitter.New(jitter.Config{}), nextAsk: now}
	if !moves {
		t.nextAsk = now.Add(firstAsk)
	}
	return t
}

// member gives the index of the layer that is tried, -1 without a trial.
func (t *trial) member() int {
	if t == nil {
		return -1
	}
	return t.index
}

// urge makes a trial for a size one to go over.
func (t *trial) urge(now time.Time) {
	t.moves = true
	if t.asked == 0 {
		t.nextAsk = now
	}
}

// asks tells whether a key frame must be requested now, and takes it that the caller does so.
func (t *trial) asks(now time.Time) bool {
	if now.Before(t.nextAsk) || !t.moves && t.asked >= maxProbes {
		return false
	}
	t.nextAsk = now.Add(min(askAgain<<t.asked, longestAsk))
	t.asked = min(t.asked+1, maxProbes+1)
	return true
}

// inVain tells whether a size was asked for often enough.
func (t *trial) inVain(now time.Time) bool {
	return !t.moves && t.asked >= maxProbes && !now.Before(t.nextAsk)
}

// push takes a packet and tells whether a key frame is found.
func (t *trial) push(p peer.Packet, now time.Time) (found bool) {
	if p.Codec != t.codec || len(t.held) == maxHeld {
		t.codec, t.held, t.jitter = p.Codec, t.held[:0], jitter.New(jitter.Config{})
		t.assembler, _ = depacket.New(p.Codec, t.bytes)
	}
	if t.assembler == nil {
		return false // a codec that no stage knows
	}
	t.held = append(t.held, p)
	t.jitter.Push(p.RTP, p.Arrival)
	return t.pop(now)
}

// pop looks at the units that are due by now.
func (t *trial) pop(now time.Time) (found bool) {
	for {
		e, ok := t.jitter.Pop(now)
		if !ok {
			return false
		}
		if t.unit(t.take(e)) {
			return true
		}
	}
}

func (t *trial) take(e jitter.Event) []depacket.Unit {
	if e.Packet == nil {
		return t.assembler.Gap()
	}
	return t.assembler.Push(e.Packet, e.Arrival)
}

// unit looks for a key frame, and forgets what came before.
func (t *trial) unit(units []depacket.Unit) (found bool) {
	for _, u := range units {
		if u.Key && u.Whole() {
			t.key = u.RTP.Timestamp
			t.width, t.height = header.Read(u.Codec, u.Data).Upright()
			return true
		}
		t.assembler.Recycle(u.Data)
		t.held = slices.DeleteFunc(t.held, func(p peer.Packet) bool { return !after(p.RTP, u.RTP.Timestamp) })
	}
	return false
}

// fromKey gives the packets of the key frame and those after it, in their order.
func (t *trial) fromKey() []peer.Packet {
	t.held = slices.DeleteFunc(t.held, func(p peer.Packet) bool { return p.RTP.Timestamp != t.key && !after(p.RTP, t.key) })
	slices.SortStableFunc(t.held, func(a, b peer.Packet) int { return int(int16(a.RTP.SequenceNumber - b.RTP.SequenceNumber)) })
	return t.held
}

// after tells whether a packet is of a later unit; timestamps wrap.
func after(p *rtp.Packet, timestamp uint32) bool { return int32(p.Timestamp-timestamp) > 0 }
