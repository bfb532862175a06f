// Package simulcast chooses among the layers of a simulcast (RFC 8853): the same picture in several sizes, each a source of its own, of which
// only one is decoded. The cheapest one that the models can use is wanted; when it vanishes, for want of bandwidth mostly, the best of the
// others takes its place.
//
// A Chooser is a single-threaded value that reads no clock.
package simulcast

import (
	"time"

	"github.com/sluice-dev/sluice/pkg/media"
)

const (
	// silence is how long a layer that others go on without may send nothing before it counts as gone.
	silence = 500 * time.Millisecond
	// together is how far apart packets of one picture in several layers may be, alone is how long the others must have gone on: a screen
	// that is shared at a frame a second is silent in all layers, and the first packet after that is no sign that the others are gone.
	together = 50 * time.Millisecond
	alone    = 300 * time.Millisecond
	// settled is how long a layer that was gone must send again before it is trusted.
	settled = 2 * time.Second
)

// Chooser watches the layers of one track and says which one to decode. The zero value knows no layer. It is not safe for concurrent use.
type Chooser struct {
	layers  []layer
	inputs  []media.PictureInput
	largest int64 // picture in pixels; 0 means any
	current int   // index + 1
}

// layer is what is known of one.
type layer struct {
	width, height int       // pixels; 0 while not known
	heard         time.Time // the newest packet
	// behind is when others first went on without it, zero while it keeps up.
	behind time.Time
	gone   bool
	// since is when it began to send after it was gone; zero for one that never was.
	since time.Time
}

func (l *layer) known() bool { return l.width > 0 && l.height > 0 }

func (l *layer) area() int { return l.width * l.height }

func (l *layer) decodable(largest int64) bool { return largest == 0 || int64(l.area()) <= largest }

// Add makes a layer known that began to send, and gives the index by which it is spoken of from then on. Sizes in pixels may be zero when
// they are not known yet.
func (c *Chooser) Add(width, height int, at time.Time) (index int) {
	c.layers = append(c.layers, layer{width: width, height: height, heard: at})
	return len(c.layers) - 1
}

// Want sets what the models take. None means that nothing is decoded, for which every layer is enough.
func (c *Chooser) Want(inputs []media.PictureInput) { c.inputs = inputs }

// Limit sets the largest picture that can be decoded, in pixels. A layer of larger ones is chosen only if there is no other.
func (c *Chooser) Limit(pixels int64) { c.largest = pixels }

// Heard notes the arrival of a layer's newest packet. It need not be called for each of them: a few times a second will do.
func (c *Chooser) Heard(index int, at time.Time) {
	if l := &c.layers[index]; at.After(l.heard) {
		l.heard = at
	}
}

// Sized notes the size of a layer's pictures, in pixels. When the layer in use changes its size then all others are taken to change in
// proportion, for their sender makes them of one picture, until a picture of theirs says otherwise.
func (c *Chooser) Sized(index, width, height int) {
	l := &c.layers[index]
	if width <= 0 || height <= 0 || l.width == width && l.height == height {
		return
	}
	if l.known() && index == c.current-1 {
		for i := range c.layers {
			if other := &c.layers[i]; i != index && other.known() {
				other.width, other.height = max(1, other.width*width/l.width), max(1, other.height*height/l.height)
			}
		}
	}
	l.width, l.height = width, height
}

// Known tells whether a layer's size is known.
func (c *Chooser) Known(index int) bool { return c.layers[index].known() }

// Gone tells whether a layer has stopped to send while others go on.
func (c *Chooser) Gone(index int) bool { return c.layers[index].gone }

// End notes that a layer will send no more.
func (c *Chooser) End(index int) {
	c.layers[index] = layer{gone: true}
	if c.current == index+1 {
		c.current = 0
	}
}

// Use notes that a layer is decoded from now on. There is none before the first call.
func (c *Chooser) Use(index int) { c.current = index + 1 }

// Best gives the layer that should be decoded now; false when there is none. It is the smallest one that is at least as large as what every
// model takes, or the largest when none is. The layer in use stays while nothing better is known: where sizes are not known, and until a layer
// that was gone has sent for two seconds again.
func (c *Chooser) Best(now time.Time) (index int, ok bool) {
	c.watch(now)
	best, current := -1, c.current-1
	lost := current < 0 || c.layers[current].gone
	for i := range c.layers {
		l := &c.layers[i]
		trusted := i == current || lost || l.since.IsZero() || now.Sub(l.since) >= settled
		if l.gone || !trusted {
			continue
		}
		if best < 0 || c.better(l, &c.layers[best], i == current) {
			best = i
		}
	}
	switch {
	case best < 0:
		return max(current, 0), current >= 0
	case !lost && (!c.layers[best].known() || !c.layers[current].known()):
		return current, true
	default:
		return best, true
	}
}

// better tells whether one layer serves better than another; used breaks a tie.
func (c *Chooser) better(a, b *layer, used bool) bool {
	if !a.known() || !b.known() {
		return a.known() || used && !b.known()
	}
	if a.decodable(c.largest) != b.decodable(c.largest) {
		return a.decodable(c.largest)
	}
	enoughA, enoughB := enough(a.width, a.height, c.inputs), enough(b.width, b.height, c.inputs)
	switch {
	case enoughA != enoughB:
		return enoughA
	case a.area() == b.area():
		return used
	default:
		return enoughA == (a.area() < b.area()) // the smaller one of those that are enough, else the larger one
	}
}

// watch finds the layers that are gone, and those that are back.
func (c *Chooser) watch(now time.Time) {
	var newest time.Time
	for i := range c.layers {
		if at := c.layers[i].heard; at.After(newest) {
			newest = at
		}
	}
	for i := range c.layers {
		l := &c.layers[i]
		switch {
		case newest.Sub(l.heard) <= together:
			l.behind = time.Time{}
		case l.behind.IsZero() || !l.heard.Before(l.behind):
			l.behind = newest
		}
		gone := l.heard.IsZero() || !l.behind.IsZero() && newest.Sub(l.behind) >= alone && now.Sub(l.heard) >= silence
		if l.gone && !gone {
			l.since = l.heard
		}
		l.gone = gone
	}
}

// enough tells whether pictures of a size, in pixels, need not be enlarged for any of the inputs, given how they fit.
func enough(width, height int, inputs []media.PictureInput) bool {
	for _, in := range inputs {
		if p := media.Place(in, width, height); p.Width > float64(width) || p.Height > float64(height) {
			return false
		}
	}
	return true
}

// Size is that of a layer's pictures in pixels.
type Size struct{ Width, Height int }

// Worth tells, of layers whose sizes are announced before any media, which ones are worth having: the smallest one that is enough for every input, and the
// smaller ones to fall back to. All are when one has no size, when no input is known, or when none is enough.
func Worth(layers []Size, inputs []media.PictureInput) []bool {
	worth := make([]bool, len(layers))
	limit := 0
	for i, l := range layers {
		worth[i] = true
		if l.Width <= 0 || l.Height <= 0 {
			limit = -1
		}
		if area := l.Width * l.Height; limit >= 0 && len(inputs) > 0 && enough(l.Width, l.Height, inputs) && (limit == 0 || area < limit) {
			limit = area
		}
	}
	if limit <= 0 {
		for i := range worth {
			worth[i] = true
		}
		return worth
	}
	for i, l := range layers {
		worth[i] = l.Width*l.Height <= limit
	}
	return worth
}
