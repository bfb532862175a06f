package batch

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Path takes frames to a model.
type Path interface {
	// Send takes over a frame without waiting, and ends it later, or at once. It is called by one goroutine, with the frames of a stream in order.
	Send(f *Frame)
	// Close gives up what is under way, ends every frame that Send took, and joins what the path started. Its error tells what went wrong beside the frames' own fates.
	Close() error
}

const (
	// lead is the time before the first frame.
	lead = 100 * time.Millisecond
	// patience is how many times the SLO the frames under way get when the trace is over.
	patience = 2
)

// Record is what became of a trace's frames.
type Record struct {
	trace  *Trace
	slo    time.Duration
	start  time.Time
	frames []Frame
	sent   []time.Duration // how late each was sent
}

// Replay plays a trace on a path, in real time, and closes the path. An SLO counts from a frame's arrival as the trace has it, however late it was sent.
func Replay(ctx context.Context, trace *Trace, slo time.Duration, path Path) (*Record, error) {
	r := &Record{trace: trace, slo: slo, start: time.Now().Add(lead), frames: make([]Frame, len(trace.Arrivals)), sent: make([]time.Duration, len(trace.Arrivals))}
	var again atomic.Uint32
	var open atomic.Int64
	open.Store(int64(len(r.frames)))
	for i, a := range trace.Arrivals {
		f := &r.frames[i]
		f.Stream, f.Sequence, f.Arrived = a.Stream, a.Sequence, r.start.Add(a.At)
		f.Deadline, f.again, f.open = f.Arrived.Add(slo), &again, &open
		until(f.Arrived)
		if ctx.Err() != nil {
			return nil, errors.Join(ctx.Err(), path.Close())
		}
		r.sent[i] = time.Since(f.Arrived)
		path.Send(f)
	}
	settle(ctx, &open, patience*slo)
	if err := path.Close(); err != nil {
		return nil, err
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if n := open.Load(); n != 0 {
		return nil, fmt.Errorf("%d of %d frames never ended", n, len(r.frames))
	}
	if n := again.Load(); n != 0 {
		return nil, fmt.Errorf("%d of %d frames ended more than once", n, len(r.frames))
	}
	return r, nil
}

// until waits by the kernel's clock: Go's timers are up to a millisecond late when nothing else runs.
func until(t time.Time) {
	for left := time.Until(t); left > 0; left = time.Until(t) {
		s := unix.NsecToTimespec(left.Nanoseconds())
		_ = unix.Nanosleep(&s, nil) // a signal ends it early
	}
}

// settle waits until no frame is under way.
func settle(ctx context.Context, open *atomic.Int64, limit time.Duration) {
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for open.Load() > 0 {
		select {
		case <-ctx.Done():
			return
		case <-deadline.C:
			return
		case <-tick.C:
		}
	}
}
