// Package sink stands in for the router: it takes every frame that an edge sends, answers it at once and tells the benchmark of it. It does as little else as it can, because it
// shares the machine with what is measured.
package sink

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"

	sluicev1 "github.com/sluice-dev/sluice/proto/gen/sluice/v1"
)

// Model is the name of the only model.
const Model = "sink"

// Config says what the model takes.
type Config struct {
	// Width and Height of the pictures, in pixels; the source is stretched to it.
	Width, Height uint32
	// Rate is in frames a second.
	Rate float64
	// Window is how many frames of a stream may be on their way. Many let the edge never wait; few are what a router allows, for what waits in
	// gRPC cannot be replaced by something newer.
	Window uint32
	// Deadline is the model's.
	Deadline time.Duration
	// Hash makes a checksum of every picture.
	Hash bool
	// Frame is told of every frame, from many goroutines.
	Frame func(Frame)
}

// Frame is one that arrived.
type Frame struct {
	// SSRC and Timestamp are the picture's RTP source and time.
	SSRC, Timestamp uint32
	// Arrival is when the frame was taken from the connection, payload and all.
	Arrival time.Time
	// Remaining is what the edge left of the deadline when it sent the frame.
	Remaining time.Duration
	// SourceWidth and SourceHeight are the decoded picture's, in pixels.
	SourceWidth, SourceHeight uint32
	// Bytes is the payload's length, Sum its SHA-256 if asked for.
	Bytes int
	Sum   [sha256.Size]byte
}

// Sink is a running router. It is safe for concurrent use.
type Sink struct {
	sluicev1.UnimplementedRouterServiceServer
	sluicev1.UnimplementedInspectServiceServer
	cfg      Config
	server   *grpc.Server
	listener net.Listener
	done     chan error
}

// Start serves on a free port of 127.0.0.1. The sink must be closed.
func Start(cfg Config) (*Sink, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("router: %w", err)
	}
	s := &Sink{
		cfg: cfg, listener: l, done: make(chan error, 1),
		server: grpc.NewServer(grpc.ForceServerCodecV2(codec{}), grpc.MaxRecvMsgSize(64<<20),
			grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: time.Second, PermitWithoutStream: true})),
	}
	description := sluicev1.RouterService_ServiceDesc
	description.Streams = []grpc.StreamDesc{{StreamName: "Stream", Handler: s.stream, ServerStreams: true, ClientStreams: true}}
	s.server.RegisterService(&description, s)
	sluicev1.RegisterInspectServiceServer(s.server, s)
	healthv1.RegisterHealthServer(s.server, health.NewServer())
	go func() { s.done <- s.server.Serve(l) }() // joined by Close
	return s, nil
}

// Address is host:port.
func (s *Sink) Address() string { return s.listener.Addr().String() }

// Close ends all calls.
func (s *Sink) Close() error {
	s.server.Stop()
	if err := <-s.done; err != nil && !errors.Is(err, grpc.ErrServerStopped) {
		return err
	}
	return nil
}

// ListModels answers the edge's question for the models that there are.
func (s *Sink) ListModels(context.Context, *sluicev1.ListModelsRequest) (*sluicev1.ListModelsResponse, error) {
	return &sluicev1.ListModelsResponse{Models: []*sluicev1.Model{s.model()}, Inputs: []*sluicev1.Input{s.input()}}, nil
}

func (s *Sink) model() *sluicev1.Model {
	return &sluicev1.Model{
		Name: new(Model), InputId: new(uint32(1)), Rate: new(s.cfg.Rate), Deadline: new(s.cfg.Deadline.Seconds()), Result: new("json"), Ready: new(true), MaxBatch: new(uint32(1)),
	}
}

func (s *Sink) input() *sluicev1.Input {
	return &sluicev1.Input{Id: new(uint32(1)), Kind: &sluicev1.Input_Picture{Picture: &sluicev1.PictureInput{
		Width: new(s.cfg.Width), Height: new(s.cfg.Height),
		Fit: sluicev1.PictureInput_STRETCH.Enum(), Color: sluicev1.PictureInput_RGB.Enum(),
	}}}
}

// stream serves one session's call.
func (s *Sink) stream(_ any, call grpc.ServerStream) error {
	for {
		var m request
		if err := call.RecvMsg(&m); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		if m.frame == nil {
			opened := &sluicev1.Opened{
				Models: []*sluicev1.Model{s.model()}, Inputs: []*sluicev1.Input{s.input()}, Window: new(s.cfg.Window), Router: new("bench"),
			}
			if err := call.SendMsg(&sluicev1.StreamResponse{Body: &sluicev1.StreamResponse_Opened{Opened: opened}}); err != nil {
				return err
			}
			continue
		}
		s.tell(&m)
		if err := answer(call, m.frame); err != nil {
			return err
		}
	}
}

// tell hands the frame to the benchmark.
func (s *Sink) tell(m *request) {
	defer m.payload.Free()
	f := Frame{
		SSRC: m.frame.GetSsrc(), Timestamp: m.frame.GetRtpTimestamp(), Arrival: time.Now(), Bytes: m.bytes,
		SourceWidth: m.frame.GetPlacement().GetSourceWidth(), SourceHeight: m.frame.GetPlacement().GetSourceHeight(),
	}
	for _, due := range m.frame.GetDue() {
		f.Remaining = time.Duration(due.GetRemaining() * float64(time.Second))
	}
	if s.cfg.Hash {
		sum := sha256.New()
		r := m.payload.Reader()
		defer func() { _ = r.Close() }()
		_, _ = r.Discard(m.offset)
		_, _ = io.CopyN(sum, r, int64(m.bytes)) // memory, of known length
		sum.Sum(f.Sum[:0])
	}
	s.cfg.Frame(f)
}

func answer(call grpc.ServerStream, f *sluicev1.Frame) error {
	outcome := &sluicev1.Outcome{
		Stream: f.Stream, Sequence: f.Sequence, RtpTimestamp: f.RtpTimestamp, Ssrc: f.Ssrc, Model: new(Model), BatchSize: new(uint32(1)),
		End: &sluicev1.Outcome_Result{Result: &sluicev1.Result{Json: []string{"1"}}},
	}
	if err := call.SendMsg(&sluicev1.StreamResponse{Body: &sluicev1.StreamResponse_Outcome{Outcome: outcome}}); err != nil {
		return err
	}
	credit := &sluicev1.Credit{Stream: f.Stream, InputId: f.InputId, Frames: new(uint32(1))}
	return call.SendMsg(&sluicev1.StreamResponse{Body: &sluicev1.StreamResponse_Credit{Credit: credit}})
}
