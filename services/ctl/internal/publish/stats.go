package publish

import (
	"maps"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/services/ctl/internal/speech"
)

// keptWindows bounds how many windows of sound are remembered for the spans of speech: three hours of them.
const keptWindows = 3 * 3600 * 32

// keptSent bounds how many frames' sending times are remembered: a minute at 60 frames a second, far beyond any deadline.
const keptSent = 4096

// Tally is what one stream's publisher saw: an account of its own, to hold against the edge's. It is safe for concurrent use.
type Tally struct {
	mu        sync.Mutex
	began     time.Time // of the first session; zero before
	ended     time.Time // when nothing more was sent; zero before
	sent      uint32
	sentAt    map[stamp]sending
	order     []stamp // in order of sending, the oldest first
	outcomes  gap
	results   gap
	models    map[string]*media.ModelCounts
	latencies []time.Duration
	skipped   uint32
	counts    []media.StreamCounts // the edges', of the sessions that have ended
	duplicate uint32
	seen      map[pair]struct{}

	soundSent uint32
	windows   map[string]*heard // by model, those with a result about speech
}

// heard is what a model said of the sound.
type heard struct {
	hop     time.Duration
	windows []speech.Window // the oldest first, at most keptWindows
}

// stamp tells a frame: the session's number and the RTP timestamp.
type stamp struct {
	visit int
	rtp   uint32
}

// frame is one that was sent: its number among all of the publisher's, and its unit's place in the clip.
type frame struct {
	number, unit int
}

type sending struct {
	at    time.Time
	frame frame
}

// gap measures the longest time in which nothing came, from what came first on.
type gap struct {
	last    time.Time // zero before the first
	longest time.Duration
}

func (g *gap) note(at time.Time) {
	g.longest, g.last = g.until(at), at
}

// until gives the longest time up to a moment.
func (g *gap) until(at time.Time) time.Duration {
	if g.last.IsZero() {
		return 0
	}
	return max(g.longest, at.Sub(g.last))
}

type pair struct {
	session  string
	stream   string
	sequence uint32
	model    string
}

func newTally() *Tally {
	return &Tally{sentAt: map[stamp]sending{}, models: map[string]*media.ModelCounts{}, seen: map[pair]struct{}{}, windows: map[string]*heard{}}
}

// Begin notes that a session's sending begins, and tells how long after that of the first one.
func (t *Tally) Begin(at time.Time) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.began.IsZero() {
		t.began = at
	}
	return at.Sub(t.began)
}

// End notes that nothing more is sent.
func (t *Tally) End(at time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ended = at
}

// Sent notes that a frame left: a unit of the clip, in one of the publisher's sessions.
func (t *Tally) Sent(visit int, rtp uint32, unit int, at time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := stamp{visit, rtp}
	t.sentAt[s] = sending{at: at, frame: frame{number: int(t.sent), unit: unit}}
	t.sent++
	if t.order = append(t.order, s); len(t.order) > keptSent {
		delete(t.sentAt, t.order[0])
		t.order = t.order[1:]
	}
}

// Outcome notes an outcome that arrived. It tells which frame it is for and how long after its sending it came; ok is false for a frame that was not sent.
func (t *Tally) Outcome(visit int, o media.Outcome, at time.Time) (_ frame, latency time.Duration, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.count(o, at)
	s, ok := t.sentAt[stamp{visit, o.RTP.Timestamp}]
	if !ok || !o.RTP.Valid {
		return frame{}, 0, false
	}
	latency = at.Sub(s.at)
	if o.Result != nil {
		t.latencies = append(t.latencies, latency)
	}
	return s.frame, latency, true
}

// count counts an outcome. The caller holds the lock.
func (t *Tally) count(o media.Outcome, at time.Time) {
	key := pair{o.Session, o.Stream, o.Sequence, o.Model}
	if _, again := t.seen[key]; again {
		t.duplicate++
	}
	t.seen[key] = struct{}{}
	m := t.models[o.Model]
	if m == nil {
		m = &media.ModelCounts{Model: o.Model}
		t.models[o.Model] = m
	}
	m.Accepted++
	switch {
	case o.Drop != media.NotDropped:
		m.Drops[o.Drop]++
	case o.Error != media.NoError:
		m.Errors[o.Error]++
	default:
		m.Results++
		t.results.note(at)
	}
	t.outcomes.note(at)
}

// SentSound notes that a packet of sound left.
func (t *Tally) SentSound() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.soundSent++
}

// Heard notes an outcome that arrived about the window of sound that begins at a place; windows are hop apart.
func (t *Tally) Heard(o media.Outcome, arrived time.Time, at, hop, latency time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.count(o, arrived)
	if o.Result == nil {
		return
	}
	t.latencies = append(t.latencies, latency)
	if len(o.Result.Speech) == 0 {
		return
	}
	h := t.windows[o.Model]
	if h == nil {
		h = &heard{hop: hop}
		t.windows[o.Model] = h
	}
	if len(h.windows) == keptWindows {
		h.windows = slices.Delete(h.windows, 0, keptWindows/2)
	}
	h.windows = append(h.windows, speech.Window{Start: at, Probability: o.Result.Speech[0].Probability})
}

// Skipped notes outcomes that the edge says it could not deliver.
func (t *Tally) Skipped(n uint32) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.skipped += n
}

// Summary notes the edge's counts of a session.
func (t *Tally) Summary(counts []media.StreamCounts) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.counts = append(t.counts, counts...)
}

// Report gives the state so far, all but the sessions and the failure.
func (t *Tally) Report(now time.Time) Report {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.ended.IsZero() {
		now = t.ended
	}
	r := Report{
		Sent: t.sent, Skipped: t.skipped, Duplicates: t.duplicate, Latency: quantiles(t.latencies),
		Drops: map[string]uint32{}, Errors: map[string]uint32{}, Edge: t.counts, SoundSent: t.soundSent,
		Gap: t.longest(t.outcomes, now), ResultGap: t.longest(t.results, now),
	}
	for _, name := range slices.Sorted(maps.Keys(t.windows)) {
		h := t.windows[name]
		r.Speech = append(r.Speech, Speech{Model: name, Windows: len(h.windows), Spans: speech.Spans(h.windows, h.hop)})
	}
	for _, m := range t.models {
		r.Outcomes += m.Accepted
		r.Results += m.Results
		for _, d := range media.DropReasons() {
			add(r.Drops, d.String(), m.Drops[d])
		}
		for _, e := range media.ErrorCodes() {
			add(r.Errors, e.String(), m.Errors[e])
		}
	}
	return r
}

// longest gives the longest time in which nothing came until now: from the first that came on, or from the beginning where nothing ever came. The caller holds the lock.
func (t *Tally) longest(g gap, now time.Time) time.Duration {
	if g.last.IsZero() && !t.began.IsZero() {
		return now.Sub(t.began)
	}
	return g.until(now)
}

func add(to map[string]uint32, name string, n uint32) {
	if n > 0 {
		to[name] += n
	}
}

// Quantiles of a latency, in seconds.
type Quantiles struct {
	P50 float64 `json:"p50"`
	P95 float64 `json:"p95"`
	P99 float64 `json:"p99"`
}

// quantiles gives nearest-rank quantiles, zero for no values.
func quantiles(values []time.Duration) Quantiles {
	if len(values) == 0 {
		return Quantiles{}
	}
	sorted := slices.Sorted(slices.Values(values))
	at := func(q float64) float64 { return sorted[int(math.Ceil(q*float64(len(sorted))))-1].Seconds() }
	return Quantiles{P50: at(0.5), P95: at(0.95), P99: at(0.99)}
}
