// Package bench measures the router's way of a frame from the edge's call to the model server's, with everything that belongs to it and nothing else.
package bench

import (
	"bufio"
	"context"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"

	"github.com/sluice-dev/sluice/pkg/detect"
	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/pkg/serve"
	"github.com/sluice-dev/sluice/pkg/tensor"
	"github.com/sluice-dev/sluice/pkg/wire"
	"github.com/sluice-dev/sluice/pkg/wire/wiretest"
	"github.com/sluice-dev/sluice/proto/gen/inference"
	sluicev1 "github.com/sluice-dev/sluice/proto/gen/sluice/v1"
	"github.com/sluice-dev/sluice/services/router/internal/backend"
	"github.com/sluice-dev/sluice/services/router/internal/backend/backendtest"
	"github.com/sluice-dev/sluice/services/router/internal/backend/oip"
	"github.com/sluice-dev/sluice/services/router/internal/dispatch"
	"github.com/sluice-dev/sluice/services/router/internal/intake"
	"github.com/sluice-dev/sluice/services/router/internal/reply"
)

func TestMain(m *testing.M) {
	peers := map[string]func(*bufio.Reader, io.Writer) error{"edge": edgePeer}
	for name, taken := range inputs() {
		peers["model "+name] = func(in *bufio.Reader, out io.Writer) error { return modelPeer(taken, in, out) }
	}
	if !wiretest.Play(peers) {
		os.Exit(m.Run())
	}
}

// picture is the input of the benchmark's model.
var picture = media.PictureInput{Width: 640, Height: 360, Fit: media.Letterbox, Color: media.RGB}

// inputs are what the models to measure take: the pictures as they are, planes of bytes, and planes of floats, four times as large.
func inputs() map[string]tensor.Picture {
	in := tensor.Picture{Width: picture.Width, Height: picture.Height, Layout: tensor.NHWC, Datatype: media.Uint8, Scale: [3]float64{1, 1, 1}}
	planes := in
	planes.Layout = tensor.NCHW
	floats := planes
	floats.Datatype, floats.Mean, floats.Scale = media.FP32, [3]float64{127, 127, 127}, [3]float64{1. / 128, 1. / 128, 1. / 128}
	return map[string]tensor.Picture{"NHWC-UINT8": in, "NCHW-UINT8": planes, "NCHW-FP32": floats}
}

func configured(in tensor.Picture) backend.Config {
	return backend.Config{Name: "m", Input: in, Outputs: []string{"checksum"}, MaxBatch: 8}
}

// modelPeer is a model server.
func modelPeer(taken tensor.Picture, in *bufio.Reader, out io.Writer) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := grpc.NewServer(grpc.MaxRecvMsgSize(64<<20), grpc.InitialWindowSize(32<<20), grpc.InitialConnWindowSize(64<<20))
	inference.RegisterGRPCInferenceServiceServer(server, &backendtest.Server{Model: "m", Driver: backendtest.NewFake("m", configured(taken))})
	go func() {
		_, _ = io.Copy(io.Discard, in)
		server.Stop()
	}()
	if _, err := io.WriteString(out, l.Addr().String()+"\n"); err != nil {
		return err
	}
	return server.Serve(l)
}

// edgePeer sends the pictures of four streams to the router whose address it is given, each once the one before of its stream has been answered.
func edgePeer(in *bufio.Reader, out io.Writer) error {
	address, err := in.ReadString('\n')
	if err != nil {
		return err
	}
	lender := &wire.Lender{}
	conn, err := grpc.NewClient("passthrough:///"+strings.TrimSpace(address), append(lender.DialOptions(),
		grpc.WithDefaultCallOptions(grpc.ForceCodecV2(wire.Codec{Lender: lender})))...)
	if err != nil {
		return err
	}
	defer conn.Close()
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, in)
		cancel()
	}()
	stream, err := sluicev1.NewRouterServiceClient(conn).Stream(ctx)
	if err != nil {
		return err
	}
	open := &sluicev1.StreamRequest{Body: &sluicev1.StreamRequest_Open{Open: &sluicev1.Open{Session: new("s")}}}
	if err := stream.Send(open); err != nil {
		return err
	}
	opened, err := stream.Recv()
	if err != nil {
		return err
	}
	if _, err := io.WriteString(out, "sending\n"); err != nil {
		return err
	}
	payload := make([]byte, picture.Bytes())
	for i := range payload {
		payload[i] = byte(i * i >> 7)
	}
	send := func(name string, sequence uint32) error {
		return stream.SendMsg(wire.FrameToRequest(media.Frame{
			Stream: name, Sequence: sequence, InputID: opened.GetOpened().GetInputs()[0].GetId(), Due: []media.Due{{Model: "m", Deadline: time.Now().Add(time.Minute)}},
			Placement: media.Place(picture, 1280, 720), Payload: media.Payload{payload},
		}, time.Now()))
	}
	for _, name := range []string{"a", "b", "c", "d"} {
		if err := send(name, 1); err != nil {
			return err
		}
	}
	for {
		m, err := stream.Recv()
		if err != nil {
			if ctx.Err() != nil {
				err = nil
			}
			return err
		}
		if o := m.GetOutcome(); o != nil {
			if err := send(o.GetStream(), o.GetSequence()+1); err != nil && ctx.Err() == nil {
				return err
			}
		}
	}
}

