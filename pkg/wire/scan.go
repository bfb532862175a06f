package wire

import (
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/sluice-dev/sluice/pkg/media"
	sluicev1 "github.com/sluice-dev/sluice/proto/gen/sluice/v1"
)

const (
	// mostHead is the size of a frame without its payload up to which it is looked at here. Most have less than 200 bytes, and none of an edge that keeps to the contract
	// has more.
	mostHead = 16 << 10
	// leastPiece is the size that the pieces of a payload have on average, or else they are copied into one: gRPC cuts messages into pieces of 16 KiB, and a peer that
	// cuts them smaller would make them cost several times their size while they are kept.
	leastPiece = 4 << 10
)

// scan reads a message whose body is one frame and nothing else, as edges send it. The frame's fields may come in any order and more than once. It is false, and the request
// as it was, for every other message, right or wrong: that is for the plain codec to say.
func (r *Request) scan(data mem.BufferSlice) bool {
	pool := mem.DefaultBufferPool()
	buffer := pool.Get(mostHead)
	defer pool.Put(buffer)
	in := reader{data: data, left: data.Len()}
	tag, _, ok := in.varint((*buffer)[:0])
	if !ok || tag != protowire.EncodeTag(requestFrame, protowire.BytesType) {
		return false
	}
	if size, _, ok := in.varint((*buffer)[:0]); !ok || size != uint64(in.left) {
		return false
	}
	head, payload, ok := in.frame((*buffer)[:0])
	if !ok {
		return false
	}
	frame := &sluicev1.Frame{}
	if proto.Unmarshal(head, frame) != nil {
		return false
	}
	*r = Request{Message: &sluicev1.StreamRequest{Body: &sluicev1.StreamRequest_Frame{Frame: frame}}}
	r.keep(payload)
	return true
}

// keep makes a part of a message the request's payload.
func (r *Request) keep(p part) {
	if p.size == 0 {
		return
	}
	if len(p.buffers) > 1 && p.size/len(p.buffers) < leastPiece {
		pool := mem.DefaultBufferPool()
		whole := pool.Get(p.size)
		r.Payload = media.Payload{(*whole)[:0]}
		for piece := range p.pieces {
			r.Payload[0] = append(r.Payload[0], piece...)
		}
		r.Release = func() { pool.Put(whole) }
		return
	}
	r.Payload = make(media.Payload, 0, len(p.buffers))
	for piece := range p.pieces {
		r.Payload = append(r.Payload, piece)
	}
	p.buffers.Ref()
	r.Release = p.buffers.Free
}

// part is a part of a message: size bytes from offset on, which lie in all of the buffers.
type part struct {
	buffers      mem.BufferSlice
	offset, size int
}

// pieces gives the part's bytes, buffer by buffer.
func (p part) pieces(yield func([]byte) bool) {
	offset, left := p.offset, p.size
	for _, b := range p.buffers {
		piece := b.ReadOnlyData()[offset:]
		piece = piece[:min(left, len(piece))]
		offset, left = 0, left-len(piece)
		if !yield(piece) {
			return
		}
	}
}

// reader reads a message from the front. Its methods append what they read to a slice, and are false when the message ends too early.
type reader struct {
	data mem.BufferSlice // the first of them is being read
	at   int             // bytes of the first that were read
	left int             // bytes of all that were not
}

// frame reads the rest of the message as a frame's fields. It appends all but the payload to head; of several payloads the last counts. It is false for fields that
// must be understood to be passed over, and for a head that is too long.
func (r *reader) frame(head []byte) (_ []byte, payload part, ok bool) {
	for r.left > 0 {
		begin := len(head)
		var tag, size uint64
		if tag, head, ok = r.varint(head); !ok {
			return head, payload, false
		}
		number, kind := protowire.DecodeTag(tag)
		switch kind {
		case protowire.VarintType:
			_, head, ok = r.varint(head)
		case protowire.Fixed32Type:
			head, ok = r.bytes(head, 4)
		case protowire.Fixed64Type:
			head, ok = r.bytes(head, 8)
		case protowire.BytesType:
			if size, head, ok = r.varint(head); !ok || size > uint64(r.left) {
				return head, payload, false
			}
			if number == framePayload {
				head, payload = head[:begin], r.skip(int(size))
			} else {
				head, ok = r.bytes(head, size)
			}
		default: // groups
			ok = false
		}
		if !ok {
			return head, payload, false
		}
	}
	return head, payload, true
}

// byte reads one byte. There must be one.
func (r *reader) byte() byte {
	for r.at == r.data[0].Len() {
		r.data, r.at = r.data[1:], 0
	}
	b := r.data[0].ReadOnlyData()[r.at]
	r.at++
	r.left--
	return b
}

// varint reads a number.
func (r *reader) varint(to []byte) (v uint64, _ []byte, ok bool) {
	const longest = 10
	begin := len(to)
	for r.left > 0 && len(to)-begin < longest && len(to) < mostHead {
		b := r.byte()
		to = append(to, b)
		if b < 0x80 {
			v, n := protowire.ConsumeVarint(to[begin:])
			return v, to, n > 0
		}
	}
	return 0, to, false
}

// bytes reads a number of bytes.
func (r *reader) bytes(to []byte, size uint64) (_ []byte, ok bool) {
	if size > uint64(r.left) || size > uint64(mostHead-len(to)) {
		return to, false
	}
	for piece := range r.skip(int(size)).pieces {
		to = append(to, piece...)
	}
	return to, true
}

// skip passes over a number of bytes, and gives them. There must be so many.
func (r *reader) skip(size int) part {
	p := part{size: size}
	if size == 0 {
		return p
	}
	for r.at == r.data[0].Len() {
		r.data, r.at = r.data[1:], 0
	}
	p.buffers, p.offset = r.data, r.at
	r.left -= size
	for size > r.data[0].Len()-r.at {
		size -= r.data[0].Len() - r.at
		r.data, r.at = r.data[1:], 0
	}
	r.at += size
	p.buffers = p.buffers[:len(p.buffers)-len(r.data)+1]
	return p
}
