package session

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/services/edge/internal/decoder"
)

// converter takes one stream's units, in their order, through the decoder to the uplink. It is used by one goroutine, which may be another
// one than its stream's: of that it uses only what does not change.
type converter struct {
	stream  *stream
	number  uint32 // names the stream to the decoder
	decoder Decoder
	uplink  Uplink
	pixels  int64 // of the largest picture
	logger  *slog.Logger

	// waiting holds the units whose pictures have not come yet. Most codecs give a unit's picture at once; H.264 may reorder.
	waiting map[uint32]converting
	// offered is the newest sequence that went up, by input.
	offered map[uint32]uint32
}

// converting is a unit in the decoder.
type converting struct {
	job    job
	groups []group // those without a picture so far have due left
	// begun is when it went to the decoder, zero for units that are not traced.
	begun time.Time
}

// maxReorder is how many units a decoder may hold back (H.264 allows 16).
const maxReorder = 32

func newConverter(s *stream, number uint32, d Decoder, u Uplink, pixels int64, logger *slog.Logger) *converter {
	return &converter{
		stream: s, number: number, decoder: d, uplink: u, pixels: pixels, logger: logger,
		waiting: make(map[uint32]converting), offered: make(map[uint32]uint32),
	}
}

// convert takes one unit. It returns true when the decoder has lost what the next units depend on.
func (c *converter) convert(ctx context.Context, j job, w *wants) (broken bool) {
	begun := j.traced.Begun()
	groups := c.asItIs(j, c.groups(j, w))
	if len(groups) == 0 && (j.disposable || j.unit.Codec.Intra()) {
		return false // nothing depends on it either
	}
	request := decoder.Request{Stream: c.number, Tag: uint64(j.sequence), Unit: j.unit}
	for _, g := range groups {
		request.Targets = append(request.Targets, g.form.Picture)
	}
	if len(groups) > 0 {
		c.await(j, groups, begun)
	}
	pictures, err := c.decoder.Decode(ctx, request)
	for _, p := range pictures {
		c.offer(p)
	}
	return err != nil && c.failed(ctx, j, err)
}

// groups gives what a unit has to be converted to, after giving up what is pointless.
func (c *converter) groups(j job, w *wants) []group {
	due := c.stream.expire(j.sequence, j.due, time.Now())
	if len(due) == 0 {
		return nil
	}
	if w == nil || w.hearsay || !c.uplink.Ready() {
		c.stream.drop(j.sequence, due, media.NoRouter)
		return nil
	}
	groups, rest := w.groups(c.stream.content, due)
	c.stream.drop(j.sequence, rest, media.NoRouter)
	return groups
}

// await remembers a unit until its pictures come.
func (c *converter) await(j job, groups []group, begun time.Time) {
	j.unit.Data = nil // the decoder has it
	c.waiting[j.sequence] = converting{job: j, groups: groups, begun: begun}
	if len(c.waiting) > maxReorder {
		oldest := slices.Min(slices.Collect(maps.Keys(c.waiting)))
		c.giveUp(oldest, func(due []media.Due) { c.stream.fail(oldest, due, media.DecoderError) })
	}
}

// offer sends a picture up.
func (c *converter) offer(p decoder.Picture) {
	sequence := uint32(p.Tag)
	u, ok := c.waiting[sequence]
	if !ok || p.Target < 0 || p.Target >= len(u.groups) || len(u.groups[p.Target].due) == 0 {
		p.Release()
		return
	}
	g := u.groups[p.Target]
	u.groups[p.Target].due = nil
	if !slices.ContainsFunc(u.groups, func(g group) bool { return len(g.due) > 0 }) {
		delete(c.waiting, sequence)
	}
	u.job.traced.Decoded(u.begun, p.Decode, p.Convert)
	timings := media.Timings{Receive: u.job.ready.Sub(u.job.begun), Decode: p.Decode, Convert: p.Convert}
	c.send(u.job, g, media.Frame{Placement: p.Placement, Timings: timings, Payload: media.Payload{p.Payload}, Release: p.Release})
}

// send offers a unit to the uplink in one form. The frame comes with its payload and what was found out on the way to it.
func (c *converter) send(j job, g group, f media.Frame) {
	c.stream.book.prepared(c.stream.name, j.sequence, g.due, f.Timings)
	due := c.stream.expire(j.sequence, g.due, time.Now())
	switch newest := c.offered[g.input]; {
	case len(due) == 0:
		f.Free()
	case j.sequence <= newest: // the decoder reordered, and a newer one has left
		c.stream.drop(j.sequence, due, media.Superseded)
		f.Free()
	default:
		c.offered[g.input] = j.sequence
		f.Stream, f.Sequence, f.InputID, f.Due = c.stream.name, j.sequence, g.input, due
		f.RTP, f.Captured, f.Clock = j.unit.RTP, j.captured, j.clock
		f.Trace = j.traced.Offer(g.input, due)
		c.uplink.Offer(f)
	}
}

// failed ends a unit that the decoder refused, and tells whether the next ones depend on it.
func (c *converter) failed(ctx context.Context, j job, err error) (broken bool) {
	var failure *decoder.Error
	switch {
	case errors.Is(err, context.Canceled): // the session ends while the decoder is busy with another stream
		failure = &decoder.Error{Drop: media.Draining, NeedKey: true}
	case errors.As(err, &failure):
	default:
		c.logger.ErrorContext(j.traced.Context(ctx), "a decoder failed in a way of its own", slog.String("error", err.Error()))
		failure = &decoder.Error{Code: media.Internal, NeedKey: !j.unit.Codec.Intra()}
	}
	if j.recovered && failure.Code == media.DecoderError && !failure.Crashed { // the bytes are right, but not for one who began here
		failure = &decoder.Error{Drop: media.Damaged, NeedKey: failure.NeedKey}
	}
	end := func(sequence uint32) func([]media.Due) {
		return func(due []media.Due) {
			if failure.Drop != media.NotDropped {
				c.stream.drop(sequence, due, failure.Drop)
			} else {
				c.stream.fail(sequence, due, failure.Code)
			}
		}
	}
	c.giveUp(j.sequence, end(j.sequence))
	if failure.Crashed || failure.NeedKey { // with it went what it held back
		for sequence := range c.waiting {
			c.giveUp(sequence, end(sequence))
		}
	}
	return failure.NeedKey || failure.Crashed && !j.unit.Codec.Intra()
}

// giveUp forgets a unit and ends what it still was due for.
func (c *converter) giveUp(sequence uint32, end func([]media.Due)) {
	u, ok := c.waiting[sequence]
	if !ok {
		return
	}
	delete(c.waiting, sequence)
	for _, g := range u.groups {
		end(g.due)
	}
}
