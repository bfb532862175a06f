package sample

import (
	"fmt"
	"testing"
	"time"
)

// feedLayers feeds units at a rate from a media time on, in the pattern of temporal layers given, and gives the time after them.
func feedLayers(l *Layers, from time.Duration, rate float64, length time.Duration, pattern ...uint8) time.Duration {
	interval := time.Duration(float64(time.Second) / rate)
	n := 0
	for at := from; at < from+length; at += interval {
		l.Observe(pattern[n%len(pattern)], at.Round(time.Millisecond))
		n++
	}
	return from + length
}

func TestLayersNeeded(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		source  float64
		length  time.Duration
		pattern []uint8
		needed  map[float64]uint8 // by rate
	}{
		{"three layers", 30, 5 * time.Second, []uint8{0, 2, 1, 2}, map[float64]uint8{
			0: EveryLayer, 1: 0, 7.5: 0, 8: 1, 10: 1, 15: 1, 16: EveryLayer, 30: EveryLayer, 60: EveryLayer, -1: EveryLayer,
		}},
		{"two layers", 30, 5 * time.Second, []uint8{0, 1}, map[float64]uint8{5: 0, 15: 0, 20: EveryLayer, 30: EveryLayer}},
		{"at 60 a second", 60, 5 * time.Second, []uint8{0, 1}, map[float64]uint8{30: 0, 31: EveryLayer}},
		{"one layer", 30, 5 * time.Second, []uint8{0}, map[float64]uint8{1: EveryLayer, 30: EveryLayer}},
		{"a layer that is not there", 30, 5 * time.Second, []uint8{0, 2}, map[float64]uint8{5: 0, 15: 0, 20: EveryLayer}},
		{"just begun", 30, 800 * time.Millisecond, []uint8{0, 1}, map[float64]uint8{1: EveryLayer}},
		{"slow", 1, 5 * time.Second, []uint8{0, 1}, map[float64]uint8{0.5: 0, 1: EveryLayer}},
		{"none", 1, 0, []uint8{0}, map[float64]uint8{1: EveryLayer}},
	} {
		for rate, want := range c.needed {
			t.Run(fmt.Sprint(c.name, ", ", rate, " wanted"), func(t *testing.T) {
				t.Parallel()
				l := new(Layers)
				feedLayers(l, time.Hour, c.source, c.length, c.pattern...)
				if got := l.Needed(rate); got != want {
					t.Errorf("up to layer %d is needed, want %d", got, want)
				}
			})
		}
	}
}

func TestLayersFollowTheSource(t *testing.T) {
	t.Parallel()
	l := new(Layers)
	expect := func(what string, rate float64, want uint8) {
		t.Helper()
		if got := l.Needed(rate); got != want {
			t.Errorf("%s: up to layer %d is needed, want %d", what, got, want)
		}
	}
	at := feedLayers(l, 0, 30, 3*time.Second, 0, 1)
	expect("at 30 a second", 15, 0)
	at = feedLayers(l, at, 28, 3*time.Second, 0, 1)
	expect("a little slower", 15, 0)
	at = feedLayers(l, at, 20, 3*time.Second, 0, 1)
	expect("in the dark", 15, EveryLayer)
	at = feedLayers(l, at, 28, 3*time.Second, 0, 1)
	expect("a little slower than needed, from below", 15, EveryLayer)
	at = feedLayers(l, at, 30, 3*time.Second, 0, 1)
	expect("at 30 again", 15, 0)
	at = feedLayers(l, at+10*time.Second, 30, 500*time.Millisecond, 0, 1)
	expect("after a pause", 15, EveryLayer)
	at = feedLayers(l, at, 30, time.Second, 0, 1)
	expect("later", 15, 0)
	at = feedLayers(l, at-time.Hour, 30, 500*time.Millisecond, 0, 1)
	expect("after a jump back", 15, EveryLayer)
	for i := range 200 { // pictures are sent in another order than they are shown
		l.Observe(uint8(i%2), at+time.Duration(33*(i^3))*time.Millisecond)
	}
	expect("reordered", 15, 0)
}

// TestLayersOfAFastSource has more units than are remembered.
func TestLayersOfAFastSource(t *testing.T) {
	t.Parallel()
	l := new(Layers)
	feedLayers(l, 0, 200, 10*time.Second, 0, 1)
	if got := l.Needed(100); got != 0 {
		t.Errorf("up to layer %d is needed", got)
	}
}
