package batch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	sluicev1 "github.com/sluice-dev/sluice/proto/gen/sluice/v1"
)

// Model says what frames are made of and how the model is named.
type Model struct {
	// Name is the model's, on the router or the server.
	Name string
	// Width is the bytes of a frame, at least 8. The model answers each frame with the frame's first bytes, at least 8, as UINT8.
	Width int
	// Input and Output name the tensors on a server, both UINT8 [batch, bytes].
	Input, Output string
}

func (m Model) check() error {
	if m.Name == "" || m.Width < headBytes {
		return fmt.Errorf("model %q with frames of %d bytes: it needs a name, and they %d bytes at least", m.Name, m.Width, headBytes)
	}
	return nil
}

const (
	// callsPerConnection is as many sessions as the edge puts on a connection.
	callsPerConnection = 200
	// openLimit bounds how long opening all sessions may take.
	openLimit = 20 * time.Second
)

// router is a Path by way of sluice-router, as an edge goes it: a session for each stream, with the windows that the router gives, and one slot for what may not be sent yet.
type router struct {
	model   Model
	slo     time.Duration
	conns   []*grpc.ClientConn
	cancel  context.CancelFunc
	calls   []*call
	running sync.WaitGroup
}

// call is one stream's session.
type call struct {
	path   *router
	name   string
	stream grpc.BidiStreamingClient[sluicev1.StreamRequest, sluicev1.StreamResponse]
	input  uint32

	mu      sync.Mutex // also for sending
	credit  int
	slot    *Frame
	flying  map[uint32]*Frame // by sequence
	failure error
	over    bool
	payload []byte
}

// OpenRouter opens a session for each stream of a trace on the router at an address. Its model is of tensors, UINT8 [Width], and its results are tensors of which the first begins as the frame.
func OpenRouter(ctx context.Context, address string, model Model, streams int, slo time.Duration) (_ Path, err error) {
	if err := model.check(); err != nil {
		return nil, err
	}
	living, cancel := context.WithCancel(context.WithoutCancel(ctx))
	p := &router{model: model, slo: slo, cancel: cancel}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.Close())
		}
	}()
	give := time.AfterFunc(openLimit, cancel)
	defer give.Stop()
	for i := range streams {
		if i%callsPerConnection == 0 {
			conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
			if err != nil {
				return nil, fmt.Errorf("router %s: %w", address, err)
			}
			p.conns = append(p.conns, conn)
		}
		c, err := p.open(living, p.conns[len(p.conns)-1], i)
		if err != nil {
			return nil, fmt.Errorf("router %s: session %d: %w", address, i, err)
		}
		p.calls = append(p.calls, c)
		p.running.Go(c.receive)
	}
	return p, nil
}

func (p *router) open(ctx context.Context, conn *grpc.ClientConn, i int) (*call, error) {
	stream, err := sluicev1.NewRouterServiceClient(conn).Stream(ctx)
	if err != nil {
		return nil, err
	}
	open := &sluicev1.Open{Session: new(fmt.Sprintf("session-%d", i)), Models: []string{p.model.Name}}
	if err := stream.Send(&sluicev1.StreamRequest{Body: &sluicev1.StreamRequest_Open{Open: open}}); err != nil && !errors.Is(err, io.EOF) {
		return nil, err // at the end of the stream, Recv knows why
	}
	first, err := stream.Recv()
	if err != nil {
		return nil, err
	}
	opened := first.GetOpened()
	if len(opened.GetInputs()) != 1 || opened.GetInputs()[0].GetTensor() == nil {
		return nil, fmt.Errorf("model %s does not take tensors", p.model.Name)
	}
	in := opened.GetInputs()[0]
	c := &call{path: p, name: fmt.Sprintf("stream-%d", i), stream: stream, input: in.GetId(), flying: make(map[uint32]*Frame), payload: make([]byte, p.model.Width)}
	if c.credit = int(in.GetWindow()); c.credit == 0 {
		c.credit = int(opened.GetWindow())
	}
	return c, nil
}

