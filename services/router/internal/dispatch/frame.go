package dispatch

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	oteltrace "go.opentelemetry.io/otel/trace"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/services/router/internal/backend"
)

// Owner takes the outcomes of the frames that it submitted.
type Owner interface {
	// Ended is called exactly once for each model that a frame is due for, from any goroutine, also from within Submit, Drop and Forget. It must not block
	// and must not call the dispatcher, and must not keep f, which may be another frame soon after.
	Ended(f *Frame, o media.Outcome)
	// Demand tells what a model can use of one of the owner's streams from now on; the size is left to the owner. It is called from any goroutine, also after Forget
	// when the two meet. It must not block and must not call the dispatcher.
	Demand(d media.Demand)
}

// Frame is a frame on its way through the router. The models that it is due for share it; its payload is released when the last of them has no more use
// for it, which may be after the last outcome when a model goes on reading.
type Frame struct {
	// Frame must not be changed once it is submitted.
	media.Frame
	// Session is the public id of the session that it belongs to.
	Session string
	// Owner takes the outcomes. Owners are compared, so an owner is a pointer.
	Owner Owner
	// Arrived is when the frame came to the router.
	Arrived time.Time
	// Share is the session's.
	Share media.Share
	// Span is open until the last outcome, which is for the owner to end it at; nil for frames that are not traced.
	Span oteltrace.Span

	home  *Frames      // nil for a frame that does not go back
	users atomic.Int32 // models, outcomes on their way out and holders that may still read the frame or its payload
	jobs  []job        // one for each model that it is due for
}

// Frames keeps the memory of frames that are over for those that come. The zero value is ready. It is safe for concurrent use.
type Frames struct{ idle sync.Pool }

// New gives an empty frame, but for the room in Due. Once it is submitted it comes back by itself, when nobody has any more use for it.
func (k *Frames) New() *Frame {
	if f, _ := k.idle.Get().(*Frame); f != nil {
		return f
	}
	return &Frame{home: k}
}

// back takes a frame that nobody uses any more, and lets go of whatever it names.
func (k *Frames) back(f *Frame) {
	due, jobs := f.Due, f.jobs
	clear(due)
	clear(jobs)
	*f = Frame{Frame: media.Frame{Due: due[:0]}, home: k, jobs: jobs[:0]}
	k.idle.Put(f)
}

// begin makes the frame's jobs, which are of one user each.
func (f *Frame) begin() {
	f.users.Store(int32(len(f.Due)))
	f.jobs = slices.Grow(f.jobs[:0], len(f.Due))[:len(f.Due)]
	for i, due := range f.Due {
		f.jobs[i] = job{frame: f, deadline: due.Deadline}
	}
}

// Hold implements backend.Holder.
func (f *Frame) Hold() { f.users.Add(1) }

// Release gives up one use of the frame and its payload, a model's or that of a Hold.
func (f *Frame) Release() {
	if f.users.Add(-1) > 0 {
		return
	}
	f.Free()
	if f.home != nil {
		f.home.back(f)
	}
}

// outcome begins the outcome of a frame for a model.
func (f *Frame) outcome(model string) media.Outcome {
	return media.Outcome{
		Session: f.Session, Stream: f.Stream, Sequence: f.Sequence, RTP: f.RTP, Captured: f.Captured, Clock: f.Clock, Model: model,
		Timings: media.Timings{Receive: f.Timings.Receive, Decode: f.Timings.Decode, Convert: f.Timings.Convert},
	}
}

// lane names a stream among all owners'.
type lane struct {
	owner  Owner
	stream string
}

// lane names the frame's stream.
func (f *Frame) lane() lane { return lane{f.Owner, f.Stream} }

// job is one frame for one model, from submission to outcome. The model's lock guards it, but for frame and deadline, which never change. It is part of the frame, so it is
// gone when the frame is.
type job struct {
	frame    *Frame
	deadline time.Time
	// sent is when it was sent last, and size the number of frames that went together; zero for one that was not sent.
	sent time.Time
	size int
	// serial is of its taking from the queue.
	serial uint32
	// state is what the model remembers of its stream, from when it is first sent; nil for pictures.
	state *backend.State
	// code is why it came back when it was sent before: it has no third chance, and if it does not get its second one, that was the reason.
	code media.ErrorCode
	// reading is true while a runner may read the payload: from when it is sent until the batch has come back.
	reading bool
	ended   bool
}

// end is an outcome on its way out: made under the model's lock, delivered without it. It is a user of its frame.
type end struct {
	frame   *Frame
	outcome media.Outcome
}
