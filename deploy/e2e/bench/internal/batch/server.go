package batch

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/sluice-dev/sluice/proto/gen/inference"
)

// serverConnections is the number of connections on which requests go to a model server in turn.
const serverConnections = 4

// client sends batches to a model server. It is safe for concurrent use.
type client struct {
	model   Model
	conns   []*grpc.ClientConn
	ctx     context.Context //nolint:containedctx // of the requests under way, which end with the path
	cancel  context.CancelFunc
	running sync.WaitGroup
}

func newClient(ctx context.Context, address string, model Model) (*client, error) {
	if err := model.check(); err != nil {
		return nil, err
	}
	if model.Input == "" || model.Output == "" {
		return nil, fmt.Errorf("model %s: its tensors need names", model.Name)
	}
	c := &client{model: model}
	c.ctx, c.cancel = context.WithCancel(context.WithoutCancel(ctx))
	for range serverConnections {
		conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			return nil, errors.Join(fmt.Errorf("server %s: %w", address, err), c.close())
		}
		c.conns = append(c.conns, conn)
	}
	return c, nil
}

// ask sends frames as one request, waits for the answer, and ends the frames.
func (c *client) ask(frames ...*Frame) {
	data := make([]byte, len(frames)*c.model.Width)
	for i, f := range frames {
		f.fill(data[i*c.model.Width:])
	}
	request := &inference.ModelInferRequest{
		ModelName: c.model.Name,
		Inputs: []*inference.ModelInferRequest_InferInputTensor{
			{Name: c.model.Input, Datatype: "UINT8", Shape: []int64{int64(len(frames)), int64(c.model.Width)}},
		},
		Outputs:          []*inference.ModelInferRequest_InferRequestedOutputTensor{{Name: c.model.Output}},
		RawInputContents: [][]byte{data},
	}
	conn := c.conns[int(frames[0].Head()%uint64(len(c.conns)))]
	answer, err := inference.NewGRPCInferenceServiceClient(conn).ModelInfer(c.ctx, request)
	now := time.Now()
	if err != nil {
		fate := Failed
		switch {
		case c.ctx.Err() != nil:
			fate = Unanswered
		case status.Code(err) == codes.Unavailable: // how servers say that it waited for too long, or that the queue is full
			fate = Expired
		}
		for _, f := range frames {
			f.End(fate, now, 0)
		}
		return
	}
	c.settle(answer, frames, now)
}

// settle ends the frames of an answer.
func (c *client) settle(answer *inference.ModelInferResponse, frames []*Frame, now time.Time) {
	var echo []byte
	if raw := answer.GetRawOutputContents(); len(raw) == 1 {
		echo = raw[0]
	}
	each := len(echo) / len(frames)
	for i, f := range frames {
		fate := Failed
		if f.owns(echo[i*each : (i+1)*each]) {
			fate = Answered
		}
		f.End(fate, now, len(frames))
	}
}

func (c *client) close() error {
	c.cancel()
	c.running.Wait()
	var errs []error
	for _, conn := range c.conns {
		errs = append(errs, conn.Close())
	}
	return errors.Join(errs...)
}

// mostUnderWay bounds the requests that a path has under way; what comes beyond it is shed. A server whose queue has no limit is far too late long before.
const mostUnderWay = 1 << 15

// direct is a Path that sends every frame to a model server at once, as a request of its own.
type direct struct {
	*client
	room chan struct{}
}

// OpenServer sends every frame straight to the model server at an address, as a request of its own: clients that leave all to the server's own batcher.
func OpenServer(ctx context.Context, address string, model Model) (Path, error) {
	c, err := newClient(ctx, address, model)
	if err != nil {
		return nil, err
	}
	return &direct{client: c, room: make(chan struct{}, mostUnderWay)}, nil
}

// Send implements Path.
func (d *direct) Send(f *Frame) {
	select {
	case d.room <- struct{}{}:
	default:
		f.End(Shed, time.Now(), 0)
		return
	}
	d.running.Go(func() {
		defer func() { <-d.room }()
		d.ask(f)
	})
}

// Close implements Path.
func (d *direct) Close() error { return d.close() }
