package wire

import (
	"bytes"
	"runtime"
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/sluice-dev/sluice/pkg/media"
	sluicev1 "github.com/sluice-dev/sluice/proto/gen/sluice/v1"
)

// counted is a pool that knows what is out, as gRPC's own does not tell.
type counted struct{ out int }

func (c *counted) Get(length int) *[]byte {
	c.out++
	b := make([]byte, length)
	return &b
}

func (c *counted) Put(b *[]byte) {
	c.out--
	clear((*b)[:cap(*b)])
}

// cut makes the buffers of a message in which gRPC would have received it in pieces of a size.
func (c *counted) cut(message []byte, size int) mem.BufferSlice {
	var data mem.BufferSlice
	for piece := range slices.Chunk(message, max(size, 1)) {
		b := c.Get(len(piece))
		copy(*b, piece)
		data = append(data, mem.NewBuffer(b, c))
		if mem.IsBelowBufferPoolingThreshold(len(piece)) {
			c.out-- // such a buffer is never put back
		}
	}
	return data
}

func picture(size int) media.Payload {
	payload := make([]byte, size)
	for i := range payload {
		payload[i] = byte(i*i + i>>8)
	}
	return media.Payload{payload}
}

func camera(payload media.Payload) media.Frame {
	return media.Frame{
		Stream: "camera", Sequence: 7, InputID: 3, Due: []media.Due{{Model: "faces", Deadline: time.Unix(1000, 0)}, {Model: "objects", Deadline: time.Unix(1001, 0)}},
		RTP: media.RTP{Valid: true, SSRC: 1, Timestamp: 2}, Captured: time.Unix(999, 0), Clock: media.ClockSenderReport,
		Placement: media.Placement{Width: 640, Height: 360, SourceWidth: 1280, SourceHeight: 720}, Timings: media.Timings{Decode: time.Millisecond}, Payload: payload,
	}
}

func TestCodecWritesWhatProtobufDoes(t *testing.T) {
	t.Parallel()
	now := time.Unix(999, 0)
	for name, payload := range map[string]media.Payload{
		"none": nil, "empty": {{}}, "short": picture(100), "as long as may be copied": picture(shortPayload), "longer": picture(shortPayload + 1),
		"a picture": picture(640 * 360 * 3), "short pieces": {{1, 2}, {}, {3}}, "long pieces": append(picture(5000), picture(7000)...),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			released, written := 0, 0
			f := camera(payload)
			f.Release = func() { released++ }
			plain := &sluicev1.StreamRequest{Body: &sluicev1.StreamRequest_Frame{Frame: FrameToProto(&f, now)}}
			r := FrameToRequest(f, now)
			r.Written = func() { written += released }
			data, err := Codec{}.Marshal(r)
			if err != nil {
				t.Fatal(err)
			}
			r.Free()
			if size := payload.Len(); size > shortPayload && len(payload) == 1 {
				if got := data[len(data)-1].ReadOnlyData(); &got[0] != &payload[0][0] || released != 0 {
					t.Errorf("the payload is a copy, released %d times before it was written", released)
				}
			}
			got := &sluicev1.StreamRequest{}
			if err := proto.Unmarshal(data.Materialize(), got); err != nil || !proto.Equal(got, plain) {
				t.Errorf("it reads as %.200v, %v; want %.200v", got, err, plain)
			}
			if data.Len() != proto.Size(plain) {
				t.Errorf("%d bytes, want %d", data.Len(), proto.Size(plain))
			}
			data.Free()
			if released != 1 || written != 1 {
				t.Errorf("released %d times, written %d times, want once, in this order", released, written)
			}
		})
	}
}

func TestCodecLeavesOtherMessagesAlone(t *testing.T) {
	t.Parallel()
	var c encoding.CodecV2 = Codec{}
	open := &sluicev1.StreamRequest{Body: &sluicev1.StreamRequest_Open{Open: &sluicev1.Open{Session: new("s")}}}
	for _, m := range []any{open, &Request{Message: open}} {
		data, err := c.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		got := &sluicev1.StreamRequest{}
		if err := c.Unmarshal(data, got); err != nil || !proto.Equal(got, open) {
			t.Errorf("%T: %v, %v", m, got, err)
		}
		request := &Request{}
		if err := c.Unmarshal(data, request); err != nil || !proto.Equal(request.Message, open) {
			t.Errorf("%T: %v, %v", m, request.Message, err)
		}
	}
	if _, err := c.Marshal(3); err == nil {
		t.Error("a number is no message")
	}
	if err := c.Unmarshal(nil, new(int)); err == nil {
		t.Error("a number is no message")
	}
	if c.Name() != "proto" {
		t.Errorf("the name on the wire is %q", c.Name())
	}
}

