package wire

import (
	"encoding/json"
	"errors"
	"math"
	"reflect"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sluice-dev/sluice/pkg/media"
	sluicev1 "github.com/sluice-dev/sluice/proto/gen/sluice/v1"
)

// The contract's own examples, with fields that are zero on purpose.
func TestOutcomeJSON(t *testing.T) {
	t.Parallel()
	captured := time.Date(2026, 11, 22, 13, 41, 18, 123_456_789, time.UTC)
	for _, c := range []struct {
		name string
		o    media.Outcome
		want string
	}{
		{"result", media.Outcome{
			Session: "s", Stream: "camera", Sequence: 1042, RTP: media.RTP{Valid: true, Timestamp: 2847719540, SSRC: 3735928559},
			Captured: captured, Clock: media.ClockSenderReport, Model: "faces", BatchSize: 7,
			Result:  &media.Result{Detections: []media.Detection{{Label: "face", Score: 0.97, Box: media.Box{X: 0, Y: 0.12, Width: 0.2, Height: 0.36}}}},
			Timings: media.Timings{Receive: 4 * time.Millisecond, Total: 34 * time.Millisecond},
		}, `{"outcome":{"session":"s","stream":"camera","sequence":1042,"rtpTimestamp":2847719540,"ssrc":3735928559,
			"captureTime":"2026-11-22T13:41:18.123Z","clock":"SENDER_REPORT","model":"faces","batchSize":7,
			"result":{"detections":[{"label":"face","score":0.97,"box":{"x":0,"y":0.12,"width":0.2,"height":0.36}}]},
			"timings":{"receive":0.004,"total":0.034}}}`},
		{"empty result", media.Outcome{Stream: "c", Sequence: 1, Model: "faces", Result: &media.Result{}},
			`{"outcome":{"stream":"c","sequence":1,"model":"faces","result":{}}}`},
		{"drop", media.Outcome{Session: "s", Stream: "camera", Sequence: 1043, Model: "faces", Drop: media.Superseded},
			`{"outcome":{"session":"s","stream":"camera","sequence":1043,"model":"faces","drop":{"reason":"SUPERSEDED"}}}`},
		{"error", media.Outcome{Session: "s", Stream: "camera", Sequence: 1044, Model: "faces", Error: media.BackendTimeout},
			`{"outcome":{"session":"s","stream":"camera","sequence":1044,"model":"faces","error":{"code":"BACKEND_TIMEOUT"}}}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b, err := JSON(&sluicev1.ServerMessage{Body: &sluicev1.ServerMessage_Outcome{Outcome: OutcomeToProto(c.o)}})
			if err != nil {
				t.Fatal(err)
			}
			var got, want any
			if err := json.Unmarshal(b, &got); err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal([]byte(c.want), &want); err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("got  %s\nwant %s", b, c.want)
			}
			back, err := OutcomeFromProto(OutcomeToProto(c.o))
			if err != nil {
				t.Fatal(err)
			}
			c.o.Captured = c.o.Captured.Truncate(time.Millisecond)
			if !reflect.DeepEqual(back, c.o) {
				t.Errorf("there and back: %+v, want %+v", back, c.o)
			}
		})
	}
}

func TestOutcomeFromProtoRefuses(t *testing.T) {
	t.Parallel()
	good := OutcomeToProto(media.Outcome{Stream: "c", Sequence: 1, Model: "m", Drop: media.Expired})
	for name, spoil := range map[string]func(*sluicev1.Outcome){
		"no end":         func(o *sluicev1.Outcome) { o.End = nil },
		"no sequence":    func(o *sluicev1.Outcome) { o.Sequence = nil },
		"no model":       func(o *sluicev1.Outcome) { o.Model = nil },
		"unknown reason": func(o *sluicev1.Outcome) { o.GetDrop().Reason = sluicev1.Drop_Reason(99).Enum() },
		"a reason that is SUPERSEDED in one byte": func(o *sluicev1.Outcome) { o.GetDrop().Reason = sluicev1.Drop_Reason(257).Enum() },
		"a negative code": func(o *sluicev1.Outcome) {
			o.End = &sluicev1.Outcome_Error{Error: &sluicev1.Error{Code: sluicev1.Error_Code(-254).Enum()}}
		},
		"unknown code": func(o *sluicev1.Outcome) {
			o.End = &sluicev1.Outcome_Error{Error: &sluicev1.Error{Code: sluicev1.Error_Code(77).Enum()}}
		},
	} {
		bad := proto.CloneOf(good)
		spoil(bad)
		if _, err := OutcomeFromProto(bad); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: error %v, want ErrMalformed", name, err)
		}
	}
}

func TestFrameThereAndBack(t *testing.T) {
	t.Parallel()
	now := time.Now()
	f := media.Frame{
		Stream: "camera", Sequence: 7, InputID: 3, RTP: media.RTP{Valid: true, Timestamp: 90, SSRC: 5},
		Due:       []media.Due{{Model: "faces", Deadline: now.Add(200 * time.Millisecond)}},
		Placement: media.Place(media.PictureInput{Width: 4, Height: 4, Fit: media.Letterbox, Color: media.RGB}, 8, 4),
		Timings:   media.Timings{Decode: time.Millisecond}, Payload: media.Payload{{1, 2, 3}},
	}
	there := FrameToProto(&f, now.Add(50*time.Millisecond))
	if got := there.GetDue()[0].GetRemaining(); got != 0.15 {
		t.Errorf("remaining = %v, want 0.15", got)
	}
	// Another machine's clock: only the remaining time counts.
	elsewhere := now.Add(1000 * time.Hour)
	back, err := FrameFromProto(there, elsewhere, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := f
	want.Due = []media.Due{{Model: "faces", Deadline: elsewhere.Add(150 * time.Millisecond)}}
	if !reflect.DeepEqual(back, want) {
		t.Errorf("got %+v, want %+v", back, want)
	}
	there.Placement.Width = new(0.0)
	if _, err := FrameFromProto(there, now, nil); !errors.Is(err, ErrMalformed) {
		t.Errorf("flat placement: error %v, want ErrMalformed", err)
	}
}

// The numbers of the vocabulary are the numbers of the wire: a reason added to one only would be misread.
func TestNumbersAreTheWires(t *testing.T) {
	t.Parallel()
	for _, r := range media.DropReasons() {
		if got := sluicev1.Drop_Reason(r).String(); got != r.String() {
			t.Errorf("drop reason %d is %s on the wire, %s here", r, got, r)
		}
	}
	for _, e := range media.ErrorCodes() {
		if got := sluicev1.Error_Code(e).String(); got != e.String() {
			t.Errorf("error code %d is %s on the wire, %s here", e, got, e)
		}
	}
	if len(sluicev1.Drop_Reason_name) != len(media.DropReasons())+1 || len(sluicev1.Error_Code_name) != len(media.ErrorCodes())+1 {
		t.Error("the wire has reasons or codes that the vocabulary lacks")
	}
	for wireFit, fit := range map[sluicev1.PictureInput_Fit]media.Fit{
		sluicev1.PictureInput_LETTERBOX: media.Letterbox, sluicev1.PictureInput_STRETCH: media.Stretch, sluicev1.PictureInput_CROP: media.Crop,
	} {
		in, err := InputFromProto(InputToProto(media.Input{ID: 1, Form: media.PictureForm(media.PictureInput{Width: 1, Height: 1, Fit: fit, Color: media.BGR})}))
		if err != nil || sluicev1.PictureInput_Fit(in.Picture.Fit) != wireFit || in.Picture.Color != media.BGR {
			t.Errorf("fit %v: %+v, %v", wireFit, in, err)
		}
	}
}

func TestModelsThereAndBack(t *testing.T) {
	t.Parallel()
	for _, want := range []media.Model{
		{Name: "faces", InputID: 3, Rate: 7.5, Deadline: 250 * time.Millisecond, Result: "detections", Ready: true, MaxBatch: 8},
		{Name: "scene", Rate: 0.2, KeyOnly: true, Deadline: time.Second},
	} {
		if got, err := ModelFromProto(ModelToProto(want)); got != want || err != nil {
			t.Errorf("got %+v, %v, want %+v", got, err, want)
		}
	}
}

func TestInputsThereAndBack(t *testing.T) {
	t.Parallel()
	for _, want := range []media.Input{
		{ID: 1, Form: media.PictureForm(media.PictureInput{Width: 384, Height: 224, Fit: media.Letterbox, Color: media.RGB})},
		{ID: 2, Form: media.PictureForm(media.PictureInput{Width: 640, Height: 360, Encoding: media.EncodedJPEG})},
		{ID: 3, Form: media.SoundForm(media.SoundInput{Rate: 16000, Window: 512, Hop: 256, Context: 64}), Window: 8},
		{ID: 4, Form: media.TensorForm(media.TensorInput{Datatype: media.FP32, Shape: "1,63"})},
		{ID: 5, Form: media.DocumentForm()},
	} {
		got, err := InputFromProto(InputToProto(want))
		if err != nil || got != want {
			t.Errorf("%+v came as %+v, %v", want, got, err)
		}
	}
	for name, bad := range map[string]*sluicev1.Input{
		"no kind":          {Id: new(uint32(1))},
		"no hop":           {Kind: &sluicev1.Input_Sound{Sound: &sluicev1.SoundInput{Rate: new(uint32(16000)), Window: new(uint32(1))}}},
		"no shape":         {Kind: &sluicev1.Input_Tensor{Tensor: &sluicev1.TensorInput{Datatype: new("FP32")}}},
		"no extent":        {Kind: &sluicev1.Input_Tensor{Tensor: &sluicev1.TensorInput{Datatype: new("FP32"), Shape: []uint32{0}}}},
		"unknown datatype": {Kind: &sluicev1.Input_Tensor{Tensor: &sluicev1.TensorInput{Datatype: new("FP31"), Shape: []uint32{1}}}},
		"endless window": {Kind: &sluicev1.Input_Sound{Sound: &sluicev1.SoundInput{
			Rate: new(uint32(16000)), Window: new(uint32(math.MaxUint32)), Hop: new(uint32(1)),
		}}},
	} {
		if in, err := InputFromProto(bad); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: read %+v, error %v, want ErrMalformed", name, in, err)
		}
	}
}

// A frame says nothing of traces unless it is traced, and what cannot be read is no trace.
func TestTraceOfAFrame(t *testing.T) {
	t.Parallel()
	now := time.Unix(1000, 0)
	f := media.Frame{Stream: "camera", Sequence: 1, InputID: 1, Due: []media.Due{{Model: "faces", Deadline: now}}}
	m := FrameToProto(&f, now)
	if m.Traceparent != nil {
		t.Errorf("a frame that is not traced says %q", m.GetTraceparent())
	}
	m.Traceparent = new("00-nonsense")
	if got, err := FrameFromProto(m, now, nil); err != nil || got.Trace.Valid() {
		t.Errorf("nonsense is read as trace %v, %v", got.Trace, err)
	}
}

// A frame of sound has no placement, and keeps its place in the timeline.
func TestSoundThereAndBack(t *testing.T) {
	t.Parallel()
	now := time.Unix(1000, 0)
	want := media.Frame{
		Stream: "voice", Sequence: 3, InputID: 2, Due: []media.Due{{Model: "speech", Deadline: now.Add(time.Second)}},
		RTP: media.RTP{Valid: true, SSRC: 1, Timestamp: 2}, FirstSample: 1<<32 - 512, Payload: media.Payload{{1, 2}},
		Trace: media.Trace{ID: [16]byte{1, 2, 3}, Span: [8]byte{4, 5, 6}},
	}
	got, err := FrameFromProto(FrameToProto(&want, now), now, nil)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v came as %+v, %v", want, got, err)
	}
}

func TestCountsThereAndBack(t *testing.T) {
	t.Parallel()
	c := media.ModelCounts{Model: "faces", Accepted: 6, Results: 1, InFlight: 1, Late: 2, NotSampled: 9}
	c.Drops[media.Expired], c.Errors[media.RouterLost] = 3, 1
	want := []media.StreamCounts{{Stream: "camera", Received: 15, NotDue: 9, Accepted: 6, Models: []media.ModelCounts{c}}}
	got, err := CountsFromProto(CountsToProto(want))
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	if m := CountsToProto(want)[0].GetModels()[0]; len(m.GetDrops()) != 1 || m.GetDrops()["EXPIRED"] != 3 {
		t.Errorf("drops on the wire: %v", m.GetDrops())
	}
}

func TestInputOfAnotherFormIsMalformed(t *testing.T) {
	t.Parallel()
	good := InputToProto(media.Input{ID: 1, Form: media.PictureForm(media.PictureInput{Width: 4, Height: 2, Fit: media.Crop, Color: media.BGR})})
	for name, spoil := range map[string]func(*sluicev1.PictureInput){
		"no width":                 func(p *sluicev1.PictureInput) { p.Width = nil },
		"too high":                 func(p *sluicev1.PictureInput) { p.Height = new(uint32(8193)) },
		"unknown fit":              func(p *sluicev1.PictureInput) { p.Fit = sluicev1.PictureInput_Fit(9).Enum() },
		"letterbox in one byte":    func(p *sluicev1.PictureInput) { p.Fit = sluicev1.PictureInput_Fit(257).Enum() },
		"red first in one byte":    func(p *sluicev1.PictureInput) { p.Color = sluicev1.PictureInput_Color(-255).Enum() },
		"no order of the channels": func(p *sluicev1.PictureInput) { p.Color = nil },
	} {
		bad := proto.CloneOf(good)
		spoil(bad.GetPicture())
		if in, err := InputFromProto(bad); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: read %+v, error %v, want ErrMalformed", name, in, err)
		}
	}
	if _, err := InputFromProto(good); err != nil {
		t.Error(err)
	}
}

func TestActivityToProto(t *testing.T) {
	t.Parallel()
	now := time.Unix(1000, 0)
	m := ActivityToProto([]media.StreamActivity{
		{Stream: "camera", Units: 30, Newest: now.Add(-time.Second), Models: []media.ModelActivity{
			{Model: "faces", Results: 14, Drops: 1, Newest: now.Add(-2 * time.Second), P50: 20 * time.Millisecond, P95: 40 * time.Millisecond}, {Model: "poses", Errors: 2},
		}},
		{Stream: "silent"},
	}, now)
	faces, poses := m[0].GetModels()[0], m[0].GetModels()[1]
	if m[0].GetUnitRate() != 30 || m[0].GetUnitAge() != 1 || m[1].GetStream() != "silent" || m[1].UnitRate == nil || m[1].UnitAge != nil {
		t.Errorf("streams %v", m)
	}
	if faces.GetResultRate() != 14 || faces.GetDropRate() != 1 || faces.ErrorRate == nil || faces.GetResultAge() != 2 || faces.GetLatencyP50() != 0.02 || faces.GetLatencyP95() != 0.04 {
		t.Errorf("faces %v", faces)
	}
	if poses.GetErrorRate() != 2 || poses.ResultAge != nil || poses.LatencyP50 != nil || poses.LatencyP95 != nil {
		t.Errorf("poses %v", poses)
	}
}
