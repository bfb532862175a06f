package sink

import (
	"fmt"
	"io"

	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/proto" // the codec for everything else
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	sluicev1 "github.com/sluice-dev/sluice/proto/gen/sluice/v1"
)

// Numbers of fields in the contract.
const (
	requestFrame = 2  // StreamRequest.frame
	framePayload = 11 // Frame.payload
)

// mostHead is how much of a message is searched for the payload. The fields before it are short.
const mostHead = 4 << 10

// request is a StreamRequest whose payload stays where gRPC received it.
type request struct {
	// frame has no payload; nil for Open.
	frame *sluicev1.Frame
	// payload is the message, in which the payload's bytes begin at offset. Whoever received it frees it.
	payload       mem.BufferSlice
	offset, bytes int
}

// codec reads requests without copying payloads and leaves all other messages to the plain codec.
type codec struct{}

func (codec) Name() string { return "proto" }

func (codec) Marshal(v any) (mem.BufferSlice, error) { return encoding.GetCodecV2("proto").Marshal(v) }

func (codec) Unmarshal(data mem.BufferSlice, v any) error {
	m, ok := v.(*request)
	if !ok {
		return encoding.GetCodecV2("proto").Unmarshal(data, v)
	}
	r := data.Reader()
	defer func() { _ = r.Close() }()
	head := make([]byte, min(mostHead, data.Len()))
	if _, err := io.ReadFull(r, head); err != nil {
		return err
	}
	return m.parse(head, data)
}

// parse reads the message's beginning. The payload must be the last field, as it is by its number.
func (m *request) parse(head []byte, data mem.BufferSlice) error {
	number, kind, n := protowire.ConsumeTag(head)
	if n < 0 || kind != protowire.BytesType {
		return fmt.Errorf("router: no StreamRequest: %w", protowire.ParseError(n))
	}
	if number != requestFrame {
		return nil // Open: every model there is
	}
	_, k := protowire.ConsumeVarint(head[n:])
	if k < 0 {
		return fmt.Errorf("router: no StreamRequest: %w", protowire.ParseError(k))
	}
	begin := n + k
	for at := begin; at < len(head); {
		number, kind, n := protowire.ConsumeTag(head[at:])
		if n < 0 {
			return fmt.Errorf("router: no Frame: %w", protowire.ParseError(n))
		}
		if number == framePayload {
			size, k := protowire.ConsumeVarint(head[at+n:])
			if k < 0 || at+n+k+int(size) != data.Len() {
				return fmt.Errorf("router: the payload is not the message's last field")
			}
			m.frame, m.offset, m.bytes = &sluicev1.Frame{}, at+n+k, int(size)
			data.Ref()
			m.payload = data
			return proto.Unmarshal(head[begin:at], m.frame)
		}
		k := protowire.ConsumeFieldValue(number, kind, head[at+n:])
		if k < 0 {
			return fmt.Errorf("router: no Frame: %w", protowire.ParseError(k))
		}
		at += n + k
	}
	return fmt.Errorf("router: a frame without a payload in its first %d bytes", len(head))
}