// BenchmarkTransport takes pictures of 640×360 from an edge to a model server, each in a process of its own: the router's part of the way, received, made the model's
// input, and sent, with payloads and tensors copied by the plain codec and by gRPC as it comes, and with the codecs and the connection in use.
func BenchmarkTransport(b *testing.B) {
	for name, taken := range inputs() {
		for _, c := range wiretest.Codecs() {
			b.Run(name+"/"+c.Name, func(b *testing.B) {
				address, stop := wiretest.Start(b, "model "+name, "")
				defer stop()
				outcomes := make(chan media.Outcome, 64)
				router := newRouter(b, taken, address, c.Codec, outcomes)
				defer router.stop()
				_, quit := wiretest.Start(b, "edge", router.address)
				defer quit()
				await := func(n int) {
					for range n {
						if o := <-outcomes; o.Result == nil {
							b.Fatalf("%+v", o)
						}
					}
				}
				await(50)
				b.SetBytes(int64(picture.Bytes()))
				b.ReportAllocs()
				b.ResetTimer()
				before := wiretest.CPU()
				await(b.N)
				spent := wiretest.CPU() - before
				b.StopTimer()
				wiretest.Report(b, spent)
				go func() { // so that the edge's last frames end
					for range outcomes {
						continue
					}
				}()
			})
		}
	}
}

// router is the part of sluice-router that frames go through.
type router struct {
	address string
	stop    func()
}

// newRouter starts a router with one model on a server. codec, unless it is nil, is for frames and for requests to the server. The outcomes are told.
func newRouter(b *testing.B, taken tensor.Picture, server string, codec encoding.CodecV2, outcomes chan<- media.Outcome) *router {
	b.Helper()
	must := func(err error) {
		if err != nil {
			b.Fatal(err)
		}
	}
	logger, registry := slog.New(slog.DiscardHandler), prometheus.NewRegistry()
	driver, err := oip.Open(oip.Config{Target: "passthrough:///" + server, Model: "m", Codec: codec})
	must(err)
	m, err := backend.New(configured(taken), driver)
	must(err)
	must(m.Check(b.Context()))
	decoder, err := detect.New(detect.Config{Decoder: "tensors", Outputs: []string{"checksum"}})
	must(err)
	d, err := dispatch.New(dispatch.Config{
		Models: []dispatch.ModelConfig{{
			Name: "m", Input: media.PictureForm(picture), Deadline: time.Minute, Result: "tensors", MaxBatch: 8, Slots: 2, Streams: 64,
			Runner: reply.New(m, 1, decoder, logger),
		}},
		Observe: func(o media.Outcome) { outcomes <- o }, Registry: registry, Logger: logger,
	})
	must(err)
	service, err := intake.New(intake.Config{Dispatcher: d, Name: "bench", Window: 4, Outbox: 256, Streams: 64, Registry: registry, Logger: logger})
	must(err)
	if codec == nil {
		codec = wire.Codec{}
	}
	calls, err := serve.NewGRPC(serve.GRPCConfig{
		Logger: logger, Registry: registry, MaxStreams: 256, MaxMessage: 4 << 20, Codec: codec, CallWindow: 4 << 20, CallsPerSecond: 100, Grace: time.Second,
	}, func(to grpc.ServiceRegistrar) { sluicev1.RegisterRouterServiceServer(to, service) })
	must(err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(err)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = d.Run(ctx) })
	running.Go(func() { _ = calls.Serve(ctx, l) })
	return &router{address: l.Addr().String(), stop: func() {
		cancel()
		running.Wait()
		service.Wait()
		_ = m.Close()
		close(outcomes)
	}}
}
