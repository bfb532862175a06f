package oip

import (
	"fmt"
	"slices"

	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/pkg/wire"
	"github.com/sluice-dev/sluice/proto/gen/inference"
)

// rawInputContents is ModelInferRequest.raw_input_contents.
const rawInputContents protowire.Number = 7

// shortTensor is the size up to which a tensor is copied beside the request's other fields: a buffer of its own would cost more.
const shortTensor = 4 << 10

// leastLease is the size up to which gRPC does not count the references to a buffer.
const leastLease = 1 << 10

// question is a ModelInferRequest whose tensors gRPC may read until it has written them, which may be after the call.
type question struct {
	*inference.ModelInferRequest
	// pieces are the first tensor if that is empty.
	pieces media.Payload
	// keep is backend.Request.Keep.
	keep func() (done func())
	// lender lends the tensors; it may be nil.
	lender *wire.Lender
}

// codec writes questions without copying their tensors, or, if it is set, with another codec. Replies that are no protobuf are kept as such: gRPC would report them like a
// server's refusal.
type codec struct{ requests encoding.CodecV2 }

// Name implements encoding.CodecV2.
func (codec) Name() string { return "proto" }

// Marshal implements encoding.CodecV2.
func (c codec) Marshal(v any) (mem.BufferSlice, error) {
	q, ok := v.(*question)
	if !ok {
		return nil, fmt.Errorf("codec: cannot write %T", v)
	}
	if c.requests != nil {
		return c.requests.Marshal(v)
	}
	return q.gather()
}

// gather writes a question: tensors where they lie, all else into a buffer that goes before, between and behind them.
func (q *question) gather() (mem.BufferSlice, error) {
	tensors := q.RawInputContents
	q.RawInputContents = nil
	defer func() { q.RawInputContents = tensors }()
	size := func(i int) int {
		if i == 0 && len(q.pieces) > 0 {
			return q.pieces.Len()
		}
		return len(tensors[i])
	}
	room := proto.Size(q.ModelInferRequest)
	for i := range tensors {
		room += protowire.SizeTag(rawInputContents) + protowire.SizeVarint(uint64(size(i)))
		if size(i) <= shortTensor {
			room += size(i)
		}
	}
	pool := mem.DefaultBufferPool()
	between := pool.Get(room)
	text, err := proto.MarshalOptions{UseCachedSize: true}.MarshalAppend((*between)[:0], q.ModelInferRequest)
	if err != nil {
		pool.Put(between)
		return nil, err
	}
	ends := make([]int, 0, len(tensors)) // of what goes before each tensor that lies elsewhere
	for i, t := range tensors {
		text = protowire.AppendTag(text, rawInputContents, protowire.BytesType)
		text = protowire.AppendVarint(text, uint64(size(i)))
		if size(i) <= shortTensor {
			text = append(text, t...)
			continue
		}
		ends = append(ends, len(text))
	}
	*between = text
	buffer := mem.NewBuffer(between, pool)
	defer buffer.Free()
	message := make(mem.BufferSlice, 0, 2*len(ends)+1+len(q.pieces))
	begin := 0
	for i, t := range tensors {
		if size(i) <= shortTensor {
			continue
		}
		message = append(message, buffer.Slice(begin, ends[0]))
		if begin, ends = ends[0], ends[1:]; i == 0 && len(q.pieces) > 0 {
			message = q.scatter(message)
		} else {
			message = append(message, q.lender.Lease(t, q.kept(), nil))
		}
	}
	if begin < len(text) {
		message = append(message, buffer.Slice(begin, len(text)))
	}
	return message, nil
}

// scatter adds the pieces to a message. gRPC reads them in their order, so that the last of them is let go when all have been written, and a lease on that one holds all.
// What is behind it and too short for a lease is copied.
func (q *question) scatter(message mem.BufferSlice) mem.BufferSlice {
	last := len(q.pieces) - 1
	for last > 0 && len(q.pieces[last]) <= leastLease {
		last--
	}
	if len(q.pieces[last]) <= leastLease {
		return append(message, mem.SliceBuffer(slices.Concat(q.pieces...)))
	}
	for _, p := range q.pieces[:last] {
		message = append(message, mem.SliceBuffer(p))
	}
	message = append(message, q.lender.Lease(q.pieces[last], q.kept(), nil, q.pieces[:last]...))
	if rest := slices.Concat(q.pieces[last+1:]...); len(rest) > 0 {
		message = append(message, mem.SliceBuffer(rest))
	}
	return message
}

// kept keeps the tensors' memory until the function that it gives is called. It is nil when nobody uses the memory again.
func (q *question) kept() func() {
	if q.keep == nil {
		return nil
	}
	return q.keep()
}

// Unmarshal implements encoding.CodecV2.
func (codec) Unmarshal(data mem.BufferSlice, v any) error {
	a, ok := v.(*answer)
	if !ok {
		return fmt.Errorf("codec: cannot read into %T", v)
	}
	whole := data.MaterializeToBuffer(mem.DefaultBufferPool())
	defer whole.Free()
	a.err = proto.Unmarshal(whole.ReadOnlyData(), &a.message)
	return nil
}
