package intake

import (
	"cmp"
	"context"
	"errors"
	"io"
	"math"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/pkg/trace"
	"github.com/sluice-dev/sluice/pkg/wire"
	sluicev1 "github.com/sluice-dev/sluice/proto/gen/sluice/v1"
	"github.com/sluice-dev/sluice/services/router/internal/dispatch"
)

const (
	// flushGrace bounds how long a half-closed call's last outcomes may take to be sent.
	flushGrace = 5 * time.Second
	// settleGrace is how much longer than the longest deadline a half-closed call waits for its outcomes, which should all be there by then.
	settleGrace = time.Second

	// wayBack is kept back of each frame's remaining time, at most a tenth of it: the remaining time runs from the frame's arrival here, so its way from the
	// edge is not in it, and the answer has to go back as well. The edge waits no more than 40 ms beyond the deadline before it reports ROUTER_LOST.
	wayBack = 10 * time.Millisecond

	maxDue    = 64
	maxStream = 128 // characters
)

// edge is the other end of a call.
type edge = grpc.BidiStreamingServer[sluicev1.StreamRequest, sluicev1.StreamResponse]

// call is one session's call. It owns the call's frames: their outcomes come to Ended.
type call struct {
	service *Service
	session string
	wanted  []string // models by name; empty for all
	share   media.Share
	started time.Time
	traces  trace.Session
	view    atomic.Pointer[view] // of the models; changed under the service's lock
	books   *books
	out     *outbox
}

func newCall(s *Service, session string, wanted []string) *call {
	return &call{
		service: s, session: session, wanted: wanted, started: time.Now(), traces: trace.Of(session),
		books: newBooks(s.cfg.Streams), out: newOutbox(s.cfg.Outbox, s.metrics.undelivered),
	}
}

// shareOf gives what a session is due, within the bounds.
func shareOf(open *sluicev1.Open) media.Share {
	return media.Share{Weight: uint16(min(open.GetWeight(), media.MaxWeight)), Class: uint8(min(open.GetClass(), media.MaxClass))}
}

// Ended implements dispatch.Owner.
func (c *call) Ended(f *dispatch.Frame, o media.Outcome) {
	c.out.add(o)
	if c.books.ended(f, o, time.Now()) {
		c.out.credit(creditKey{f.Stream, f.InputID})
		if f.Span != nil {
			f.Span.End()
		}
	}
}

// Demand implements dispatch.Owner.
func (c *call) Demand(d media.Demand) {
	v := c.view.Load()
	if m, there := v.models[d.Model]; d.MaxFramerate > 0 {
		if !there {
			return // It came late: the model has gone, and what it demanded with it.
		}
		picture := v.inputs[m.InputID].Picture
		d.MaxWidth, d.MaxHeight = picture.Width, picture.Height
	}
	c.out.demand(d)
}

// send sends what the outbox holds until that is closed or the call is over.
func (c *call) send(stream edge) {
	defer c.out.close()
	response := c.opened()
	for {
		if err := stream.Send(response); err != nil {
			return // The call is over; receive finds out why.
		}
		l, more := c.out.next(stream.Context())
		if !more {
			return
		}
		switch {
		case l.opened:
			response = c.opened()
		case l.demand != nil:
			response = &sluicev1.StreamResponse{Body: &sluicev1.StreamResponse_Demand{Demand: wire.DemandToProto(*l.demand)}}
		case l.drain:
			response = &sluicev1.StreamResponse{Body: &sluicev1.StreamResponse_Drain{Drain: &sluicev1.Drain{ReconnectWithin: new(l.within)}}}
		case l.outcome != nil:
			response = &sluicev1.StreamResponse{Body: &sluicev1.StreamResponse_Outcome{Outcome: wire.OutcomeToProto(*l.outcome)}}
		case l.credit != nil:
			c.books.credited(*l.credit)
			response = &sluicev1.StreamResponse{Body: &sluicev1.StreamResponse_Credit{Credit: &sluicev1.Credit{
				Stream: new(l.credit.stream), InputId: new(l.credit.input), Frames: new(l.credit.frames),
			}}}
		}
	}
}

func (c *call) opened() *sluicev1.StreamResponse {
	return &sluicev1.StreamResponse{Body: &sluicev1.StreamResponse_Opened{Opened: c.view.Load().opened}}
}

// receive takes frames until the edge half-closes, which is no error.
func (c *call) receive(stream edge) error {
	for {
		request := &wire.Request{}
		err := stream.RecvMsg(request)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if request.Message.GetFrame() == nil {
			if request.Message.GetOpen() != nil {
				return status.Error(codes.FailedPrecondition, "a second open: a call is opened once")
			}
			return status.Error(codes.InvalidArgument, "a message without a body")
		}
		if err := c.accept(request, time.Now()); err != nil {
			return err
		}
	}
}

