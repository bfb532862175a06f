package intake

import (
	"context"
	"errors"
	"flag"
	"io"
	"log/slog"
	"net"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/pkg/wire"
	sluicev1 "github.com/sluice-dev/sluice/proto/gen/sluice/v1"
	"github.com/sluice-dev/sluice/services/router/internal/backend"
	"github.com/sluice-dev/sluice/services/router/internal/dispatch"
	"github.com/sluice-dev/sluice/services/router/internal/reply"
)

// TestMain has the properties draw the same cases each time, unless -rapid.seed says otherwise; with 0 they are others each time.
func TestMain(m *testing.M) {
	flag.Parse()
	given := os.Getenv("RAPID_SEED") != ""
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "rapid.seed" })
	if !given {
		if err := flag.Set("rapid.seed", "20261122"); err != nil {
			panic(err)
		}
	}
	goleak.VerifyTestMain(m)
}

const ms = time.Millisecond

var small = media.PictureInput{Width: 2, Height: 1, Fit: media.Letterbox, Color: media.RGB}

// model is a scripted model: it answers each frame with its payload and pad bytes after a while, or never.
type model struct {
	after time.Duration
	pad   int
	hang  chan struct{} // when set, batches come back when it is closed, whatever their context says
	runs  func(frames []backend.Frame)
}

func (m *model) Instances() int  { return 1 }
func (m *model) Ready(int) error { return nil }

func (m *model) Profile(int) []backend.Timing { return nil }

func (m *model) Run(ctx context.Context, _ int, frames []backend.Frame) []reply.Answer {
	if m.runs != nil {
		m.runs(frames)
	}
	if m.hang != nil {
		<-m.hang
	} else {
		select {
		case <-time.After(m.after):
		case <-ctx.Done():
			return reply.All(len(frames), media.BackendTimeout)
		}
	}
	answers := make([]reply.Answer, len(frames))
	for i, f := range frames {
		answers[i].Result = &media.Result{JSON: []string{string(f.Payload.Whole()) + string(make([]byte, m.pad))}}
	}
	return answers
}

func modelConfig(name string, in media.PictureInput, r dispatch.Runner) dispatch.ModelConfig {
	return dispatch.ModelConfig{
		Name: name, Input: media.PictureForm(in), Rate: 15, Deadline: 250 * ms, Result: "json", MaxBatch: 8, Slots: 1, Streams: 64, Runner: r,
	}
}

// bed is a router of the real service and dispatcher behind an in-process connection.
type bed struct {
	t          *testing.T
	service    *Service
	dispatcher *dispatch.Dispatcher
	listener   *bufconn.Listener
	server     *grpc.Server
	stopModels func()
	closers    []func()
}

func newBed(t *testing.T, cfg Config, models ...dispatch.ModelConfig) *bed {
	t.Helper()
	return newBedOf(t, cfg, dispatch.Config{Models: models})
}

// newBedOf makes a bed with a dispatcher of the test's.
func newBedOf(t *testing.T, cfg Config, models dispatch.Config) *bed {
	t.Helper()
	logger := slog.New(slog.DiscardHandler)
	models.Registry, models.Logger = prometheus.NewRegistry(), logger
	d, err := dispatch.New(models)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Dispatcher, cfg.Registry, cfg.Logger, cfg.Name = d, prometheus.NewRegistry(), logger, "test"
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	b := &bed{t: t, service: s, dispatcher: d, listener: bufconn.Listen(1 << 20), server: grpc.NewServer(grpc.ForceServerCodecV2(wire.Codec{}))}
	sluicev1.RegisterRouterServiceServer(b.server, s)
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = d.Run(ctx) })
	running.Go(func() { _ = b.server.Serve(b.listener) })
	b.stopModels = func() { cancel(); running.Wait() }
	return b
}

// stop ends everything in the order that main does, and joins it.
func (b *bed) stop() {
	for _, c := range b.closers {
		c()
	}
	b.server.Stop()
	b.service.Wait()
	b.stopModels()
}

func defaults() Config { return Config{Window: 3, Outbox: 64, Streams: 8} }

// client is an edge's end of one call.
type client struct {
	t      *testing.T
	stream sluicev1.RouterService_StreamClient
	cancel context.CancelFunc
}

// dial opens a call on a connection of its own, without any message.
func (b *bed) dial() *client {
	b.t.Helper()
	conn, err := grpc.NewClient("passthrough:///router", grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithIdleTimeout(0),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return b.listener.DialContext(ctx) }))
	if err != nil {
		b.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.t.Context())
	stream, err := sluicev1.NewRouterServiceClient(conn).Stream(ctx)
	if err != nil {
		b.t.Fatal(err)
	}
	b.closers = append(b.closers, func() { cancel(); _ = conn.Close() })
	return &client{t: b.t, stream: stream, cancel: cancel}
}

// open opens a call and returns what the router says it needs.
func (b *bed) open(session string, models ...string) (*client, *sluicev1.Opened) {
	b.t.Helper()
	c := b.dial()
	c.send(openRequest(session, models...))
	opened := c.recv().GetOpened()
	if opened == nil {
		b.t.Fatal("the first answer is not opened")
	}
	return c, opened
}

func openRequest(session string, models ...string) *sluicev1.StreamRequest {
	return &sluicev1.StreamRequest{Body: &sluicev1.StreamRequest_Open{Open: &sluicev1.Open{Session: new(session), Models: models}}}
}

func (c *client) send(m *sluicev1.StreamRequest) {
	c.t.Helper()
	if err := c.stream.Send(m); err != nil && !errors.Is(err, io.EOF) { // EOF: recv tells why
		c.t.Fatal(err)
	}
}

func (c *client) recv() *sluicev1.StreamResponse {
	c.t.Helper()
	m, err := c.stream.Recv()
	if err != nil {
		c.t.Fatal(err)
	}
	return m
}

// outcome receives the next outcome, passing over credits.
func (c *client) outcome() *sluicev1.Outcome {
	c.t.Helper()
	for {
		if o := c.recv().GetOutcome(); o != nil {
			return o
		}
	}
}

// frame makes a request that tests change as they like; its payload has the size of small.
func frame(stream string, sequence uint32, input uint32, in time.Duration, models ...string) *sluicev1.Frame {
	now := time.Now()
	f := media.Frame{Stream: stream, Sequence: sequence, InputID: input, Placement: media.Place(small, 2, 1), Payload: media.Payload{[]byte("abcdef")}}
	for _, m := range models {
		f.Due = append(f.Due, media.Due{Model: m, Deadline: now.Add(in)})
	}
	return wire.FrameToProto(&f, now)
}

func (c *client) frame(f *sluicev1.Frame) {
	c.t.Helper()
	c.send(&sluicev1.StreamRequest{Body: &sluicev1.StreamRequest_Frame{Frame: f}})
}

// end says in a word what became of a frame.
func end(o *sluicev1.Outcome) string {
	switch {
	case o.GetDrop() != nil:
		return o.GetDrop().GetReason().String()
	case o.GetError() != nil:
		return o.GetError().GetCode().String()
	case o.GetResult() != nil:
		return "result"
	}
	return "nothing"
}

// advance lets the bubble's time pass and everything settle.
func advance(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}