// TestCodecKeepsPayloads reads a picture as gRPC receives one: nothing is copied, and the buffers live exactly as long as the frame.
func TestCodecKeepsPayloads(t *testing.T) {
	t.Parallel()
	for _, size := range []int{16 << 10, 5000, 1, 100, 1 << 20} {
		payload := picture(100_000)
		f := camera(payload)
		now := time.Unix(999, 0)
		sent, err := Codec{}.Marshal(FrameToRequest(f, now))
		if err != nil {
			t.Fatal(err)
		}
		pool := &counted{}
		data := pool.cut(sent.Materialize(), size)
		r := &Request{}
		if err := (Codec{}).Unmarshal(data, r); err != nil {
			t.Fatal(err)
		}
		buffers := pool.out
		data.Free()
		if pieces := size >= leastPiece; pieces && pool.out != buffers || !pieces && pool.out != 0 {
			t.Errorf("pieces of %d: %d of %d buffers are kept", size, pool.out, buffers)
		}
		got, err := r.Frame(now, nil)
		if err != nil || !bytes.Equal(got.Payload.Whole(), payload[0]) || r.Payload != nil || r.Release != nil {
			t.Errorf("pieces of %d: %d bytes, %v", size, got.Payload.Len(), err)
		}
		if most := len(payload[0])/leastPiece + 1; len(got.Payload) > most {
			t.Errorf("pieces of %d: the payload has %d pieces, more than %d", size, len(got.Payload), most)
		}
		got.Free()
		if pool.out != 0 {
			t.Errorf("pieces of %d: %d buffers are kept after the end", size, pool.out)
		}
	}
}

// TestLeaseThatIsForgotten is what gRPC does when a connection breaks: it neither reads the buffer again nor frees it.
func TestLeaseThatIsForgotten(t *testing.T) {
	t.Parallel()
	released := make(chan struct{}, 2)
	forget := func() {
		b := (*Lender)(nil).Lease(make([]byte, 2000), func() { released <- struct{}{} }, nil)
		b.Ref()
		b.Free()
	}
	forget()
	limit := time.After(10 * time.Second)
	for len(released) == 0 {
		runtime.GC()
		select {
		case <-limit:
			t.Fatal("it was never released")
		default:
			runtime.Gosched()
		}
	}
	b := (*Lender)(nil).Lease(make([]byte, 2000), func() { released <- struct{}{} }, nil)
	part := b.Slice(100, 200)
	b.Free()
	if len(released) != 1 {
		t.Error("released while a part was read")
	}
	part.Free()
	runtime.GC()
	if len(released) != 2 {
		t.Errorf("released %d times, want twice in all", len(released))
	}
}

// field makes a field of bytes.
func field(number protowire.Number, value []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(nil, number, protowire.BytesType), value)
}

