package inspect

import (
	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/services/edge/internal/fanout"
)

// What is kept for slow watchers, and how many there may be.
const (
	keptOutcomes = 1024
	keptBytes    = 8 << 20
	maxWatchers  = 16
)

// Feed hands outcomes, as they become final, to those who watch. It is safe for concurrent use, starts no goroutines, and costs next to
// nothing while nobody watches. Its zero value is not usable.
type Feed struct {
	ring *fanout.Ring[media.Outcome]
}

// NewFeed makes a feed.
func NewFeed() *Feed {
	return &Feed{ring: fanout.New(fanout.Limits{Items: keptOutcomes, Bytes: keptBytes, Readers: maxWatchers}, sizeOf)}
}

// Publish hands an outcome on and never blocks. The outcome's Result must not be changed afterwards. After Close it does nothing.
func (f *Feed) Publish(o media.Outcome) {
	if f.ring.Readers() > 0 {
		_ = f.ring.Publish(o) // fails only after Close, when nobody is left to see it
	}
}

// Close ends all watching, so that a server that stops gracefully can stop. Closing twice is harmless.
func (f *Feed) Close() { f.ring.Close() }

// sizeOf estimates the memory that an outcome holds, in bytes. It errs on the high side for the many small parts of a result.
func sizeOf(o media.Outcome) int {
	const fixed, detection, point, class = 512, 128, 16, 64
	if o.Result == nil {
		return fixed
	}
	n := fixed + len(o.Result.Classes)*class + len(o.Result.Embedding)*4
	for _, d := range o.Result.Detections {
		n += detection + len(d.Landmarks)*point
	}
	for _, t := range o.Result.Tensors {
		n += detection + len(t.Values)*8
	}
	for _, s := range o.Result.JSON {
		n += len(s)
	}
	return n
}
