package wire

import (
	"time"

	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/proto" // the codec of all other messages
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/sluice-dev/sluice/pkg/media"
	sluicev1 "github.com/sluice-dev/sluice/proto/gen/sluice/v1"
)

// Numbers of fields in the contract.
const (
	requestFrame protowire.Number = 2  // StreamRequest.frame
	framePayload protowire.Number = 11 // Frame.payload
)

// shortPayload is the size up to which a payload is copied beside its header. gRPC counts no references to buffers of 1 KiB or less, so that it would not tell when it
// has written them; and a second buffer would cost more than the copy.
const shortPayload = 4 << 10

// Request is a StreamRequest that keeps its frame's payload beside the message, where it lies: in the converter's memory or in the buffers in which gRPC received it.
// Only [Codec] can send and receive it; what travels is the StreamRequest. It is not safe for concurrent use.
type Request struct {
	// Message is the request, its frame without the payload. It is never nil in a request that was received.
	Message *sluicev1.StreamRequest
	// Payload belongs to whoever holds the request until Release. One that was received is only read.
	Payload media.Payload
	// Release gives Payload back; it may be nil and must be called at most once.
	Release func()
	// Written is called once when gRPC has no more use for the payload, after Release; nil is never called. It is for senders that wait with the next payload until this
	// one is gone. Where the connection breaks it may not be called at all.
	Written func()
}

// FrameToRequest translates a frame that is sent now. The request takes over the frame's payload.
func FrameToRequest(f media.Frame, now time.Time) *Request {
	r := &Request{Payload: f.Payload, Release: f.Release}
	f.Payload = nil
	r.Message = &sluicev1.StreamRequest{Body: &sluicev1.StreamRequest_Frame{Frame: FrameToProto(&f, now)}}
	return r
}

// Frame translates the frame of a request that arrived now, as FrameFromProto does, with room for its Due. The frame takes over the payload, unless there is an error.
func (r *Request) Frame(now time.Time, room []media.Due) (media.Frame, error) {
	f, err := FrameFromProto(r.Message.GetFrame(), now, room)
	if err != nil {
		return f, err
	}
	f.Payload, f.Release = r.Payload, r.Release
	r.Payload, r.Release = nil, nil
	return f, nil
}

// Free releases the payload, unless a frame or gRPC has taken it over. Calling it twice is harmless.
func (r *Request) Free() {
	release := r.Release
	r.Payload, r.Release = nil, nil
	if release != nil {
		release()
	}
}

// Codec is gRPC's codec for protobuf, and copies the payload of a [Request] neither on the way out nor on the way in. Its name is gRPC's own too, so that a client or
// server with it understands every other. Force it on calls with grpc.ForceCodecV2 and on servers with grpc.ForceServerCodecV2. It is safe for concurrent use.
type Codec struct {
	// Lender lends payloads to gRPC; nil is for connections that are gRPC's own.
	Lender *Lender
}

// Name implements encoding.CodecV2.
func (Codec) Name() string { return plainName }

const plainName = "proto"

// Marshal implements encoding.CodecV2. A request's payload is gRPC's from then on: it is released, from any goroutine, when the last byte of it has been written or when
// the call has ended before that. A payload in several pieces is joined.
func (c Codec) Marshal(v any) (mem.BufferSlice, error) {
	r, ok := v.(*Request)
	if !ok {
		return encoding.GetCodecV2(plainName).Marshal(v)
	}
	frame := r.Message.GetFrame()
	if frame == nil {
		return encoding.GetCodecV2(plainName).Marshal(r.Message)
	}
	var size int
	if n := r.Payload.Len(); n > 0 {
		size = protowire.SizeTag(framePayload) + protowire.SizeBytes(n)
	}
	size += proto.Size(frame)
	length := r.Payload.Len()
	room := protowire.SizeTag(requestFrame) + protowire.SizeBytes(size) - length
	long := length > shortPayload
	if !long {
		room += length
	}
	pool := mem.DefaultBufferPool()
	buffer := pool.Get(room)
	head := protowire.AppendTag((*buffer)[:0], requestFrame, protowire.BytesType)
	head = protowire.AppendVarint(head, uint64(size))
	head, err := proto.MarshalOptions{UseCachedSize: true}.MarshalAppend(head, frame)
	if err != nil {
		pool.Put(buffer)
		return nil, err
	}
	if length > 0 {
		head = protowire.AppendTag(head, framePayload, protowire.BytesType)
		head = protowire.AppendVarint(head, uint64(length))
	}
	if !long {
		for _, piece := range r.Payload {
			head = append(head, piece...)
		}
		r.Free()
		if r.Written != nil {
			r.Written()
		}
		*buffer = head
		return mem.BufferSlice{mem.NewBuffer(buffer, pool)}, nil
	}
	*buffer = head
	payload, release := r.Payload.Whole(), r.Release
	if len(r.Payload) > 1 {
		r.Free() // the payload is a copy
		release = nil
	}
	r.Payload, r.Release = nil, nil
	return mem.BufferSlice{mem.NewBuffer(buffer, pool), c.Lender.Lease(payload, release, r.Written)}, nil
}

// Unmarshal implements encoding.CodecV2. A request's payload lies in data's own buffers, and keeps them until it is released.
func (Codec) Unmarshal(data mem.BufferSlice, v any) error {
	r, ok := v.(*Request)
	if !ok {
		return encoding.GetCodecV2(plainName).Unmarshal(data, v)
	}
	if r.scan(data) {
		return nil
	}
	m := &sluicev1.StreamRequest{}
	if err := encoding.GetCodecV2(plainName).Unmarshal(data, m); err != nil {
		return err
	}
	*r = Request{Message: m}
	if frame := m.GetFrame(); len(frame.GetPayload()) > 0 {
		r.Payload = media.Payload{frame.GetPayload()}
		frame.Payload = nil
	}
	return nil
}
