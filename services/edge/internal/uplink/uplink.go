package uplink

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/sluice-dev/sluice/pkg/media"
)

// Handler is told what happens on an Uplink. Its methods must be safe for concurrent use, must not block, and must not call back into
// the Uplink. Outcome is also called from inside Offer and Forget, on the caller's goroutine, so a caller must not hold a lock there that
// Outcome takes. After Close has returned, only Offer calls it.
type Handler interface {
	// Opened tells what the models of the session need from now on: at the start, after every reconnect, and whenever a router changes
	// its mind. Input ids are the Uplink's own: an input of the same form keeps its id across reconnects, so frames made for an earlier
	// Opened stay valid as long as the form does. The slices are the receiver's.
	Opened(models []media.Model, inputs []media.Input)
	// Outcome tells what became of one unit for one model: what a router said, or a drop of the Uplink's own (SUPERSEDED, EXPIRED,
	// NO_ROUTER, DRAINING). A router may say it late or twice; telling these apart is the ledger's. The Session is filled in.
	Outcome(o media.Outcome)
	// Sent tells that a frame is now on its way to a router, which has a name for people, and will be answered by that router or by nobody. It is
	// called once for each frame sent, before any answer to it.
	Sent(stream string, sequence uint32, models []string, router string)
	// Demand tells what a model, or with an empty name all of them, can use of a stream from now on. What a router demanded ends, with a demand without limits,
	// when the stream does, when the model is no longer needed and when another router takes over.
	Demand(d media.Demand)
	// Lost tells that the call to the router ended without another one in its place. Until the next Opened every frame is NO_ROUTER.
	// Frames that were sent may stay without an answer. The reason is for logs, never for clients.
	Lost(reason error)
}

// Uplink carries one session's frames to a router and what the router says back. All methods may be called from any goroutine.
type Uplink struct {
	pool    *Pool
	session string
	models  []string
	share   media.Share
	handler Handler

	wake   chan struct{} // holds one token when the loop should look at what is guarded below
	cancel context.CancelFunc
	done   chan struct{} // closed when the loop and all its calls have ended

	mu        sync.Mutex
	waiting   slots    // guarded by mu
	needs     *needs   // guarded by mu; nil while no router takes frames
	forgotten []string // guarded by mu; streams that the loop has yet to forget
	moves     bool     // guarded by mu; the loop is to look for a less busy router
	closed    bool     // guarded by mu
}

// Open starts carrying frames of a session, whose public id is given, to the routers of the pool. An empty list of models means all
// that the router has; the share is what the session is due of them. It never blocks and never fails: while no router can be had, frames are NO_ROUTER. Close must be called.
func (p *Pool) Open(session string, models []string, share media.Share, h Handler) *Uplink {
	ctx, cancel := context.WithCancel(context.Background())
	u := &Uplink{
		pool: p, session: session, models: slices.Clone(models), share: share, handler: h,
		wake: make(chan struct{}, 1), cancel: cancel, done: make(chan struct{}), waiting: newSlots(),
	}
	go func() {
		defer close(u.done)
		newLoop(u).run(ctx)
	}()
	return u
}

// Offer takes a frame, and its payload with it, whatever happens: the payload is released exactly once, that of a frame that is sent when gRPC has written it or given it
// up, which may be after Close. It never blocks. A frame that
// still waits for the same stream and input is given up as SUPERSEDED, but frames of sound go up in order: as many wait as one deadline
// has, and the oldest is EXPIRED when there are more. Without a router the frame is NO_ROUTER at once; for an input that is no longer
// wanted it is EXPIRED. Every model the frame is due for gets either one Handler.Outcome from the Uplink or a
// Handler.Sent.
//
// Sequences rise strictly for each stream, and a stream's name is not used again in the session after Forget.
func (u *Uplink) Offer(f media.Frame) {
	if len(f.Due) == 0 {
		f.Free()
		return
	}
	u.mu.Lock()
	var drops []drop
	switch {
	case u.closed:
		drops = []drop{{f, media.Draining}}
	case u.needs == nil:
		drops = []drop{{f, media.NoRouter}}
	default:
		fits, stale := part(f, u.needs.wants(f.InputID))
		if len(stale.Due) > 0 {
			drops = append(drops, drop{stale, media.Expired})
		}
		drops = append(drops, u.waiting.put(fits, u.needs.lines[f.InputID], time.Now())...)
	}
	u.mu.Unlock()
	u.giveUp(drops)
	u.nudge()
}

// Ready tells whether a router takes frames now. Where none does, converting a picture is wasted work.
func (u *Uplink) Ready() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.needs != nil && !u.closed
}

// Forget gives up what is kept for a stream that has ended. A frame that still waits is DRAINING.
func (u *Uplink) Forget(stream string) {
	u.mu.Lock()
	drops := u.waiting.forget(stream, media.Draining)
	u.forgotten = append(u.forgotten, stream)
	u.mu.Unlock()
	u.giveUp(drops)
	u.nudge()
}

// Close ends the call at once, gives up waiting frames as DRAINING and joins the Uplink's goroutines. It must not be called from inside
// a Handler method. Closing twice is harmless.
func (u *Uplink) Close() {
	u.mu.Lock()
	u.closed = true
	u.mu.Unlock()
	u.cancel()
	<-u.done
}

// giveUp reports frames as dropped and releases them. No lock is held.
func (u *Uplink) giveUp(drops []drop) {
	for _, d := range drops {
		for _, due := range d.frame.Due {
			u.pool.metrics.drops.WithLabelValues(d.reason.String()).Inc()
			u.handler.Outcome(media.Outcome{
				Session: u.session, Stream: d.frame.Stream, Sequence: d.frame.Sequence, RTP: d.frame.RTP, Captured: d.frame.Captured,
				Clock: d.frame.Clock, Model: due.Model, Drop: d.reason, Timings: d.frame.Timings,
			})
		}
		d.frame.Free()
	}
}

// nudge makes the loop look.
func (u *Uplink) nudge() {
	select {
	case u.wake <- struct{}{}:
	default:
	}
}
