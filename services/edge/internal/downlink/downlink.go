// Package downlink delivers a session's server messages to its sinks: data channels, WebSockets, Server-Sent Events. Every message is
// made into JSON once and kept for a while, so that a client can resume. A sink that reads slowly loses its oldest messages, never the
// newest, and is told how many outcomes that were.
package downlink

import (
	"context"

	sluicev1 "github.com/sluice-dev/sluice/proto/gen/sluice/v1"
)

// Live, given to Subscribe, asks for messages from now on.
const Live = ^uint64(0)

// Kind names the body of a message by its JSON name: outcome, demand, senderReport, drain, skipped, summary, ….
type Kind string

// The kinds that readers tell apart; others pass as they are named in sluice.v1.ServerMessage.
const (
	KindOutcome Kind = "outcome"
	KindSkipped Kind = "skipped"
	KindSummary Kind = "summary"
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
}

// Hub keeps the newest messages of one session and hands them to its sinks. It is safe for concurrent use and starts no goroutines.
type Hub struct{}

// NewHub makes a hub that keeps up to 512 messages and 256 KiB, and always the newest one.
func NewHub() *Hub { return &Hub{} }

// Publish hands a message to all sinks and never blocks. It fails for a message that cannot be made into JSON (a string that is not
// UTF-8) and after Close. The message is not kept.
func (h *Hub) Publish(m *sluicev1.ServerMessage) error { return nil }

// Subscribe makes a sink of the messages after the id given, 0 for all that are kept, Live for those to come. A nil filter passes
// everything; a filter must be pure, must not block and sees ID 0. It fails with ErrTooManySinks. After Close, it gives what is kept.
func (h *Hub) Subscribe(after uint64, filter func(Message) bool) (*Sink, error) { return &Sink{}, nil }

// Close ends the session's messages: sinks read what is left and then io.EOF. Closing twice is harmless.
func (h *Hub) Close() {}

// Sink is one reader's place among the messages. Next is called from one goroutine at a time, Close from any.
type Sink struct{}

// Next gives the next message, waiting for it until ctx ends. Where outcomes were lost to slowness, a message of KindSkipped comes first.
// The error is io.EOF after the hub's Close or the sink's own, and ctx's error otherwise.
func (s *Sink) Next(ctx context.Context) (Message, error) { return Message{}, nil }

// Close gives the sink up. Closing twice is harmless.
func (s *Sink) Close() {}
