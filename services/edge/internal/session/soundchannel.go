package session

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/sluice-dev/sluice/pkg/ledger"
	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/pkg/sound"
)

// soundMessage is a message of a channel of sound, or the report of one that is not to be had.
type soundMessage struct {
	data  []byte
	ready time.Time
	// drop or code, when set, is why there is no data.
	drop media.DropReason
	code media.ErrorCode
	// lost is how many messages before this one had to go for newer ones.
	lost int
}

// soundQueue holds the messages of a channel that were not heard yet, in their order. When they are too many the oldest one goes. It is safe for
// concurrent use.
type soundQueue struct {
	limit  int           // bytes that may wait beside the newest message
	filled chan struct{} // capacity 1

	mu       sync.Mutex
	messages []soundMessage
	bytes    int
}

// maxSoundMessages bounds the messages that wait, however small they are.
const maxSoundMessages = 64

func newSoundQueue(limit int) *soundQueue {
	return &soundQueue{limit: limit, filled: make(chan struct{}, 1)}
}

// put appends a message.
func (q *soundQueue) put(m soundMessage) {
	q.mu.Lock()
	q.messages = append(q.messages, m)
	q.bytes += len(m.data)
	for len(q.messages) > 1 && (q.bytes-len(m.data) > q.limit || len(q.messages) > maxSoundMessages) {
		oldest := q.messages[0]
		q.messages = slices.Delete(q.messages, 0, 1)
		q.bytes -= len(oldest.data)
		q.messages[0].lost += oldest.lost + 1
	}
	q.mu.Unlock()
	select {
	case q.filled <- struct{}{}:
	default:
	}
}

// next gives the oldest message if there is one.
func (q *soundQueue) next() (soundMessage, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.messages) == 0 {
		return soundMessage{}, false
	}
	m := q.messages[0]
	q.messages = slices.Delete(q.messages, 0, 1)
	q.bytes -= len(m.data)
	return m, true
}

func (q *soundQueue) empty() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.messages) == 0
}

// soundPlayer lets a listener hear the messages of a channel as if a microphone had brought them: the sound of one goes on where that of the one
// before ended, and a long message goes up at the pace of its sound, for no line has room for more windows than begin within a deadline.
// What follows in the message arrives, as far as deadlines are concerned, when its time has come. A newer message hastens an older one. One
// goroutine runs it.
type soundPlayer struct {
	listener *listener
	from     *soundQueue
	// format is that of raw samples; of codec CodecUnknown when messages are files.
	format sound.Format
	// sniffs is true when messages that are no files of sound are of an unknown type, not broken.
	sniffs bool

	clock  int // samples a second of the message before, 0 for none
	tick   int64
	breaks bool // the next message does not follow on the one before
}

func newSoundPlayer(l *listener, from *soundQueue, kind channelType) *soundPlayer {
	return &soundPlayer{
		listener: l, from: from, sniffs: kind.sniffs(),
		format: sound.Format{Codec: kind.codec, Clock: kind.sound.rate, Channels: kind.sound.channels},
	}
}

// heardAtOnce is how much of a message goes up before its time has come.
const heardAtOnce = 100 * time.Millisecond

// run goes on until ctx ends. What waits then is DRAINING.
func (p *soundPlayer) run(ctx context.Context) {
	for {
		m, ok := p.from.next()
		switch {
		case ok && ctx.Err() != nil:
			p.end(m, media.Draining, media.NoError)
		case ok:
			p.message(ctx, m)
		case ctx.Err() != nil:
			return
		default:
			select {
			case <-ctx.Done():
			case <-p.from.filled:
			}
		}
	}
}

// message lets a message be heard.
func (p *soundPlayer) message(ctx context.Context, m soundMessage) {
	stream := p.listener.stream
	feeds := stream.refresh()
	for range m.lost {
		p.end(soundMessage{ready: m.ready}, media.Overloaded, media.NoError)
	}
	raw, err := p.read(m)
	switch {
	case !feeds:
		p.end(m, media.NotDropped, media.Unsupported)
	case m.drop != media.NotDropped || m.code != media.NoError:
		p.end(m, m.drop, m.code)
	case errors.Is(err, sound.ErrUnsupported):
		p.end(m, media.NotDropped, media.Unsupported)
	case err != nil:
		p.end(m, media.NotDropped, media.DecoderError)
	default:
		if len(stream.refused) > 0 {
			p.unit(m, nil, media.NotDropped, media.NoError)
		}
		p.play(ctx, m, raw)
	}
}

