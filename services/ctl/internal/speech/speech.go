// Package speech turns the voice activity of windows of sound into spans of speech.
package speech

import (
	"cmp"
	"slices"
	"time"
)

// A span begins with the first window that is as likely as on to hold speech, and ends with the last such window before one that is less likely than off: one threshold alone would
// cut at every hesitation, and where the probability falls there is no speech any more.
const (
	on  = 0.5
	off = 0.35
	// minSilence is what a pause between two spans lasts at least; shorter ones belong to the speech.
	minSilence = 300 * time.Millisecond
	// minSpeech is what a span lasts at least; shorter ones are a cough.
	minSpeech = 100 * time.Millisecond
)

// Window is the voice activity of one window of sound.
type Window struct {
	// Start is where the window begins, on the clock of the sound.
	Start time.Duration
	// Probability that it holds speech, 0 to 1.
	Probability float64
}

// Span is a stretch of speech.
type Span struct {
	Start, End time.Duration
	// Peak is the largest probability of a window in it.
	Peak float64
}

// Spans gives the spans of speech in windows that are hop apart, in order of time. The windows may come in any order and are left as they are; one that is missing changes nothing.
func Spans(windows []Window, hop time.Duration) []Span {
	ordered := slices.SortedFunc(slices.Values(windows), func(a, b Window) int { return cmp.Compare(a.Start, b.Start) })
	var all []Span
	speaking := false
	for _, w := range ordered {
		switch {
		case !speaking && w.Probability >= on:
			speaking = true
			if n := len(all); n > 0 && w.Start-all[n-1].End < minSilence {
				break // The last span goes on.
			}
			all = append(all, Span{Start: w.Start})
		case speaking && w.Probability < off:
			speaking = false
		}
		if speaking && w.Probability >= on {
			last := &all[len(all)-1]
			last.End, last.Peak = w.Start+hop, max(last.Peak, w.Probability)
		}
	}
	return slices.DeleteFunc(all, func(s Span) bool { return s.End-s.Start < minSpeech })
}
