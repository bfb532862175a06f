package dispatch

import (
	"sync/atomic"
	"time"

	"github.com/sluice-dev/sluice/pkg/media"
)

// Owner takes the outcomes of the frames that it submitted.
type Owner interface {
	// Ended is called exactly once for each model that a frame is due for, from any goroutine, also from within Submit, Drop and Forget. It must not block
	// and must not call the dispatcher.
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

	users atomic.Int32 // models that may still read the payload
}

// release gives up one model's use of the payload.
func (f *Frame) release() {
	if f.users.Add(-1) == 0 {
		f.Free()
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

// job is one frame for one model, from submission to outcome. The model's lock guards ended; the other fields never change, but for flight, which is set
// under the lock as the job is sent.
type job struct {
	frame    *Frame
	deadline time.Time
	flight   *flight
	ended    bool
}

// end is an outcome on its way out: made under the model's lock, delivered without it.
type end struct {
	job     *job
	outcome media.Outcome
}
