package uplink

import (
	"context"
	"fmt"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/peer"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/pkg/wire"
	sluicev1 "github.com/sluice-dev/sluice/proto/gen/sluice/v1"
)

// call is one gRPC call of one session. Two goroutines belong to it, one that sends and one that receives, so that neither waits for the
// other: flow control may hold a large frame back for long while outcomes still arrive. They know link, out and what run is given; all
// other fields are the loop's.
type call struct {
	link   *link
	cancel context.CancelFunc
	// out hands one frame at a time to the sender, which owns it then. Its capacity is 1 and it is filled only while busy is false, so
	// filling it never blocks. Closing it half-closes the call.
	out  chan media.Frame
	busy bool

	name    string // the router's for itself, for people
	needs   *needs // nil until Opened
	credits map[slot]uint32
	demands map[demanded]struct{} // in force
	owed    owed
	born    time.Time // when it was opened
	router  string    // its address, known when it has said something
	drains  bool
	moves   bool      // it is to be left if a less busy router is found
	by      time.Time // when patience with the call's present state ends; zero for never
}

// demanded names what a router may demand less of; an empty model stands for all of them.
type demanded struct{ stream, model string }

// maxDemands bounds what one call may demand; a session's streams and models are fewer by far.
const maxDemands = 1024

// maxFramerate is beyond any camera's, so that more is none.
const maxFramerate = 1e6

// event is what a call's goroutines tell the loop.
type event struct {
	call *call
	kind eventKind
	// response and the router's address are set for received, err for ended.
	response *sluicev1.StreamResponse
	router   string
	err      error
}

type eventKind uint8

const (
	started  eventKind = iota // a connection is there and Open is on its way
	sent                      // the sender is free for the next frame
	received                  // a message arrived
	ended                     // both goroutines are done; the last event of a call
)

func newCall(l *link, cancel context.CancelFunc) *call {
	return &call{link: l, cancel: cancel, out: make(chan media.Frame, 1), credits: make(map[slot]uint32), demands: make(map[demanded]struct{}), owed: newOwed()}
}

// run holds the call until the router ends it or ctx does. It waits for a connection as long as it takes. Every event must be taken.
func (c *call) run(ctx context.Context, open *sluicev1.Open, events chan<- event) {
	err := c.converse(ctx, open, events)
	events <- event{call: c, kind: ended, err: err}
}

func (c *call) converse(ctx context.Context, open *sluicev1.Open, events chan<- event) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := c.link.router.Stream(ctx, grpc.WaitForReady(true))
	if err != nil {
		return fmt.Errorf("open a call: %w", err)
	}
	// An error of Send is always followed by one of Recv that says why.
	_ = stream.Send(&sluicev1.StreamRequest{Body: &sluicev1.StreamRequest_Open{Open: open}})
	events <- event{call: c, kind: started}
	var sender sync.WaitGroup
	sender.Go(func() { c.send(ctx, stream, events) })
	err = c.receive(stream, events) //nolint:contextcheck // the stream has the context, and in it whose it is
	cancel()                        // the sender may be blocked by flow control, or wait for a frame
	sender.Wait()
	return err
}

// send sends the frames that are handed to it, each once the one before has been written: what cannot be sent yet waits in its slot, where a newer frame takes its place, and
// not in gRPC. A frame's payload is released when gRPC has written it, or has given it up, which may be after the call's end.
func (c *call) send(ctx context.Context, stream sluicev1.RouterService_StreamClient, events chan<- event) {
	written := make(chan struct{}, 1)
	for {
		select {
		case <-ctx.Done():
			return
		case f, more := <-c.out:
			if !more {
				_ = stream.CloseSend() // never fails; the end comes by receive
				return
			}
			m := wire.FrameToRequest(f, time.Now())
			m.Written = func() { written <- struct{}{} }
			err := stream.SendMsg(m)
			m.Free()
			if err != nil {
				return
			}
			select {
			case <-ctx.Done():
				return
			case <-written:
				events <- event{call: c, kind: sent}
			}
		}
	}
}

// receive hands on what arrives. Nothing in it waits for the sender.
func (c *call) receive(stream sluicev1.RouterService_StreamClient, events chan<- event) error {
	router := ""
	for {
		m, err := stream.Recv()
		if err != nil {
			return err
		}
		if router == "" { // Not before: gRPC may take an unanswered call to another router.
			if p, ok := peer.FromContext(stream.Context()); ok {
				router = p.Addr.String()
			}
		}
		events <- event{call: c, kind: received, response: m, router: router}
	}
}

// hand gives the sender a frame. The sender must not be busy.
func (c *call) hand(f media.Frame) {
	onCall := c.needs.wire[f.InputID]
	at := slot{f.Stream, onCall}
	c.credits[at] = c.credit(at) - 1
	c.owed.sent(f)
	c.busy = true
	f.InputID = onCall
	c.out <- f
}

// may tells whether a frame of a slot, named by the Uplink's input id, may be sent now.
func (c *call) may(s slot) bool {
	onCall, ok := c.needs.wire[s.input]
	return ok && c.credit(slot{s.stream, onCall}) > 0
}

// credit is what is left for a slot, named by the call's input id. All start with the whole window.
func (c *call) credit(at slot) uint32 {
	if n, ok := c.credits[at]; ok {
		return n
	}
	return c.needs.windows[at.input]
}

// grant adds credit. It counts only for slots that have spent some, so that a router cannot make the edge remember streams.
func (c *call) grant(m *sluicev1.Credit) {
	const most = 1 << 16 // far beyond any use, far below an overflow
	at := slot{m.GetStream(), m.GetInputId()}
	if n, ok := c.credits[at]; ok {
		c.credits[at] = min(n+min(m.GetFrames(), most), most)
	}
}

// demand notes what the router demands, and tells whether it counts: not for a model that the call does not have, nor beyond the bound.
func (c *call) demand(d media.Demand) bool {
	key := demanded{d.Stream, d.Model}
	if d.MaxFramerate <= 0 {
		_, counts := c.demands[key]
		delete(c.demands, key)
		return counts
	}
	if d.Model != "" && !c.needs.has(d.Model) || !(d.MaxFramerate <= maxFramerate) {
		return false
	}
	if _, known := c.demands[key]; !known && len(c.demands) >= maxDemands {
		return false
	}
	c.demands[key] = struct{}{}
	return true
}

// refit takes the needs of a new Opened and forgets the credit of inputs that are gone.
func (c *call) refit(n *needs) {
	c.needs = n
	live := make(map[uint32]bool, len(n.wire))
	for _, onCall := range n.wire {
		live[onCall] = true
	}
	for at := range c.credits {
		if !live[at.input] {
			delete(c.credits, at)
		}
	}
}

// forget drops what is kept of a stream that has ended, but not what is owed for it.
func (c *call) forget(stream string) {
	c.owed.forget(stream)
	for at := range c.credits {
		if at.stream == stream {
			delete(c.credits, at)
		}
	}
}

// finish releases a frame that was handed over too late to be sent. It is called after the ended event only.
func (c *call) finish() {
	select {
	case f := <-c.out: // the zero frame, when out is closed and empty
		f.Free()
	default:
	}
}
