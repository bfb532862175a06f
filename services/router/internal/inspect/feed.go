package inspect

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"github.com/sluice-dev/sluice/pkg/media"
)

// What waits for one slow watcher, and how many watchers there may be.
const (
	keptOutcomes = 1024
	keptBytes    = 4 << 20
	maxWatchers  = 16
)

var (
	errClosed  = errors.New("the feed is closed")
	errTooMany = errors.New("too many watchers")
)

// Feed hands outcomes to those who watch. It is safe for concurrent use, starts no goroutines, and costs next to nothing while nobody watches.
type Feed struct {
	watched atomic.Bool // whether there are watchers

	mu       sync.Mutex
	watchers map[*watcher]struct{}
	closed   bool
}

// watcher holds what one watcher has not taken yet. A slow one loses the oldest.
type watcher struct {
	wants func(*media.Outcome) bool
	ready chan struct{} // holds one token when next should look again

	mu      sync.Mutex
	waiting []media.Outcome // oldest first
	bytes   int
	skipped uint32
	closed  bool
}

// NewFeed makes a feed.
func NewFeed() *Feed { return &Feed{watchers: make(map[*watcher]struct{})} }

// Publish hands an outcome on and never blocks. The outcome's Result must not be changed afterwards.
func (f *Feed) Publish(o media.Outcome) {
	if !f.watched.Load() {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for w := range f.watchers {
		if w.wants(&o) {
			w.put(o)
		}
	}
}

// Close ends all watching, so that a server that stops gracefully can stop. Closing twice is harmless.
func (f *Feed) Close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	for w := range f.watchers {
		w.close()
	}
}

// watch begins to watch; leave ends it.
func (f *Feed) watch(wants func(*media.Outcome) bool) (*watcher, error) {
	w := &watcher{wants: wants, ready: make(chan struct{}, 1)}
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.closed:
		return nil, errClosed
	case len(f.watchers) >= maxWatchers:
		return nil, errTooMany
	}
	f.watchers[w] = struct{}{}
	f.watched.Store(true)
	return w, nil
}

func (f *Feed) leave(w *watcher) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.watchers, w)
	f.watched.Store(len(f.watchers) > 0)
}

func (w *watcher) put(o media.Outcome) {
	w.mu.Lock()
	w.waiting = append(w.waiting, o)
	w.bytes += sizeOf(&o)
	for len(w.waiting) > keptOutcomes || w.bytes > keptBytes && len(w.waiting) > 1 {
		w.shift()
		w.skipped++
	}
	w.mu.Unlock()
	w.signal()
}

// next takes the oldest outcome, waiting for one until ctx ends, with the number of those lost before it. It fails with errClosed when the feed is closed and
// nothing is left, or with the context's error.
func (w *watcher) next(ctx context.Context) (o media.Outcome, skipped uint32, err error) {
	for {
		w.mu.Lock()
		if len(w.waiting) > 0 {
			o, skipped = w.shift(), w.skipped
			w.skipped = 0
			w.mu.Unlock()
			return o, skipped, nil
		}
		closed := w.closed
		w.mu.Unlock()
		if closed {
			return media.Outcome{}, 0, errClosed
		}
		select {
		case <-ctx.Done():
			return media.Outcome{}, 0, ctx.Err()
		case <-w.ready:
		}
	}
}

// shift takes the oldest out. The caller holds the lock. The slice moves on in its array, which append replaces now and then.
func (w *watcher) shift() media.Outcome {
	o := w.waiting[0]
	w.waiting[0] = media.Outcome{}
	w.waiting = w.waiting[1:]
	w.bytes -= sizeOf(&o)
	return o
}

func (w *watcher) close() {
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	w.signal()
}

func (w *watcher) signal() {
	select {
	case w.ready <- struct{}{}:
	default:
	}
}

// sizeOf estimates the memory that an outcome holds, in bytes.
func sizeOf(o *media.Outcome) int {
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