// read gives a message's samples.
func (p *soundPlayer) read(m soundMessage) (sound.Raw, error) {
	if p.format.Codec != media.CodecUnknown {
		_, err := p.format.Ticks(m.data)
		return sound.Raw{Format: p.format, Data: m.data}, err
	}
	if p.sniffs && !sound.IsWAV(m.data) {
		return sound.Raw{}, sound.ErrUnsupported
	}
	return sound.ParseWAV(m.data)
}

// play lets samples be heard, slice by slice.
func (p *soundPlayer) play(ctx context.Context, m soundMessage, raw sound.Raw) {
	total, _ := raw.Ticks(raw.Data)
	begins := p.begin(raw.Clock)
	frame := len(raw.Data) / int(total)
	step := int64(raw.Clock) * int64(heardAtOnce) / int64(time.Second)
	at := place{tick: p.tick + total, captured: m.ready, clock: media.ClockArrival}
	for done := int64(0); done < total; {
		n := min(step, total-done)
		arrival, ok := p.await(ctx, m.ready.Add(duration(done, raw.Clock)))
		if !ok {
			p.end(m, media.Draining, media.NoError)
			return
		}
		p.listener.stream.refresh()
		s := span{Format: raw.Format, at: at, ready: arrival}
		s.Op, s.Begins, s.From, s.To = sound.Decode, begins, p.tick, p.tick+n
		s.Data = raw.Data[int(done)*frame : int(done+n)*frame]
		s.Arrival, s.Mark = arrival, p.admit(arrival)
		p.listener.hear(ctx, s)
		p.tick, done, begins = p.tick+n, done+n, false
	}
}

// begin makes ready for samples of a rate, and tells whether they begin a segment.
func (p *soundPlayer) begin(clock int) bool {
	if clock == p.clock && !p.breaks {
		return false
	}
	if p.clock > 0 {
		p.tick = (p.tick/int64(p.clock) + 2) * int64(clock)
	}
	p.clock, p.breaks = clock, false
	return true
}

// await waits until a time, unless something newer waits, and gives when the sound of that time arrived; false when ctx ends.
func (p *soundPlayer) await(ctx context.Context, at time.Time) (arrival time.Time, ok bool) {
	timer := time.NewTimer(time.Until(at))
	defer timer.Stop()
	for p.from.empty() {
		select {
		case <-ctx.Done():
			return at, false
		case <-timer.C:
			return at, true
		case <-p.from.filled:
		}
	}
	if now := time.Now(); now.Before(at) {
		at = now
	}
	return at, ctx.Err() == nil
}

// admit tells why sound is not to be decoded, Heard if it is; see soundRunner.admit.
func (p *soundPlayer) admit(arrival time.Time) sound.Mark {
	switch patience := p.listener.patience; {
	case !p.listener.reachable():
		return marked(media.NoRouter)
	case patience > 0 && time.Since(arrival) > patience/2:
		return marked(media.Overloaded)
	}
	return sound.Heard
}

// end counts a message that is not heard as a unit of its own. Nobody knows how long it would have lasted.
func (p *soundPlayer) end(m soundMessage, drop media.DropReason, code media.ErrorCode) {
	p.breaks = true
	var models []media.Model
	if w := p.listener.stream.wants; w != nil {
		models, _ = w.fitting(p.listener.stream.content, p.listener.stream.only)
	}
	p.unit(m, models, drop, code)
}

// unit enters a message as a unit that ends at once: for the models in the way given, for those that cannot take sound as UNSUPPORTED.
func (p *soundPlayer) unit(m soundMessage, models []media.Model, drop media.DropReason, code media.ErrorCode) {
	stream := p.listener.stream
	var due, refused []media.Due
	for _, model := range models {
		due = append(due, media.Due{Model: model.Name, Deadline: m.ready.Add(model.Deadline)})
	}
	for _, name := range stream.refused {
		refused = append(refused, media.Due{Model: name, Deadline: m.ready})
	}
	u := ledger.Unit{Arrival: m.ready, Captured: m.ready, Clock: media.ClockArrival}
	sequence := stream.book.receive(stream.name, u, slices.Concat(due, refused))
	stream.fail(sequence, refused, media.Unsupported)
	if drop != media.NotDropped {
		stream.drop(sequence, due, drop)
	} else {
		stream.fail(sequence, due, code)
	}
}