// accept checks one frame and hands it on, its payload where gRPC received it. An error is the end of the call.
func (c *call) accept(request *wire.Request, now time.Time) error {
	v := c.view.Load()
	f, err := c.frame(request, v, now)
	if err != nil {
		request.Free()
		return status.Error(codes.InvalidArgument, err.Error())
	}
	in, known := v.inputs[f.InputID]
	window := 0
	if known {
		if err := v.fits(f, in); err != nil {
			f.Free()
			return status.Error(codes.InvalidArgument, err.Error())
		}
		window = cmp.Or(in.Window, c.service.cfg.Window)
	}
	idle, full, err := c.books.receive(f, window)
	if err != nil {
		f.Free()
		return status.Error(codes.InvalidArgument, err.Error())
	}
	if idle != "" {
		c.service.cfg.Dispatcher.Forget(c, idle)
	}
	c.service.metrics.frames.Inc()
	c.trace(f, now)
	switch {
	case full:
		c.service.cfg.Dispatcher.Drop(f, media.Overloaded)
	case !known:
		c.service.cfg.Dispatcher.Drop(f, media.Expired)
	default:
		c.service.cfg.Dispatcher.Submit(f)
	}
	return nil
}

// trace begins a frame's span if the edge traces it, or if it is traced here. Its checks are over.
func (c *call) trace(f *dispatch.Frame, now time.Time) {
	tracer := c.service.cfg.Tracer
	if tracer == nil {
		return
	}
	const name = "frame"
	if f.Trace.Valid() {
		f.Span = tracer.Continue(f.Trace, name, now, append(trace.Unit(c.session, f.Stream, f.Sequence), trace.Models(f.Due))...)
	} else if unit := c.traces.Unit(f.Stream, f.Sequence); tracer.Takes(unit) {
		f.Span = tracer.Begin(unit, name, now, append(trace.Unit(c.session, f.Stream, f.Sequence), trace.Models(f.Due))...)
	}
	if f.Span != nil {
		trace.Stage(f.Span, "intake", now, time.Now())
	}
}

// finish ends a half-closed call: what is left ends by its deadline, and its outcomes go out.
func (c *call) finish(ctx context.Context, sent <-chan struct{}) error {
	timer := time.NewTimer(c.view.Load().longest + settleGrace)
	defer timer.Stop()
	select {
	case <-c.books.allSettled():
	case <-ctx.Done():
		return status.FromContextError(ctx.Err()).Err()
	case <-timer.C:
		c.service.cfg.Logger.ErrorContext(ctx, "frames are without an outcome after their deadline", "session", c.session)
		return status.Error(codes.Internal, "frames are without an outcome")
	}
	c.out.finish()
	timer.Reset(flushGrace)
	select {
	case <-sent:
		return nil
	case <-timer.C:
		return status.Error(codes.DeadlineExceeded, "the edge did not take the last outcomes")
	}
}

// forget gives up what waits, for nobody is left to tell.
func (c *call) forget() {
	c.out.close()
	for _, stream := range c.books.names() {
		c.service.cfg.Dispatcher.Forget(c, stream)
	}
}

// frame translates a frame and checks what does not depend on its input.
func (c *call) frame(request *wire.Request, v *view, now time.Time) (*dispatch.Frame, error) {
	if err := checkFrame(request.Message.GetFrame()); err != nil {
		return nil, err
	}
	f := c.service.frames.New()
	var err error
	if f.Frame, err = request.Frame(now, f.Due); err != nil {
		return nil, err
	}
	f.Session, f.Owner, f.Arrived, f.Share = c.session, c, now, c.share
	if err := v.agree(f, now); err != nil {
		f.Free()
		return nil, err
	}
	return f, nil
}

// answerBy gives the time by which the answer for a frame that arrived now must leave. No edge has more time than the model gives; one that claims it would
// make the router keep frames for as long as it likes.
func answerBy(now time.Time, remaining, most time.Duration) time.Time {
	remaining = min(remaining, most)
	return now.Add(remaining - max(0, min(wayBack, remaining/10)))
}

// checkFrame checks a message by the rules of its description: protovalidate would cost more than all else that intake does.
func checkFrame(m *sluicev1.Frame) error {
	if !utf8.ValidString(m.GetStream()) || utf8.RuneCountInString(m.GetStream()) > maxStream {
		return breach("name of a stream longer than %d characters", maxStream)
	}
	if m.InputId == nil || len(m.GetDue()) > maxDue {
		return breach("frame %d of stream %q: no input, or due for more than %d models", m.GetSequence(), m.GetStream(), maxDue)
	}
	if _, known := sluicev1.Outcome_Clock_name[int32(m.GetClock())]; !known {
		return breach("frame %d of stream %q: unknown clock %d", m.GetSequence(), m.GetStream(), m.GetClock())
	}
	if t := m.GetCaptureTime(); t != nil && !t.IsValid() {
		return breach("frame %d of stream %q: a capture time that is none", m.GetSequence(), m.GetStream())
	}
	numbers := []float64{
		m.GetPlacement().GetX(), m.GetPlacement().GetY(), m.GetPlacement().GetWidth(), m.GetPlacement().GetHeight(),
		m.GetTimings().GetReceive(), m.GetTimings().GetDecode(), m.GetTimings().GetConvert(),
	}
	for _, due := range m.GetDue() {
		if due.Remaining == nil {
			return breach("frame %d of stream %q: due without the remaining time", m.GetSequence(), m.GetStream())
		}
		numbers = append(numbers, due.GetRemaining())
	}
	for _, n := range numbers {
		if !(math.Abs(n) <= math.MaxInt32) {
			return breach("frame %d of stream %q: number %g is out of range", m.GetSequence(), m.GetStream(), n)
		}
	}
	return nil
}
