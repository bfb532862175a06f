package wire

import (
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sluice-dev/sluice/pkg/media"
	sluicev1 "github.com/sluice-dev/sluice/proto/gen/sluice/v1"
)

// BenchmarkFrame takes the embedded model's frame over the wire: written as the edge does and read as the router does.
func BenchmarkFrame(b *testing.B) {
	now := time.Unix(1000, 0)
	in := media.PictureInput{Width: 384, Height: 224, Fit: media.Letterbox, Color: media.RGB}
	f := media.Frame{
		Stream: "camera", Sequence: 1, InputID: 1, Due: []media.Due{{Model: "faces", Deadline: now.Add(200 * time.Millisecond)}},
		RTP: media.RTP{Valid: true, Timestamp: 1, SSRC: 2}, Placement: media.Place(in, 1280, 720), Payload: media.Payload{make([]byte, in.Bytes())},
	}
	var buffer []byte
	b.SetBytes(int64(in.Bytes()))
	b.ReportAllocs()
	for b.Loop() {
		var err error
		if buffer, err = (proto.MarshalOptions{}).MarshalAppend(buffer[:0], FrameToProto(&f, now)); err != nil {
			b.Fatal(err)
		}
		m := &sluicev1.Frame{}
		if err := proto.Unmarshal(buffer, m); err != nil {
			b.Fatal(err)
		}
		if _, err := FrameFromProto(m, now, nil); err != nil {
			b.Fatal(err)
		}
	}
}
