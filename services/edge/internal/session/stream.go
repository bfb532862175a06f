package session

import (
	"slices"
	"time"

	"github.com/sluice-dev/sluice/pkg/ledger"
	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/pkg/sample"
	"github.com/sluice-dev/sluice/services/edge/internal/spans"
)

// stream is what a track and a channel have in common: units are numbered, sampled and entered in the book. It is used by one goroutine,
// but for what does not change.
type stream struct {
	name string
	content
	only []string // models that the channel's protocol narrows it to; empty means all
	live liveWants
	book *book

	sampler sample.Sampler
	wants   *wants   // what the sampler was set with
	feeds   bool     // whether there is a model to feed
	refused []string // models for which every due unit is UNSUPPORTED
	told    media.Demand
}

// liveWants is where a stream learns what the session's models need.
type liveWants interface {
	// current gives what they need now; nil while nothing is known.
	current() *wants
	// demand tells the client what the models can use of a stream from now on.
	demand(d media.Demand)
}

// job is a unit that is due, or that later ones need, on its way through the decoder.
type job struct {
	unit     media.AccessUnit
	sequence uint32
	due      []media.Due
	captured time.Time
	clock    media.Clock
	// begun is when the unit's first packet or chunk arrived, ready when it was whole.
	begun, ready time.Time
	// disposable is true when no later unit depends on it.
	disposable bool
	// recovered is true when decoding began at a recovery point, so that the unit may refer to what was lost before it.
	recovered bool
	// traced is nil for most units.
	traced *spans.Unit
}

// newStream enters a stream in the book.
func newStream(name string, c content, only []string, live liveWants, b *book) (*stream, error) {
	s := &stream{name: name, content: c, only: only, live: live, book: b, told: media.Demand{Stream: name}}
	return s, b.open(name, nil)
}

// hearing gives the stream as one of sound, for a channel whose messages may turn out to be sound. Only one of the two is to be used.
func (s *stream) hearing() *stream {
	return &stream{name: s.name, content: content{kind: media.KindSound}, only: s.only, live: s.live, book: s.book}
}

// refresh takes over what the models need now, and tells whether the stream feeds any.
func (s *stream) refresh() bool {
	w := s.live.current()
	if w == nil || w == s.wants {
		return s.feeds
	}
	s.wants = w
	models, refused := w.fitting(s.content, s.only)
	s.feeds = len(models) > 0
	s.refused = s.refused[:0]
	for _, m := range refused {
		s.refused = append(s.refused, m.Name)
	}
	all := slices.Concat(models, refused)
	s.sampler.Set(all)
	s.keepTo(w, models)
	names := make([]string, 0, len(all))
	for _, m := range all {
		names = append(names, m.Name)
	}
	// Refused only where the stream has ended, as for a channel that is still read while its session ends; then nothing is received either.
	_ = s.book.open(s.name, names)
	return s.feeds
}

// keepTo thins the stream to what overloaded models can use, and tells the client about it. Sound is not thinned.
func (s *stream) keepTo(w *wants, models []media.Model) {
	if s.kind == media.KindSound {
		return
	}
	s.sampler.Limit(func(model string) float64 { return w.limit(s.name, model) })
	rate, _ := s.sampler.Fastest()
	if d := w.demand(s.name, models, rate); d != s.told {
		s.told = d
		s.live.demand(d)
	}
}

// receive numbers a unit and decides what it is due for. pts is its media time; key tells whether it is a key unit. For models that cannot take the stream, the unit ends here.
func (s *stream) receive(u ledger.Unit, pts time.Duration, key bool) (sequence uint32, due []media.Due) {
	due = s.sampler.Due(nil, pts, u.Arrival, key)
	sequence = s.book.receive(s.name, u, due)
	if len(s.refused) == 0 || sequence == 0 {
		return sequence, due
	}
	due, refused := split(due, func(d media.Due) bool { return !slices.Contains(s.refused, d.Model) })
	s.fail(sequence, refused, media.Unsupported)
	return sequence, due
}

// traced gives a unit's trace; nil for most.
func (s *stream) traced(sequence uint32) *spans.Unit { return s.book.spans.Unit(s.name, sequence) }

// count numbers a unit that is due for no model.
func (s *stream) count(u ledger.Unit) { s.book.receive(s.name, u, nil) }

// drop gives a unit up for all that it is due for.
func (s *stream) drop(sequence uint32, due []media.Due, reason media.DropReason) {
	for _, d := range due {
		s.book.finalise(media.Outcome{Stream: s.name, Sequence: sequence, Model: d.Model, Drop: reason})
	}
}

// fail ends a unit with an error for all that it is due for.
func (s *stream) fail(sequence uint32, due []media.Due, code media.ErrorCode) {
	for _, d := range due {
		s.book.finalise(media.Outcome{Stream: s.name, Sequence: sequence, Model: d.Model, Error: code})
	}
}

// expire drops what cannot make its deadline any more and gives the rest.
func (s *stream) expire(sequence uint32, due []media.Due, now time.Time) []media.Due {
	rest, gone := split(due, func(d media.Due) bool { return d.Deadline.After(now) })
	s.drop(sequence, gone, media.Expired)
	return rest
}

// split parts what a unit is due for; where all of it stays, due itself does.
func split(due []media.Due, stays func(media.Due) bool) (stay, leave []media.Due) {
	if !slices.ContainsFunc(due, func(d media.Due) bool { return !stays(d) }) {
		return due, nil
	}
	for _, d := range due {
		if stays(d) {
			stay = append(stay, d)
		} else {
			leave = append(leave, d)
		}
	}
	return stay, leave
}
