package sound

import (
	"encoding/binary"
	"time"

	"github.com/sluice-dev/sluice/pkg/media"
)

// Mark says what samples are worth. Of the marks in a window the highest counts; those above Missing are the caller's.
type Mark uint8

// The marks that this package knows.
const (
	// Heard samples were sent so, or stand well for what was sent.
	Heard Mark = iota
	// Missing samples stand for what is lost.
	Missing
)

// Part describes samples.
type Part struct {
	Mark Mark
	// Arrival is when the packet arrived that brought the samples; for samples that fill a hole, the packet that told of it.
	Arrival time.Time
	// Filled is true for samples that fill a hole.
	Filled bool
}

// Window is a window that is full.
type Window struct {
	// First is the index of the first fresh sample, at the input's rate.
	First int64
	// Arrival is when the packet arrived that brought the first fresh sample or, where a hole had to be filled, the packet that told of the last
	// one: before it nobody could have had the window.
	Arrival time.Time
	// Mark is the highest among the fresh samples, Missing how many of them are Missing.
	Mark    Mark
	Missing int
}

// Windows cuts the samples of one source for one input. Its memory is bounded by the input's. It is not safe for concurrent use.
type Windows struct {
	in    media.SoundInput
	ring  []int16 // as many samples as a payload has; the oldest at position oldest
	at    int     // oldest
	first int64   // of the window that is being filled
	need  int     // samples that it still lacks
	runs  []run   // that lie in it, in order
}

// run is a run of samples of one part.
type run struct {
	Part
	end int64
}

// maxRuns bounds the bookkeeping of a window; what a packet of 2.5 ms brings is a run.
const maxRuns = 4096

// NewWindows makes windows of a form that passes its Check, from a sample on.
func NewWindows(in media.SoundInput, first int64) *Windows {
	w := &Windows{in: in, ring: make([]int16, in.Samples())}
	w.Restart(first)
	return w
}

// Input gives the form.
func (w *Windows) Input() media.SoundInput { return w.in }

// Restart begins anew at a sample, after silence without end. What was there of a window is given up.
func (w *Windows) Restart(first int64) {
	clear(w.ring)
	w.at, w.first, w.need, w.runs = 0, first, w.in.Window, w.runs[:0]
}

// Write appends samples and tells how many it took: never more than the window lacks, so a window that is full must be taken first.
func (w *Windows) Write(samples []int16, p Part) int {
	n := min(len(samples), w.need)
	for rest := samples[:n]; len(rest) > 0; {
		copied := copy(w.ring[w.at:], rest)
		w.at = (w.at + copied) % len(w.ring)
		rest = rest[copied:]
	}
	w.note(n, p)
	return n
}

// WriteZeros is Write for a number of zeros.
func (w *Windows) WriteZeros(count int64, p Part) int {
	n := int(min(count, int64(w.need)))
	for rest := n; rest > 0; {
		cleared := min(rest, len(w.ring)-w.at)
		clear(w.ring[w.at : w.at+cleared])
		w.at = (w.at + cleared) % len(w.ring)
		rest -= cleared
	}
	w.note(n, p)
	return n
}

// note remembers what the samples just written are.
func (w *Windows) note(n int, p Part) {
	if n == 0 {
		return
	}
	w.need -= n
	end := w.first + int64(w.in.Window-w.need)
	if last := len(w.runs) - 1; last >= 0 && (w.runs[last].Part == p || last == maxRuns-1) {
		w.runs[last].end = end
		w.runs[last].Mark = max(w.runs[last].Mark, p.Mark)
		return
	}
	w.runs = append(w.runs, run{Part: p, end: end})
}

// Full tells whether there is a window to take.
func (w *Windows) Full() bool { return w.need == 0 }

// Take writes the window into payload, which has the size of the input's, if it is full, and goes on to the next one.
func (w *Windows) Take(payload []byte) (Window, bool) {
	if w.need > 0 {
		return Window{}, false
	}
	older, newer := w.ring[w.at:], w.ring[:w.at]
	encode(payload, older)
	encode(payload[2*len(older):], newer)
	out := w.describe()
	w.first += int64(w.in.Hop)
	w.need = w.in.Hop
	gone := 0
	for gone < len(w.runs) && w.runs[gone].end <= w.first {
		gone++
	}
	w.runs = append(w.runs[:0], w.runs[gone:]...)
	return out, true
}

// describe sums up what lies in the window.
func (w *Windows) describe() Window {
	out := Window{First: w.first, Arrival: w.runs[0].Arrival}
	from := w.first
	for _, r := range w.runs {
		if r.Filled {
			out.Arrival = r.Arrival
		}
		if r.Mark == Missing {
			out.Missing += int(r.end - from)
		}
		out.Mark = max(out.Mark, r.Mark)
		from = r.end
	}
	return out
}

func encode(payload []byte, samples []int16) {
	for i, s := range samples {
		binary.LittleEndian.PutUint16(payload[2*i:], uint16(s))
	}
}
