package session

import (
	"context"
	"time"

	"github.com/pion/rtp"

	"github.com/sluice-dev/sluice/pkg/clock"
	"github.com/sluice-dev/sluice/pkg/jitter"
	"github.com/sluice-dev/sluice/pkg/ledger"
	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/pkg/sound"
	"github.com/sluice-dev/sluice/services/edge/internal/peer"
)

// The bounds of how long a missing packet of sound may still come. It is not asked for again, so that only packets that overtook each other
// are worth waiting for; what is given up too early costs a few made-up milliseconds, what is given up too late costs everybody's time.
const (
	shortestSoundWait = 40 * time.Millisecond
	longestSoundWait  = 80 * time.Millisecond
)

// soundRunner takes the packets of a track of sound in order through all stages up to the uplink. While no model takes sound they are only
// counted. One goroutine runs it.
type soundRunner struct {
	source   source
	listener *listener
	budget   *budget
	reports  *reportBoard

	jitter *jitter.Buffer
	codecs [128]media.Codec // by payload type
	// captures holds the capture times of the packets in the jitter buffer that carry one.
	captures map[*rtp.Packet]uint64
	// timeline is nil while nobody listens; second is where the next one begins.
	timeline *sound.Timeline
	second   int64
	clock    *clock.Clock
	rate     int   // of the clock, 0 before there is one
	ticks    int64 // that the last packet lasted
	// available is when the newest packet could be taken: it had come, and what was missing before it was given up.
	available time.Time
	// behind is true from when decoding has fallen behind until nothing waits for it any more.
	behind bool
}

func newSoundRunner(s source, l *listener, b *budget, r *reportBoard) *soundRunner {
	return &soundRunner{
		source: s, listener: l, budget: b, reports: r, jitter: jitter.New(jitter.Config{}), captures: make(map[*rtp.Packet]uint64),
	}
}

// run goes on until the track or ctx ends. The window that is not full then is given up.
func (r *soundRunner) run(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case p, ok := <-r.source.Packets():
			if !ok {
				r.pop(ctx, time.Now().Add(time.Hour)) // what is still held back is late enough
				return
			}
			r.push(p)
		case <-timer.C:
		}
		r.jitter.SetWait(min(max(r.source.Patience(), shortestSoundWait), longestSoundWait))
		r.pop(ctx, time.Now())
		wait := time.Hour
		if at, ok := r.jitter.Next(); ok {
			wait = max(0, time.Until(at))
		}
		timer.Reset(wait)
	}
}

// push takes a packet as it arrived. What its payload type means is remembered until its turn comes.
func (r *soundRunner) push(p peer.Packet) {
	r.codecs[p.RTP.PayloadType&0x7f] = p.Codec
	if r.jitter.Push(p.RTP, p.Arrival) && p.Capture != 0 {
		r.captures[p.RTP] = p.Capture
	}
}

// pop takes what the jitter buffer gives.
func (r *soundRunner) pop(ctx context.Context, now time.Time) {
	for ctx.Err() == nil {
		at, _ := r.jitter.Next()
		e, ok := r.jitter.Pop(now)
		if !ok {
			return
		}
		if at.After(r.available) {
			r.available = at
		}
		switch {
		case e.Packet != nil:
			r.packet(ctx, e.Packet, e.Arrival)
		case r.timeline != nil:
			r.timeline.Lose(e.Lost)
		}
	}
}

// packet takes a packet in its turn. One that carries no sound, such as a telephone's keys or comfort noise, has had its effect by having had
// a turn: nothing is missing where it was.
func (r *soundRunner) packet(ctx context.Context, p *rtp.Packet, arrival time.Time) {
	capture := r.captures[p]
	delete(r.captures, p)
	codec := r.codecs[p.PayloadType&0x7f]
	rate := soundClock(codec)
	if rate == 0 {
		return
	}
	stream := r.listener.stream
	if !stream.refresh() {
		r.rest()
		id := media.RTP{Valid: true, SSRC: p.SSRC, Timestamp: p.Timestamp}
		stream.count(ledger.Unit{Arrival: arrival, RTP: id, Captured: arrival, Clock: media.ClockArrival})
		return
	}
	r.begin(rate, codec)
	r.reports.update(p.SSRC, r.clock.Report)
	r.clock.Absolute(capture, p.Timestamp)
	captured, quality := r.clock.At(p.Timestamp, arrival)

	format := sound.Format{Codec: codec, Clock: rate}
	mark := r.admit(len(p.Payload))
	ticks, err := format.Ticks(p.Payload)
	if err != nil { // its time passes all the same, and it is likely to have lasted as long as the one before
		ticks, mark = r.ticks, failed(media.DecoderError)
	}
	r.ticks = ticks
	steps := r.timeline.Push(sound.Packet{Timestamp: p.Timestamp, Ticks: ticks, Data: p.Payload, Arrival: arrival})
	if len(steps) == 0 {
		return
	}
	newest := steps[len(steps)-1]
	at := place{
		tick: newest.From - newest.Overlap, captured: captured, clock: quality,
		rtp: media.RTP{Valid: true, SSRC: p.SSRC, Timestamp: p.Timestamp},
	}
	for _, s := range steps {
		r.listener.hear(ctx, span{Step: s, Format: format, Part: sound.Part{Mark: mark, Arrival: arrival}, at: at, ready: arrival})
	}
}

// admit tells why a packet is not to be decoded, Heard if it is. When decoding falls behind, all that waits for it is given up at once: to
// go on at the edge of the deadlines would leave nothing that meets them.
func (r *soundRunner) admit(size int) sound.Mark {
	now := time.Now()
	switch patience := r.listener.patience; {
	case patience > 0 && now.Sub(r.available) > patience/2:
		r.behind = true
	case len(r.source.Packets()) == 0:
		r.behind = false
	}
	switch {
	case !r.listener.reachable():
		return marked(media.NoRouter)
	case !r.budget.take(size, now):
		return marked(media.RateLimited)
	case r.behind:
		return marked(media.Overloaded)
	}
	return sound.Heard
}

// begin makes ready for packets of a codec.
func (r *soundRunner) begin(rate int, codec media.Codec) {
	if rate != r.rate {
		r.rest()
		r.rate, r.clock, r.ticks = rate, clock.New(uint32(rate)), int64(rate/50)
	}
	if r.timeline == nil {
		r.timeline = sound.NewTimeline(rate, r.second, codec == media.Opus)
	}
}

// rest gives the timeline up: what comes later does not follow on it.
func (r *soundRunner) rest() {
	if r.timeline != nil {
		r.second = r.timeline.After()
		r.timeline = nil
	}
}

// soundClock gives the rate of a codec's timestamps (RFC 7587 section 4.1, RFC 3551 section 4.5), 0 for what is no codec of sound.
func soundClock(c media.Codec) int {
	switch c {
	case media.Opus:
		return 48000
	case media.PCMU, media.PCMA, media.G722:
		return 8000
	default:
		return 0
	}
}
