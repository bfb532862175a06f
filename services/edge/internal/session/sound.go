package session

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/sluice-dev/sluice/pkg/ledger"
	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/pkg/sound"
	"github.com/sluice-dev/sluice/services/edge/internal/decoder"
)

// listener takes one stream's sound, span by span, through the decoder to the windows that the session's models want, and these to the
// uplink. A unit is a window of one input; it is due for every model that takes this input, whatever its rate. One goroutine uses it.
//
// What could not be heard is part of the windows all the same, so that a model does not lose its place: silence that was not sent, and what
// the decoder makes up for losses. Only a window that lies in an outage as a whole is DAMAGED, an outage being a loss of more than half a second; and
// one of which a part was not decoded ends as the reason says.
type listener struct {
	stream  *stream
	number  uint32 // names the stream to the decoder
	decoder Decoder
	uplink  Uplink
	logger  *slog.Logger

	wants *wants // what the cuts are made for
	cuts  []*cut // by rate, each rate being decoded once
	// patience is the longest deadline of the models.
	patience time.Duration
	samples  []int16
}

// cut is one form of windows.
type cut struct {
	input    uint32
	models   []media.Model
	windows  *sound.Windows
	payloads payloads
	decode   time.Duration // spent since the last window
}

// span is a step of a stream's timeline with what it takes to decode it and to place it in time.
type span struct {
	sound.Step
	sound.Format
	sound.Part
	// at is where a tick of the timeline lies in time.
	at place
	// ready is when the newest packet arrived.
	ready time.Time
}

// place ties a tick of a timeline to the RTP timestamp and to the time of capture.
type place struct {
	tick     int64
	rtp      media.RTP
	captured time.Time
	clock    media.Clock
}

// unit describes what begins at a tick of a clock and was first heard of at the arrival.
func (p place) unit(tick int64, clock int, arrival time.Time) ledger.Unit {
	ahead := tick - p.tick
	u := ledger.Unit{Arrival: arrival, RTP: p.rtp, Captured: p.captured.Add(duration(ahead, clock)), Clock: p.clock}
	if u.RTP.Valid {
		u.RTP.Timestamp += uint32(ahead)
	}
	return u
}

// duration is the time that ticks of a clock take.
func duration(ticks int64, clock int) time.Duration {
	rate := int64(clock)
	return time.Duration(ticks/rate)*time.Second + time.Duration(ticks%rate)*time.Second/time.Duration(rate)
}

func newListener(s *stream, number uint32, d Decoder, u Uplink, logger *slog.Logger) *listener {
	return &listener{stream: s, number: number, decoder: d, uplink: u, logger: logger}
}

// hear takes the next span. Its Mark, unless it is Heard, says why it is not decoded.
func (l *listener) hear(ctx context.Context, s span) {
	l.follow(s)
	if s.Outage {
		s.Mark = max(s.Mark, sound.Missing)
	}
	s.Filled = s.Op != sound.Decode
	for rest := l.cuts; len(rest) > 0; {
		rate := rest[0].rate()
		n := slices.IndexFunc(rest, func(c *cut) bool { return c.rate() != rate })
		if n < 0 {
			n = len(rest)
		}
		l.render(ctx, s, rate, rest[:n])
		rest = rest[n:]
	}
}

func (c *cut) rate() int { return c.windows.Input().Rate }

// reachable tells whether a router would take windows now. Where none does, decoding is wasted work.
func (l *listener) reachable() bool {
	w := l.stream.wants
	return w != nil && !w.hearsay && l.uplink.Ready()
}

// follow takes over what the models want, from the beginning of a span on, and begins windows anew where the span begins a segment.
func (l *listener) follow(s span) {
	first := func(rate int) int64 { return sound.Samples(s.From, s.Clock, rate) }
	if s.Begins {
		for _, c := range l.cuts {
			c.windows.Restart(first(c.rate()))
		}
	}
	w := l.stream.wants
	if w == l.wants {
		return
	}
	l.wants, l.patience = w, 0
	var cuts []*cut
	models, _ := w.fitting(l.stream.content, l.stream.only)
	for _, m := range models {
		l.patience = max(l.patience, m.Deadline)
		form := w.inputs[m.InputID].Sound
		same := func(c *cut) bool { return c.input == m.InputID && c.windows.Input() == form }
		if i := slices.IndexFunc(cuts, same); i >= 0 {
			cuts[i].models = append(cuts[i].models, m)
			continue
		}
		c := &cut{input: m.InputID, models: []media.Model{m}}
		if i := slices.IndexFunc(l.cuts, same); i >= 0 {
			c.windows = l.cuts[i].windows
		} else {
			c.windows = sound.NewWindows(form, first(form.Rate))
		}
		c.payloads.size = 2 * form.Samples()
		cuts = append(cuts, c)
	}
	slices.SortStableFunc(cuts, func(a, b *cut) int { return a.rate() - b.rate() })
	l.cuts = cuts
}

