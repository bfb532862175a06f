package wire

import (
	"math"
	"reflect"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/sluice-dev/sluice/pkg/media"
	sluicev1 "github.com/sluice-dev/sluice/proto/gen/sluice/v1"
)

// FuzzOutcome reads whatever a router could send as an outcome: what is taken can be told to clients, and reads the same again.
func FuzzOutcome(f *testing.F) {
	add := func(change func(*sluicev1.Outcome)) {
		m := OutcomeToProto(media.Outcome{
			Session: "s", Stream: "camera", Sequence: 7, Model: "faces", RTP: media.RTP{Valid: true, Timestamp: 1, SSRC: 2}, BatchSize: 3,
			Captured: time.Unix(1000, 0), Clock: media.ClockSenderReport, Timings: media.Timings{Infer: time.Millisecond},
			Result: &media.Result{Detections: []media.Detection{{Label: "face", Score: 0.5, Landmarks: []media.Point{{X: 0.1, Y: 0.2}}}}},
		})
		change(m)
		b, err := proto.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	add(func(*sluicev1.Outcome) {})
	add(func(m *sluicev1.Outcome) { m.End = nil })
	add(func(m *sluicev1.Outcome) { m.CaptureTime = &timestamppb.Timestamp{Seconds: math.MaxInt64, Nanos: -1} })
	add(func(m *sluicev1.Outcome) { m.Timings.Infer = new(math.Inf(1)) })
	add(func(m *sluicev1.Outcome) { m.Clock = new(sluicev1.Outcome_Clock(-1)) })
	add(func(m *sluicev1.Outcome) {
		m.End = &sluicev1.Outcome_Drop{Drop: &sluicev1.Drop{Reason: new(sluicev1.Drop_Reason(257))}}
	})
	add(func(m *sluicev1.Outcome) {
		m.End = &sluicev1.Outcome_Error{Error: &sluicev1.Error{Code: sluicev1.Error_BACKEND_TIMEOUT.Enum()}}
	})
	f.Fuzz(func(t *testing.T, b []byte) {
		m := &sluicev1.Outcome{}
		if proto.Unmarshal(b, m) != nil {
			return
		}
		o, err := OutcomeFromProto(m)
		if err != nil {
			return
		}
		sent := OutcomeToProto(o)
		if _, err := JSON(&sluicev1.ServerMessage{Body: &sluicev1.ServerMessage_Outcome{Outcome: sent}}); err != nil {
			t.Errorf("an outcome that was taken cannot be told: %v", err)
		}
		again, err := OutcomeFromProto(sent)
		if err != nil {
			t.Fatalf("an outcome that was taken is refused when it is sent on: %v", err)
		}
		if again.Drop != o.Drop || again.Error != o.Error || (again.Result == nil) != (o.Result == nil) || again.Sequence != o.Sequence ||
			!reflect.DeepEqual(again.RTP, o.RTP) {
			t.Errorf("read %+v, and again %+v", o, again)
		}
	})
}