// Send implements Path.
func (p *router) Send(f *Frame) { p.calls[f.Stream].send(f) }

// Close implements Path.
func (p *router) Close() error {
	for _, c := range p.calls {
		c.halt()
	}
	p.cancel()
	p.running.Wait()
	var errs []error
	for _, c := range p.calls {
		c.abandon()
		errs = append(errs, c.failure)
	}
	for _, conn := range p.conns {
		errs = append(errs, conn.Close())
	}
	return errors.Join(errs...)
}

// send sends a frame, or keeps it until there is room.
func (c *call) send(f *Frame) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over {
		f.End(Failed, time.Now(), 0)
		return
	}
	if c.credit == 0 {
		if c.slot != nil {
			c.slot.End(Superseded, time.Now(), 0)
		}
		c.slot = f
		return
	}
	c.launch(f)
}

// launch sends a frame. The caller holds the lock, and there is credit.
func (c *call) launch(f *Frame) {
	now := time.Now()
	left := f.Deadline.Sub(now)
	if left <= 0 {
		f.End(Expired, now, 0)
		return
	}
	f.fill(c.payload)
	c.credit--
	c.flying[f.Sequence] = f
	if err := c.stream.Send(&sluicev1.StreamRequest{Body: &sluicev1.StreamRequest_Frame{Frame: &sluicev1.Frame{
		Stream: new(c.name), Sequence: new(f.Sequence), InputId: new(c.input), Payload: c.payload,
		Due: []*sluicev1.Due{{Model: new(c.path.model.Name), Remaining: new(left.Seconds())}},
	}}}); err != nil {
		c.over = true // receive finds out why
	}
}

// receive takes what the router says until the call is over.
func (c *call) receive() {
	for {
		m, err := c.stream.Recv()
		now := time.Now()
		c.mu.Lock()
		if err != nil {
			if !c.over && status.Code(err) != codes.Canceled {
				c.failure = fmt.Errorf("session of %s: %w", c.name, err)
			}
			c.over = true
			c.mu.Unlock()
			return
		}
		if o := m.GetOutcome(); o != nil {
			c.settle(o, now)
		}
		c.credit += int(m.GetCredit().GetFrames())
		if f := c.slot; f != nil && c.credit > 0 && !c.over {
			c.slot = nil
			c.launch(f)
		}
		c.mu.Unlock()
	}
}

// settle ends a frame. The caller holds the lock.
func (c *call) settle(o *sluicev1.Outcome, now time.Time) {
	f := c.flying[o.GetSequence()]
	if f == nil {
		c.failure = fmt.Errorf("session of %s: an outcome for frame %d, which has none to get", c.name, o.GetSequence())
		return
	}
	delete(c.flying, o.GetSequence())
	f.End(fateOf(f, o), now, int(o.GetBatchSize()))
}

func fateOf(f *Frame, o *sluicev1.Outcome) Fate {
	switch {
	case o.GetError().GetCode() == sluicev1.Error_BACKEND_TIMEOUT:
		return TimedOut
	case o.GetError() != nil:
		return Failed
	case o.GetDrop() != nil:
		switch o.GetDrop().GetReason() {
		case sluicev1.Drop_SUPERSEDED:
			return Superseded
		case sluicev1.Drop_EXPIRED:
			return Expired
		default:
			return Shed
		}
	}
	var answer [headBytes]byte
	tensors := o.GetResult().GetTensors()
	if len(tensors) == 0 || len(tensors[0].GetValues()) < headBytes {
		return Failed
	}
	for i := range answer {
		answer[i] = byte(tensors[0].GetValues()[i])
	}
	if !f.owns(answer[:]) {
		return Failed
	}
	return Answered
}

// halt stops sending.
func (c *call) halt() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.over = true
}

// abandon ends what is left, once nothing is received any more.
func (c *call) abandon() {
	now := time.Now()
	if c.slot != nil {
		c.slot.End(Unanswered, now, 0)
	}
	for _, f := range c.flying {
		f.End(Unanswered, now, 0)
	}
}
