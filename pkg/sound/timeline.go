package sound

import "time"

// Op says what makes the samples of a step.
type Op uint8

// The operations. Decode and Recover need the step's Data; Silence is zeros and needs no decoder.
const (
	Decode  Op = iota + 1
	Recover    // what a packet tells of the one before it: in-band FEC
	Conceal    // what the decoder makes up
	Silence
)

// Step is a span of a timeline and what fills it.
type Step struct {
	Op Op
	// Begins is true for the first step of a segment: what came before does not lead up to it.
	Begins bool
	// From and To bound the span in ticks from the timeline's beginning, To excluded. Within a segment a step begins where the one before ended.
	From, To int64
	// Overlap is how many ticks at the beginning of a packet to decode lie before From: they are there already. Else it is 0.
	Overlap int64
	// Data is the packet to decode or to recover from, as it was pushed.
	Data []byte
	// Outage is true for the zeros of a loss so long that nothing bridges it.
	Outage bool
}

const (
	// maxConcealed is how long a decoder may go on by itself; after that it only makes noises.
	maxConcealed = 100 * time.Millisecond
	// outage is the longest loss that windows are made across as if nothing were the matter.
	outage = 500 * time.Millisecond
	// maxLost is the longest loss that is filled at all.
	maxLost = 2 * time.Second
	// maxSilence is the longest silence that is filled; encoders with DTX send a packet every 400 ms all the same.
	maxSilence = 15 * time.Second
	// maxAhead is how much longer than the time that has passed a silence may be, so that nobody can have hours of it made by a packet. All that
	// is filled together is no longer than the time that has passed and mostSaved, so that nobody can have them made by many packets either.
	maxAhead  = 2 * time.Second
	mostSaved = maxSilence + maxAhead
	// maxEarly is how far behind its place a packet may lie and still be a matter of a sender's wobbling clock.
	maxEarly = 200 * time.Millisecond
)

// Packet is a packet of sound in its turn.
type Packet struct {
	Timestamp uint32
	// Ticks is how long it lasts, at least 1; see Format.Ticks.
	Ticks int64
	Data  []byte
	// Arrival is when it arrived.
	Arrival time.Time
}

// Timeline lays packets out in time and says what fills the space between them. It is not safe for concurrent use.
type Timeline struct {
	clock    int64
	conceals bool

	started bool
	end     int64  // the tick up to which steps were given
	next    uint32 // the timestamp there
	ticks   int64  // of the packet before
	arrival time.Time
	saved   int64 // ticks that may be filled; see mostSaved
	lost    int64 // packets since then
	steps   [4]Step
	n       int
}

// NewTimeline makes a timeline for a clock in ticks a second, which must be positive. It begins at a whole second, 0 for the first timeline of
// a source; see After. conceals tells that the codec can recover and conceal what is lost.
func NewTimeline(clock int, second int64, conceals bool) *Timeline {
	t := &Timeline{clock: int64(clock), conceals: conceals, end: second * int64(clock)}
	t.saved = t.span(maxAhead)
	return t
}

// Clock gives the ticks a second.
func (t *Timeline) Clock() int { return int(t.clock) }

// After gives a second at which nothing of the timeline can be mistaken for its continuation: that at which a source whose clock changes
// goes on.
func (t *Timeline) After() int64 { return t.end/t.clock + 2 }

// Lose notes packets that were lost before the next one.
func (t *Timeline) Lose(packets int) { t.lost += int64(packets) }

// Push takes the next packet and gives the steps up to its end: nothing for one whose time is over. They are valid until the next call; their
// Data is the packet's.
func (t *Timeline) Push(p Packet) []Step {
	t.n = 0
	ahead, passed := int64(int32(p.Timestamp-t.next)), t.pass(p.Arrival)
	begins := !t.started || ahead > t.longest(passed) || ahead < -t.span(maxEarly)
	switch {
	case !t.started:
	case begins && ahead > 0:
		t.end += ahead
	case begins:
		t.end = t.After() * t.clock
	case ahead+p.Ticks <= 0:
		return nil
	case ahead > 0:
		t.saved -= ahead
		t.fill(t.end+ahead, p)
	}
	overlap := int64(0)
	if !begins && ahead < 0 {
		overlap = -ahead
	}
	t.add(Step{Op: Decode, Begins: begins, To: t.end + p.Ticks - overlap, Overlap: overlap, Data: p.Data})
	t.started, t.next, t.ticks = true, p.Timestamp+uint32(p.Ticks), p.Ticks
	t.lost = 0
	return t.steps[:t.n]
}

// pass lets the time pass up to the arrival of a packet, and tells how much it was since the newest one before.
func (t *Timeline) pass(now time.Time) (passed time.Duration) {
	if !now.After(t.arrival) {
		return 0 // it overtook the one before
	}
	if t.started {
		passed = min(now.Sub(t.arrival), mostSaved)
	}
	t.arrival = now
	t.saved = min(t.saved+t.span(passed), t.span(mostSaved))
	return passed
}

// longest gives how many ticks may be filled before a packet that came some time after the one before.
func (t *Timeline) longest(passed time.Duration) int64 {
	most := maxLost
	if t.lost == 0 {
		most = min(maxSilence, passed+maxAhead)
	}
	return min(t.span(most), t.saved)
}

func (t *Timeline) span(d time.Duration) int64 { return t.clock * int64(d) / int64(time.Second) }

// fill closes the gap before a packet, which begins at a tick.
func (t *Timeline) fill(to int64, next Packet) {
	if t.lost == 0 {
		t.add(Step{Op: Silence, To: to})
		return
	}
	total := to - t.end
	// How long the lost packets were nobody knows. If the gap is longer than their number tells, the rest of it is silence.
	missing := min(total, t.lost*max(t.ticks, next.Ticks))
	var concealed, recovered int64
	if t.conceals {
		grain := max(t.clock/400, 1) // decoders conceal in steps of 2.5 ms (RFC 6716 section 2.1.4)
		recovered = min(total, next.Ticks) / grain * grain
		concealed = max(0, min(missing-recovered, t.span(maxConcealed))) / grain * grain
	}
	t.add(Step{Op: Conceal, To: t.end + concealed})
	t.add(Step{Op: Silence, To: to - recovered, Outage: missing == total && total > t.span(outage)})
	t.add(Step{Op: Recover, To: to, Data: next.Data})
}

// add appends a step that begins at the end, unless it is empty.
func (t *Timeline) add(s Step) {
	if s.To == t.end {
		return
	}
	s.From = t.end
	t.end = s.To
	t.steps[t.n] = s
	t.n++
}
