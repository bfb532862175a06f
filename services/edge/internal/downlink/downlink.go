// Package downlink delivers a session's server messages to its sinks: data channels, WebSockets, Server-Sent Events. Every message is
// made into JSON once and kept for a while, so that a client can resume. A sink that reads slowly loses its oldest messages, never the
// newest, and is told how many outcomes that were.
package downlink

import (
	"context"
	"fmt"
	"strconv"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/sluice-dev/sluice/pkg/wire"
	sluicev1 "github.com/sluice-dev/sluice/proto/gen/sluice/v1"
	"github.com/sluice-dev/sluice/services/edge/internal/fanout"
)

// Live, given to Subscribe, asks for messages from now on.
const Live = fanout.Live

// ErrTooManySinks is given by Subscribe at the limit of 32 sinks a session, those of Attach not counted.
var ErrTooManySinks = fanout.ErrTooManyReaders

// ErrClosed is given by Publish after Close.
var ErrClosed = fanout.ErrClosed

// What a session keeps for resuming and for slow sinks. At 30 outcomes of 300 bytes a second this is 17 seconds.
const (
	keptMessages = 512
	keptBytes    = 256 << 10
	maxSinks     = 32
)

// Kind names the body of a message by its JSON name: outcome, demand, senderReport, drain, skipped, summary, ….
type Kind string

// The kinds that readers tell apart; others pass as they are named in sluice.v1.ServerMessage.
const (
	KindOutcome Kind = "outcome"
	KindSkipped Kind = "skipped"
	KindSummary Kind = "summary"
	// KindSenderReport relays what one source said about its clock.
	KindSenderReport Kind = "senderReport"
)

// Message is a server message ready to be sent. It is shared between sinks: JSON must not be changed.
type Message struct {
	// ID counts the session's messages from 1. It is 0 for skipped, which is one sink's own.
	ID   uint64
	Kind Kind
	// Stream is the stream that an outcome or a demand is about, else empty.
	Stream string
	// JSON is the whole sluice.v1.ServerMessage.
	JSON []byte

	skipped   uint64 // what a message of KindSkipped says
	delivered func(sink string)
}

// Delivered is to be called, with a name of the sink for people, when the message has been written to a client.
func (m Message) Delivered(sink string) {
	if m.delivered != nil {
		m.delivered(sink)
	}
}

// Hub keeps the newest messages of one session and hands them to its sinks. It is safe for concurrent use and starts no goroutines.
type Hub struct {
	ring *fanout.Ring[Message]
}

// NewHub makes a hub that keeps up to 512 messages and 256 KiB, and always the newest one.
func NewHub() *Hub {
	limits := fanout.Limits{Items: keptMessages, Bytes: keptBytes, Readers: maxSinks}
	return &Hub{ring: fanout.New(limits, func(m Message) int { return len(m.JSON) })}
}

// Publish hands a message to all sinks and never blocks. It fails for a message that has no body or cannot be made into JSON (a string
// that is not UTF-8), and with ErrClosed after Close. The message is not kept.
func (h *Hub) Publish(m *sluicev1.ServerMessage) error { return h.PublishTold(m, nil) }

// PublishTold is Publish for those who want to know when the message was written to clients: delivered, unless it is nil, is called for each of them, with the name of the sink, from
// any goroutine. It must not block.
func (h *Hub) PublishTold(m *sluicev1.ServerMessage, delivered func(sink string)) error {
	body := bodyOf(m)
	if body == nil {
		return fmt.Errorf("publish a server message: it has no body")
	}
	json, err := wire.JSON(m)
	if err != nil {
		return fmt.Errorf("publish a server message: %w", err)
	}
	return h.ring.Publish(Message{Kind: Kind(body.JSONName()), Stream: streamOf(m), JSON: json, delivered: delivered})
}

// Subscribe makes a sink, for whoever follows the session, of the messages after the id given, 0 for all that are kept, Live for those to
// come. Where the id is no longer kept, the messages since then count as skipped whatever they were. It fails with ErrTooManySinks. After
// Close, the sink gives what is kept.
func (h *Hub) Subscribe(after uint64) (*Sink, error) {
	reader, err := h.ring.Subscribe(after, choice(nil))
	if err != nil {
		return nil, err
	}
	return &Sink{reader: reader}, nil
}

// Attach makes a sink like Subscribe, for the session's own use, and always finds a place: the caller bounds their number. A nil filter
// passes everything; a filter must be pure, must not block, and sees ID 0.
func (h *Hub) Attach(after uint64, filter func(Message) bool) *Sink {
	return &Sink{reader: h.ring.Attach(after, choice(filter))}
}

func choice(filter func(Message) bool) fanout.Choice[Message] {
	return fanout.Choice[Message]{Wants: filter, Counts: isOutcome, Perishes: func(m Message) bool { return isOutcome(m) || m.Kind == KindSenderReport }}
}

// Close ends the session's messages: sinks read what is left and then io.EOF. Closing twice is harmless.
func (h *Hub) Close() { h.ring.Close() }

// Sink is one reader's place among the messages. Next is called from one goroutine at a time, Close from any.
type Sink struct {
	reader *fanout.Reader[Message]
	// held is the message that comes next, if it is known already.
	held *Message
	// skipped is how many outcomes were lost of which nothing has been said.
	skipped uint64
}

// Next gives the next message, waiting for it until ctx ends. Where outcomes were lost to slowness, a message of KindSkipped comes first.
// The error is io.EOF after the hub's Close or the sink's own, and ctx's error otherwise.
func (s *Sink) Next(ctx context.Context) (Message, error) {
	if s.held == nil {
		item, err := s.reader.Next(ctx)
		if err != nil {
			return Message{}, err
		}
		m := item.Value
		m.ID = item.ID
		s.held, s.skipped = &m, s.skipped+item.Skipped
	}
	if n := s.skipped; n > 0 {
		s.skipped = 0
		return Message{Kind: KindSkipped, JSON: []byte(`{"skipped":` + strconv.FormatUint(n, 10) + `}`), skipped: n}, nil
	}
	m := *s.held
	s.held = nil
	return m, nil
}

// Undelivered takes back the message that Next gave last, because the reader does not take it. Outcomes go stale meanwhile, and sender reports:
// of those that wait only the newest outcome, and what came after it, is still given once the reader takes messages again. It is called like
// Next.
func (s *Sink) Undelivered(m Message) {
	newer := s.reader.Freshen()
	if m.Kind == KindSkipped {
		s.skipped += m.skipped
	} else {
		s.held = &m
	}
	if newer && isOutcome(*s.held) {
		s.held, s.skipped = nil, s.skipped+1
	}
}

// Ended tells whether Next would give io.EOF at once: the session has ended and this sink has seen, or asked for, nothing that is left. It is
// called like Next.
func (s *Sink) Ended() bool { return s.held == nil && s.reader.Ended() }

// Close gives the sink up. Closing twice is harmless.
func (s *Sink) Close() { s.reader.Close() }

func isOutcome(m Message) bool { return m.Kind == KindOutcome }

func bodyOf(m *sluicev1.ServerMessage) protoreflect.FieldDescriptor {
	r := m.ProtoReflect()
	return r.WhichOneof(r.Descriptor().Oneofs().ByName("body"))
}

func streamOf(m *sluicev1.ServerMessage) string {
	switch body := m.GetBody().(type) {
	case *sluicev1.ServerMessage_Outcome:
		return body.Outcome.GetStream()
	case *sluicev1.ServerMessage_Demand:
		return body.Demand.GetStream()
	default:
		return ""
	}
}