// render makes a span's samples at a rate and cuts windows from them.
func (l *listener) render(ctx context.Context, s span, rate int, cuts []*cut) {
	from, to := sound.Samples(s.From, s.Clock, rate), sound.Samples(s.To, s.Clock, rate)
	var samples []int16
	if s.Op != sound.Silence && s.Mark == sound.Heard && to > from {
		before := time.Now()
		overlap := from - sound.Samples(s.From-s.Overlap, s.Clock, rate)
		samples = l.decode(ctx, &s, rate, int(overlap+to-from))[overlap:]
		took := time.Since(before)
		for _, c := range cuts {
			c.decode += took
		}
	}
	for _, c := range cuts {
		rest, zeros := samples, to-from-int64(len(samples))
		for len(rest) > 0 || zeros > 0 {
			if len(rest) > 0 {
				rest = rest[c.windows.Write(rest, s.Part):]
			} else {
				zeros -= int64(c.windows.WriteZeros(zeros, s.Part))
			}
			if c.windows.Full() {
				l.take(s, c)
			}
		}
	}
}

// decode gives the samples of a span; zeros, with the span marked, when the decoder refuses it. They are valid until the next call.
func (l *listener) decode(ctx context.Context, s *span, rate, count int) []int16 {
	ops := [...]decoder.SoundOp{sound.Decode: decoder.Decode, sound.Recover: decoder.Recover, sound.Conceal: decoder.Conceal}
	r := decoder.SoundRequest{Stream: l.number, Codec: s.Codec, Op: ops[s.Op], Data: s.Data, Rate: rate, Samples: count}
	if s.Codec == media.PCMS16 || s.Codec == media.PCMF32 {
		r.SourceRate, r.Channels = s.Clock, s.Channels
	}
	samples, err := l.decoder.DecodeSound(ctx, r, l.samples[:0])
	if err != nil || len(samples) != count {
		s.Mark = l.failure(err)
		samples = slices.Grow(l.samples[:0], count)[:count]
		clear(samples)
	}
	l.samples = samples
	return samples
}

// failure tells what becomes of sound that the decoder did not take.
func (l *listener) failure(err error) sound.Mark {
	var failure *decoder.Error
	switch {
	case errors.Is(err, context.Canceled): // the session ends while the decoder is busy with another stream
		return marked(media.Draining)
	case !errors.As(err, &failure):
		l.logger.Error("a decoder of sound failed in a way of its own", slog.Any("error", err))
		return failed(media.Internal)
	case failure.Drop != media.NotDropped:
		return marked(failure.Drop)
	}
	return failed(failure.Code)
}

// take sends up the window that is full.
func (l *listener) take(s span, c *cut) {
	p := c.payloads.get()
	w, _ := c.windows.Take(p.bytes)
	u := s.at.unit(sound.Samples(w.First, c.rate(), s.Clock), s.Clock, w.Arrival)
	var due []media.Due
	for _, m := range c.models {
		due = append(due, media.Due{Model: m.Name, Deadline: w.Arrival.Add(m.Deadline)})
	}
	sequence := l.stream.book.receive(l.stream.name, u, due)
	timings := media.Timings{Receive: max(0, s.ready.Sub(w.Arrival)), Decode: c.decode}
	c.decode = 0
	traced := l.stream.traced(sequence)
	traced.Arrived(w.Arrival, s.ready)
	traced.Decoded(s.ready, timings.Decode, 0)
	l.stream.book.prepared(l.stream.name, sequence, due, timings)
	if due = l.judge(sequence, due, w, c); sequence == 0 || len(due) == 0 {
		p.release()
		return
	}
	l.uplink.Offer(media.Frame{
		Stream: l.stream.name, Sequence: sequence, InputID: c.input, Due: due, RTP: u.RTP, Captured: u.Captured, Clock: u.Clock,
		FirstSample: uint32(w.First), Timings: timings, Trace: traced.Offer(c.input, due), Payload: media.Payload{p.bytes}, Release: p.release,
	})
}

// judge ends a window that no model should hear, and gives what is left of what it is due for.
func (l *listener) judge(sequence uint32, due []media.Due, w sound.Window, c *cut) []media.Due {
	drop, code := verdict(w.Mark)
	switch {
	case code != media.NoError:
		l.stream.fail(sequence, due, code)
		return nil
	case w.Mark == sound.Missing && w.Missing < c.windows.Input().Window:
		// Some of it was heard.
	case drop != media.NotDropped:
		l.stream.drop(sequence, due, drop)
		return nil
	}
	return l.stream.expire(sequence, due, time.Now())
}

// Marks above Missing are drop reasons and, above those, error codes.
const (
	firstReason = sound.Missing + 1
	firstCode   = firstReason + 32
)

func marked(reason media.DropReason) sound.Mark { return firstReason + sound.Mark(reason) }
func failed(code media.ErrorCode) sound.Mark    { return firstCode + sound.Mark(code) }

// verdict tells what a mark means for a window.
func verdict(m sound.Mark) (media.DropReason, media.ErrorCode) {
	switch {
	case m >= firstCode:
		return media.NotDropped, media.ErrorCode(m - firstCode)
	case m >= firstReason:
		return media.DropReason(m - firstReason), media.NoError
	case m == sound.Missing:
		return media.Damaged, media.NoError
	}
	return media.NotDropped, media.NoError
}

// payloads are the payloads of one form of windows, used again once they are released. It is safe for concurrent use.
type payloads struct {
	size int
	free sync.Pool
}

// payload is a lease; release gives it back, from any goroutine, once.
type payload struct {
	bytes   []byte
	release func()
}

func (p *payloads) get() *payload {
	if free, ok := p.free.Get().(*payload); ok {
		return free
	}
	lease := &payload{bytes: make([]byte, p.size)}
	lease.release = func() { p.free.Put(lease) }
	return lease
}
