// Package uplink calls a router as an edge does, without an edge: sessions that send frames and keep what became of each.
package uplink

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	sluicev1 "github.com/sluice-dev/sluice/proto/gen/sluice/v1"
)

// Fate is a frame and what became of it.
type Fate struct {
	Sent time.Time
	// Ended is when the outcome arrived; zero while there is none.
	Ended   time.Time
	Outcome *sluicev1.Outcome
}

// Session is one session's call. It is safe for concurrent use.
type Session struct {
	conn   *grpc.ClientConn
	stream grpc.BidiStreamingClient[sluicev1.StreamRequest, sluicev1.StreamResponse]
	cancel context.CancelFunc
	ended  chan struct{}

	sending sync.Mutex // gRPC lets one send at a time
	mu      sync.Mutex
	models  map[string]uint32 // their inputs
	window  uint32
	room    map[place]uint32 // frames that may be sent, where any were
	fates   []Fate
	open    map[unit]int // frames without outcome: where they are in fates
	change  chan struct{}
	err     error
}

type (
	place struct {
		stream string
		input  uint32
	}
	unit struct {
		stream, model string
		sequence      uint32
	}
)

// Open opens a session on the router at an address and waits until it knows what the models need. Close ends it.
func Open(ctx context.Context, address, session string) (*Session, error) {
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	s := &Session{
		conn: conn, cancel: cancel, ended: make(chan struct{}),
		models: map[string]uint32{}, room: map[place]uint32{}, open: map[unit]int{}, change: make(chan struct{}),
	}
	if err := s.begin(ctx, session); err != nil {
		cancel()
		_ = conn.Close()
		return nil, fmt.Errorf("router %s: %w", address, err)
	}
	go s.receive()
	return s, nil
}

func (s *Session) begin(ctx context.Context, session string) error {
	stream, err := sluicev1.NewRouterServiceClient(s.conn).Stream(ctx)
	if err != nil {
		return err
	}
	s.stream = stream
	if err := stream.Send(&sluicev1.StreamRequest{Body: &sluicev1.StreamRequest_Open{Open: &sluicev1.Open{Session: &session}}}); err != nil {
		return err
	}
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	if first.GetOpened() == nil {
		return fmt.Errorf("its first message is %v", first)
	}
	s.opened(first.GetOpened())
	return nil
}

func (s *Session) opened(o *sluicev1.Opened) {
	s.window = o.GetWindow()
	for _, m := range o.GetModels() {
		s.models[m.GetName()] = m.GetInputId()
	}
}

// Send sends a frame for one model, whose outcome is due within the given time. It is false when the router has not yet given back room for it: an edge would
// hold the frame until a newer one takes its place. Sequences of a stream must rise.
func (s *Session) Send(stream string, sequence uint32, model string, within time.Duration, payload []byte) (bool, error) {
	s.sending.Lock()
	defer s.sending.Unlock()
	input, ok, err := s.take(stream, sequence, model)
	if !ok {
		return false, err
	}
	remaining := within.Seconds()
	frame := &sluicev1.Frame{
		Stream: &stream, Sequence: &sequence, InputId: &input, Due: []*sluicev1.Due{{Model: &model, Remaining: &remaining}}, Payload: payload,
	}
	if err := s.stream.Send(&sluicev1.StreamRequest{Body: &sluicev1.StreamRequest_Frame{Frame: frame}}); err != nil {
		return false, err
	}
	return true, nil
}

// take takes room for a frame and notes that it is sent.
func (s *Session) take(stream string, sequence uint32, model string) (input uint32, ok bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	input, known := s.models[model]
	if !known {
		return 0, false, fmt.Errorf("the router has no model %q", model)
	}
	at := place{stream, input}
	if _, used := s.room[at]; !used {
		s.room[at] = s.window
	}
	if s.room[at] == 0 {
		return 0, false, s.err
	}
	s.room[at]--
	s.open[unit{stream, model, sequence}] = len(s.fates)
	s.fates = append(s.fates, Fate{Sent: time.Now()})
	return input, true, nil
}

// receive takes the router's messages until the call ends.
func (s *Session) receive() {
	defer close(s.ended)
	for {
		m, err := s.stream.Recv()
		now := time.Now()
		s.mu.Lock()
		if err == nil {
			err = s.note(m, now)
		}
		if err != nil && s.err == nil {
			s.err = err
		}
		close(s.change)
		s.change = make(chan struct{})
		s.mu.Unlock()
		if err != nil {
			s.cancel()
			return
		}
	}
}

// note keeps what a message says. The lock is held.
func (s *Session) note(m *sluicev1.StreamResponse, now time.Time) error {
	switch body := m.GetBody().(type) {
	case *sluicev1.StreamResponse_Opened:
		s.opened(body.Opened)
	case *sluicev1.StreamResponse_Credit:
		s.room[place{body.Credit.GetStream(), body.Credit.GetInputId()}] += body.Credit.GetFrames()
	case *sluicev1.StreamResponse_Outcome:
		u := unit{body.Outcome.GetStream(), body.Outcome.GetModel(), body.Outcome.GetSequence()}
		at, waits := s.open[u]
		if !waits {
			return fmt.Errorf("an outcome of %v, which has one already or was never sent", u)
		}
		delete(s.open, u)
		s.fates[at].Outcome, s.fates[at].Ended = body.Outcome, now
	}
	return nil
}

// Wait waits until every frame has its outcome, and gives all of them in the order of sending.
func (s *Session) Wait(ctx context.Context) ([]Fate, error) {
	for {
		s.mu.Lock()
		open, err, change := len(s.open), s.err, s.change
		if open == 0 && err == nil {
			defer s.mu.Unlock()
			return slices.Clone(s.fates), nil
		}
		s.mu.Unlock()
		if err != nil {
			return nil, fmt.Errorf("%d frames without outcome when the call broke: %w", open, err)
		}
		select {
		case <-change:
		case <-ctx.Done():
			return nil, fmt.Errorf("%d frames without outcome: %w", open, ctx.Err())
		}
	}
}

// Fates gives all frames so far, in the order of sending; those without outcome have none.
func (s *Session) Fates() []Fate {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.fates)
}

// Close ends the session and waits for the router to agree. It gives what was wrong with the call, if anything was.
func (s *Session) Close() error {
	s.sending.Lock()
	err := s.stream.CloseSend()
	s.sending.Unlock()
	limit := time.AfterFunc(5*time.Second, s.cancel)
	<-s.ended
	limit.Stop()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !errors.Is(s.err, io.EOF) {
		err = errors.Join(err, s.err)
	}
	return errors.Join(err, s.conn.Close())
}