// messages are requests as no edge of ours writes them, right and wrong.
func messages() map[string][]byte {
	now := time.Unix(999, 0)
	f := camera(picture(1500))
	whole := FrameToProto(&f, now)
	f.Payload = nil
	bare := FrameToProto(&f, now)
	marshal := func(m proto.Message) []byte {
		b, _ := proto.MarshalOptions{Deterministic: true}.Marshal(m)
		return b
	}
	header, payload := marshal(bare), field(framePayload, picture(1500)[0])
	request := func(parts ...[]byte) []byte { return field(requestFrame, slices.Concat(parts...)) }
	varint := func(number protowire.Number, v uint64) []byte {
		return protowire.AppendVarint(protowire.AppendTag(nil, number, protowire.VarintType), v)
	}
	group := slices.Concat(protowire.AppendTag(nil, 99, protowire.StartGroupType), payload, protowire.AppendTag(nil, 99, protowire.EndGroupType))
	long := func(tag byte, size ...byte) []byte { return append([]byte{tag}, size...) }
	return map[string][]byte{
		"as edges send it":                 request(header, payload),
		"as protobuf writes it":            marshal(&sluicev1.StreamRequest{Body: &sluicev1.StreamRequest_Frame{Frame: whole}}),
		"payload first":                    request(payload, header),
		"payload in the middle":            request(header[:9], payload, header[9:]),
		"two payloads":                     request(payload, header, field(framePayload, []byte("the last counts"))),
		"the last payload is empty":        request(payload, header, field(framePayload, nil)),
		"no payload":                       request(header),
		"nothing":                          {},
		"an empty frame":                   request(),
		"unknown fields":                   request(field(100, []byte("?")), header, varint(101, 1<<63), payload, protowire.AppendFixed32(protowire.AppendTag(nil, 102, protowire.Fixed32Type), 1)),
		"a large unknown field":            request(field(100, make([]byte, 20<<10)), payload, header),
		"a payload of another type":        request(header, varint(framePayload, 5), payload),
		"an unknown group":                 request(header, group, payload),
		"a group that does not end":        request(header, group[:len(group)-2], payload),
		"the end of no group":              request(header, protowire.AppendTag(nil, 99, protowire.EndGroupType), payload),
		"two frames":                       slices.Concat(request(header, payload), request(varint(2, 9))),
		"open, then a frame":               slices.Concat(field(1, field(1, []byte("s"))), request(header, payload)),
		"a frame, then open":               slices.Concat(request(header, payload), field(1, field(1, []byte("s")))),
		"a frame, then something else":     slices.Concat(request(header, payload), varint(50, 1)),
		"a long form of a tag":             request(header, long(0xda, 0x80, 0x00), []byte{3, 1, 2, 3}),
		"a tag of more than 32 bits":       request(header, long(0xda, 0x80, 0x80, 0x80, 0x80, 0x01, 3, 1, 2, 3)),
		"field number 0":                   request(header, []byte{0x02, 0x00}),
		"a payload beyond the frame":       append(request(header, payload[:len(payload)-1]), payload[len(payload)-1]),
		"a payload of 2^63 bytes":          request(header, long(0x5a, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01)),
		"a payload of 2^64 bytes":          request(header, long(0x5a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f)),
		"a field of 2^63 bytes":            request(header, long(0x0a, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01)),
		"a number that does not end":       request(header, long(0x10, 0xff, 0xff)),
		"fixed 64 bits cut short":          request(header, long(0x51, 1, 2, 3)),
		"a frame longer than all":          long(0x12, 0xff, 0x7f),
		"a frame shorter than all":         append(request(header, payload), 0),
		"cut in the payload":               request(header, payload)[:900],
		"a stream's name that is no UTF-8": request(header, field(1, []byte{0xff}), payload),
	}
}

// FuzzCodec reads whatever an edge could send, cut as a network could cut it: it is what protobuf reads of the same bytes, or refused as protobuf refuses it.
func FuzzCodec(f *testing.F) {
	for _, m := range messages() {
		for _, size := range []uint16{1, 3, 700, 16 << 10} {
			f.Add(m, size)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte, size uint16) {
		want := &sluicev1.StreamRequest{}
		refused := proto.Unmarshal(b, want)
		pool := &counted{}
		data := pool.cut(b, int(size))
		got := &Request{}
		err := Codec{}.Unmarshal(data, got)
		data.Free()
		if (err == nil) != (refused == nil) {
			t.Fatalf("it is read with %v, but with %v by protobuf", err, refused)
		}
		if err != nil {
			if pool.out != 0 {
				t.Errorf("%d buffers are kept of a message that was refused", pool.out)
			}
			return
		}
		if frame := got.Message.GetFrame(); frame != nil {
			if frame.Payload != nil {
				t.Error("the message has a payload of its own")
			}
			frame.Payload = got.Payload.Whole()
		} else if got.Payload != nil {
			t.Error("a payload without a frame")
		}
		if !proto.Equal(got.Message, want) {
			t.Errorf("it is read as %.300v, but as %.300v by protobuf", got.Message, want)
		}
		got.Free()
		if pool.out != 0 {
			t.Errorf("%d buffers are kept after the end", pool.out)
		}
	})
}

// TestCodecReads tells the messages of FuzzCodec apart by name, and which of them are read where they lie.
func TestCodecReads(t *testing.T) {
	t.Parallel()
	plain := []string{
		"nothing", "an unknown group", "two frames", "open, then a frame", "a frame, then open", "a frame, then something else", "a large unknown field",
		"a frame shorter than all",
	}
	for name, b := range messages() {
		data := mem.BufferSlice{mem.SliceBuffer(b)}
		valid := proto.Unmarshal(b, &sluicev1.StreamRequest{}) == nil
		if got, want := new(Request).scan(data), valid && !slices.Contains(plain, name); got != want {
			t.Errorf("%s: read where it lies: %t, want %t", name, got, want)
		}
	}
}
