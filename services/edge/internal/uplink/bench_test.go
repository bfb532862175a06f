package uplink

import (
	"bufio"
	"io"
	"net"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/pkg/serve"
	"github.com/sluice-dev/sluice/pkg/wire"
	"github.com/sluice-dev/sluice/pkg/wire/wiretest"
	sluicev1 "github.com/sluice-dev/sluice/proto/gen/sluice/v1"
)

// picture is the input of the benchmark's model.
var picture = media.PictureInput{Width: 640, Height: 360, Fit: media.Letterbox, Color: media.RGB}

// routerPeer is a router that answers every frame at once.
func routerPeer(in *bufio.Reader, out io.Writer) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := grpc.NewServer(grpc.ForceServerCodecV2(wire.Codec{}), grpc.InitialWindowSize(4<<20), grpc.InitialConnWindowSize(16<<20))
	healthv1.RegisterHealthServer(server, health.NewServer())
	sluicev1.RegisterRouterServiceServer(server, &router{script: func(c *conversation) error {
		if err := c.welcome(4, []media.Model{faces}, []media.Input{{ID: faces.InputID, Form: media.PictureForm(picture)}}); err != nil {
			return err
		}
		for {
			r := &wire.Request{}
			if err := c.RecvMsg(r); err != nil {
				return err
			}
			r.Free()
			if err := c.answer(r.Message.GetFrame()); err != nil {
				return err
			}
		}
	}})
	go func() {
		_, _ = io.Copy(io.Discard, in)
		server.Stop()
	}()
	if _, err := io.WriteString(out, l.Addr().String()+"\n"); err != nil {
		return err
	}
	return server.Serve(l)
}

// counter is told what becomes of frames.
type counter struct {
	opened   chan []media.Input
	sent     chan struct{}
	outcomes chan media.Outcome
}

func (c *counter) Opened(_ []media.Model, inputs []media.Input) { c.opened <- inputs }
func (c *counter) Outcome(o media.Outcome)                      { c.outcomes <- o }
func (c *counter) Sent(string, uint32, []string, string)        { c.sent <- struct{}{} }
func (c *counter) Demand(media.Demand)                          {}
func (c *counter) Lost(error)                                   {}

// BenchmarkTransport sends pictures of 640×360 to a router in a process of its own: the edge's part of the way, with the payload copied by the plain codec and by gRPC as it
// comes, and with the codec and the connection in use.
func BenchmarkTransport(b *testing.B) {
	for _, c := range wiretest.Codecs() {
		b.Run(c.Name, func(b *testing.B) {
			address, stop := wiretest.Start(b, "router", "")
			defer stop()
			var options []grpc.DialOption
			if c.Codec != nil {
				options = []grpc.DialOption{ // gRPC as it comes
					grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDefaultCallOptions(grpc.ForceCodecV2(c.Codec)), grpc.WithWriteBufferSize(32 << 10),
				}
			}
			pool, err := newPool(Config{Target: "passthrough:///" + address}, serve.DNS(), options...)
			if err != nil {
				b.Fatal(err)
			}
			defer pool.Close()
			told := &counter{opened: make(chan []media.Input, 1), sent: make(chan struct{}, 1), outcomes: make(chan media.Outcome, 16)}
			u := pool.Open("s1", nil, media.Share{}, told)
			defer u.Close()
			s := shooter{b: b, uplink: u, told: told, input: (<-told.opened)[0].ID, slots: make(chan []byte, 8)}
			for range cap(s.slots) {
				s.slots <- make([]byte, picture.Bytes())
			}
			s.shoot(20)
			b.SetBytes(int64(picture.Bytes()))
			b.ReportAllocs()
			b.ResetTimer()
			before := wiretest.CPU()
			s.shoot(b.N)
			spent := wiretest.CPU() - before
			b.StopTimer()
			wiretest.Report(b, spent)
		})
	}
}

// shooter offers pictures, each once the one before is on its way.
type shooter struct {
	b        *testing.B
	uplink   *Uplink
	told     *counter
	input    uint32
	slots    chan []byte // free payloads, as many as a decoder has
	sequence uint32
}

func (s *shooter) shoot(n int) {
	answered := 0
	answer := func(o media.Outcome) {
		if o.Result == nil {
			s.b.Fatalf("frame %d: %+v", o.Sequence, o)
		}
		answered++
	}
	for range n {
		s.sequence++
		slot := <-s.slots
		s.uplink.Offer(media.Frame{
			Stream: "camera", Sequence: s.sequence, InputID: s.input, Due: []media.Due{{Model: "faces", Deadline: time.Now().Add(time.Minute)}},
			RTP: media.RTP{Valid: true, SSRC: 1, Timestamp: 3000 * s.sequence}, Placement: media.Place(picture, 1280, 720),
			Payload: media.Payload{slot}, Release: func() { s.slots <- slot },
		})
		for sent := false; !sent; {
			select {
			case <-s.told.sent:
				sent = true
			case o := <-s.told.outcomes:
				answer(o)
			}
		}
	}
	for answered < n {
		answer(<-s.told.outcomes)
	}
}
