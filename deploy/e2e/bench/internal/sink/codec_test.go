package sink

import (
	"bytes"
	"io"
	"testing"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"

	sluicev1 "github.com/sluice-dev/sluice/proto/gen/sluice/v1"
)

// A frame is read without its payload, which is found where it lies, however gRPC cut the message.
func TestCodecFindsThePayload(t *testing.T) {
	payload := bytes.Repeat([]byte("picture "), 4000)
	message := marshal(t, &sluicev1.StreamRequest{Body: &sluicev1.StreamRequest_Frame{Frame: &sluicev1.Frame{
		Stream: new("camera"), Sequence: new(uint32(7)), InputId: new(uint32(1)), RtpTimestamp: new(uint32(90000)), Payload: payload,
		Placement: &sluicev1.Placement{SourceWidth: new(uint32(640)), SourceHeight: new(uint32(360))},
	}}})
	for _, size := range []int{1, 7, 16 << 10, len(message)} {
		var m request
		if err := (codec{}).Unmarshal(cut(message, size), &m); err != nil {
			t.Fatalf("in pieces of %d bytes: %v", size, err)
		}
		if m.frame.GetStream() != "camera" || m.frame.GetSequence() != 7 || m.frame.GetPlacement().GetSourceWidth() != 640 {
			t.Errorf("in pieces of %d bytes: frame %v", size, m.frame)
		}
		all, err := io.ReadAll(m.payload.Reader())
		if err != nil || !bytes.Equal(all[m.offset:m.offset+m.bytes], payload) {
			t.Errorf("in pieces of %d bytes: another payload (%v)", size, err)
		}
	}
}

func TestCodecOfOtherMessages(t *testing.T) {
	var m request
	open := marshal(t, &sluicev1.StreamRequest{Body: &sluicev1.StreamRequest_Open{Open: &sluicev1.Open{Session: new("s")}}})
	if err := (codec{}).Unmarshal(cut(open, len(open)), &m); err != nil || m.frame != nil {
		t.Errorf("Open: frame %v, %v", m.frame, err)
	}
	for name, bad := range map[string][]byte{
		"nonsense":  {0xff, 0xff, 0xff},
		"cut short": marshal(t, &sluicev1.StreamRequest{Body: &sluicev1.StreamRequest_Frame{Frame: &sluicev1.Frame{Payload: []byte("1234")}}})[:5],
	} {
		if err := (codec{}).Unmarshal(cut(bad, len(bad)), &request{}); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
}

func marshal(t *testing.T, m proto.Message) []byte {
	t.Helper()
	b, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// cut puts a message into pieces of a size.
func cut(b []byte, size int) mem.BufferSlice {
	var pieces mem.BufferSlice
	for len(b) > size {
		pieces = append(pieces, mem.SliceBuffer(b[:size]))
		b = b[size:]
	}
	return append(pieces, mem.SliceBuffer(b))
}
