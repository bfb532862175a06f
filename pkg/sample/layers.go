package sample

import "time"

const (
	// layersSpan is the media time over which layers are measured, and layersLeast what must have been seen before any is left out.
	layersSpan, layersLeast = 2 * time.Second, time.Second
	// layersRing is how many units are remembered: those of the span at 128 a second.
	layersRing = 256
	// layersEnough is the share of a rate that a layer must reach to be enough, and layersStill the share at which it goes on being enough,
	// so that a camera whose rate wavers does not make layers come and go.
	layersEnough, layersStill = 0.97, 0.9
	// EveryLayer is more than any temporal layer's number.
	EveryLayer = 255
)

// Layers measures how many units a second the temporal layers of a stream bring, so that the higher ones, on which none of the lower
// depends, can be left out when nobody needs so many. The zero value is ready. It is not safe for concurrent use.
type Layers struct {
	ring   [layersRing]layered
	count  int // filled places
	at     int // the place of the next one
	newest time.Duration
	enough int // the number of layers that Needed found to be enough last; zero when it did not
}

type layered struct {
	pts   time.Duration
	layer uint8
}

// Observe notes a unit of the stream, whether it is left out or not. pts is its media time.
func (l *Layers) Observe(layer uint8, pts time.Duration) {
	if step := pts - l.newest; l.count > 0 && (step <= -jump || step > layersSpan) {
		l.count, l.at = 0, 0 // media time has jumped, or paused: what was before says nothing
	}
	l.ring[l.at] = layered{pts, layer}
	l.at = (l.at + 1) % layersRing
	l.count = min(l.count+1, layersRing)
	if l.count == 1 || pts > l.newest {
		l.newest = pts
	}
}

// Needed gives the highest temporal layer whose units are needed for so many units a second: the lowest one that, with those below it, brings
// them. It is EveryLayer when all are needed: for a rate of zero, which means every unit, while too little has been seen, and when even all
// together do not bring more than that.
func (l *Layers) Needed(rate float64) uint8 {
	before := l.enough
	l.enough = 0
	if !(rate > 0) {
		return EveryLayer
	}
	top := uint8(0)
	for i := range l.recent() {
		top = max(top, l.ring[i].layer)
	}
	for layer := range top { // the top one is all
		share := layersEnough
		if before > 0 && before <= int(layer)+1 {
			share = layersStill
		}
		if l.rate(layer) >= share*rate {
			l.enough = int(layer) + 1
			return layer
		}
	}
	return EveryLayer
}

// recent gives the places of the units within the span.
func (l *Layers) recent() func(func(int) bool) {
	return func(yield func(int) bool) {
		for i := range l.count {
			if l.newest-l.ring[i].pts <= layersSpan && !yield(i) {
				return
			}
		}
	}
}

// rate gives the units a second of the layers up to one; 0 while too little of them has been seen.
func (l *Layers) rate(layer uint8) float64 {
	n, first, last := 0, l.newest, l.newest-layersSpan
	for i := range l.recent() {
		if u := l.ring[i]; u.layer <= layer {
			n, first, last = n+1, min(first, u.pts), max(last, u.pts)
		}
	}
	if last-first < layersLeast {
		return 0
	}
	return float64(n-1) / (last - first).Seconds()
}
