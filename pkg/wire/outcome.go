// Package wire translates between the vocabulary of package media and the protobuf messages of sluice.v1. It is the only package that knows both, so
// that neither stages nor services change with the schema. Its functions hold no state and are safe for concurrent use.
package wire

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/sluice-dev/sluice/pkg/media"
	sluicev1 "github.com/sluice-dev/sluice/proto/gen/sluice/v1"
)

// ErrMalformed is wrapped by every error of this package: the message breaks a rule that its description states.
var ErrMalformed = errors.New("malformed message")

// JSON gives a message in the contract's JSON: lowerCamelCase names, enums by name, only what is present.
func JSON(m proto.Message) ([]byte, error) {
	b, err := protojson.MarshalOptions{}.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("encode %s as JSON: %w", m.ProtoReflect().Descriptor().FullName(), err)
	}
	return b, nil
}

// OutcomeToProto translates an outcome. The message shares no memory with it but the tensors' and embedding's elements.
func OutcomeToProto(o media.Outcome) *sluicev1.Outcome {
	m := &sluicev1.Outcome{
		Stream:      new(o.Stream),
		Sequence:    new(o.Sequence),
		Model:       new(o.Model),
		CaptureTime: timestamp(o.Captured),
		Timings:     TimingsToProto(o.Timings),
	}
	if o.Session != "" {
		m.Session = new(o.Session)
	}
	if o.RTP.Valid {
		m.RtpTimestamp, m.Ssrc = new(o.RTP.Timestamp), new(o.RTP.SSRC)
	}
	if m.CaptureTime != nil {
		m.Clock = sluicev1.Outcome_Clock(o.Clock).Enum()
	}
	if o.BatchSize > 0 {
		m.BatchSize = new(uint32(o.BatchSize))
	}
	switch {
	case o.Drop != media.NotDropped:
		m.End = &sluicev1.Outcome_Drop{Drop: &sluicev1.Drop{Reason: sluicev1.Drop_Reason(o.Drop).Enum()}}
	case o.Error != media.NoError:
		m.End = &sluicev1.Outcome_Error{Error: &sluicev1.Error{Code: sluicev1.Error_Code(o.Error).Enum()}}
	case o.Result != nil:
		m.End = &sluicev1.Outcome_Result{Result: resultToProto(o.Result)}
	}
	return m
}

// OutcomeFromProto translates an outcome that another process sent. An outcome without an end, without a sequence or model, or with a reason or code
// that is not in the closed set is malformed.
func OutcomeFromProto(m *sluicev1.Outcome) (media.Outcome, error) {
	o := media.Outcome{
		Session: m.GetSession(), Stream: m.GetStream(), Sequence: m.GetSequence(), Model: m.GetModel(),
		RTP:      identity(m.RtpTimestamp, m.Ssrc),
		Captured: instant(m.GetCaptureTime()), Clock: clock(m.GetClock()),
		BatchSize: int(m.GetBatchSize()), Timings: TimingsFromProto(m.GetTimings()),
	}
	if o.Sequence == 0 || o.Model == "" {
		return media.Outcome{}, fmt.Errorf("%w: outcome without sequence or model", ErrMalformed)
	}
	switch end := m.GetEnd().(type) {
	case *sluicev1.Outcome_Result:
		o.Result = resultFromProto(end.Result)
	case *sluicev1.Outcome_Drop:
		o.Drop = media.DropReason(narrow(end.Drop.GetReason()))
		if o.Drop.String() == "" {
			return media.Outcome{}, fmt.Errorf("%w: unknown drop reason %d", ErrMalformed, end.Drop.GetReason())
		}
	case *sluicev1.Outcome_Error:
		o.Error = media.ErrorCode(narrow(end.Error.GetCode()))
		if o.Error.String() == "" {
			return media.Outcome{}, fmt.Errorf("%w: unknown error code %d", ErrMalformed, end.Error.GetCode())
		}
	default:
		return media.Outcome{}, fmt.Errorf("%w: outcome without an end", ErrMalformed)
	}
	return o, nil
}

// TimingsToProto translates stage times; stages with no time are absent, and nil means that none has any.
func TimingsToProto(t media.Timings) *sluicev1.Timings {
	m := &sluicev1.Timings{
		Receive: seconds(t.Receive), Decode: seconds(t.Decode), Convert: seconds(t.Convert),
		Queue: seconds(t.Queue), Infer: seconds(t.Infer), Total: seconds(t.Total),
	}
	if proto.Size(m) == 0 {
		return nil
	}
	return m
}

// TimingsFromProto translates stage times; m may be nil.
func TimingsFromProto(m *sluicev1.Timings) media.Timings {
	return media.Timings{
		Receive: duration(m.GetReceive()), Decode: duration(m.GetDecode()), Convert: duration(m.GetConvert()),
		Queue: duration(m.GetQueue()), Infer: duration(m.GetInfer()), Total: duration(m.GetTotal()),
	}
}

func resultToProto(r *media.Result) *sluicev1.Result {
	m := &sluicev1.Result{Embedding: r.Embedding, Json: r.JSON}
	for _, d := range r.Detections {
		pd := &sluicev1.Detection{
			Label: new(d.Label), Score: new(d.Score),
			Box: &sluicev1.Box{X: new(d.Box.X), Y: new(d.Box.Y), Width: new(d.Box.Width), Height: new(d.Box.Height)},
		}
		for _, p := range d.Landmarks {
			pd.Landmarks = append(pd.Landmarks, &sluicev1.Point{X: new(p.X), Y: new(p.Y)})
		}
		m.Detections = append(m.Detections, pd)
	}
	for _, p := range r.Speech {
		m.Speech = append(m.Speech, &sluicev1.Speech{Probability: new(p.Probability)})
	}
	for _, c := range r.Classes {
		m.Classes = append(m.Classes, &sluicev1.Classification{Label: new(c.Label), Score: new(c.Score)})
	}
	for _, t := range r.Tensors {
		pt := &sluicev1.Tensor{Name: new(t.Name), Datatype: new(t.Datatype), Values: t.Values}
		for _, n := range t.Shape {
			pt.Shape = append(pt.Shape, uint32(n))
		}
		m.Tensors = append(m.Tensors, pt)
	}
	return m
}

func resultFromProto(m *sluicev1.Result) *media.Result {
	r := &media.Result{Embedding: m.GetEmbedding(), JSON: m.GetJson()}
	for _, pd := range m.GetDetections() {
		b := pd.GetBox()
		d := media.Detection{
			Label: pd.GetLabel(), Score: pd.GetScore(),
			Box: media.Box{X: b.GetX(), Y: b.GetY(), Width: b.GetWidth(), Height: b.GetHeight()},
		}
		for _, p := range pd.GetLandmarks() {
			d.Landmarks = append(d.Landmarks, media.Point{X: p.GetX(), Y: p.GetY()})
		}
		r.Detections = append(r.Detections, d)
	}
	for _, p := range m.GetSpeech() {
		r.Speech = append(r.Speech, media.Speech{Probability: p.GetProbability()})
	}
	for _, c := range m.GetClasses() {
		r.Classes = append(r.Classes, media.Classification{Label: c.GetLabel(), Score: c.GetScore()})
	}
	for _, pt := range m.GetTensors() {
		t := media.Tensor{Name: pt.GetName(), Datatype: pt.GetDatatype(), Values: pt.GetValues()}
		for _, n := range pt.GetShape() {
			t.Shape = append(t.Shape, int(n))
		}
		r.Tensors = append(r.Tensors, t)
	}
	return r
}

// CountsToProto translates a session's counts, streams in the order given, reasons and codes that never occurred left out.
func CountsToProto(streams []media.StreamCounts) []*sluicev1.StreamCounts {
	var ms []*sluicev1.StreamCounts
	for _, s := range streams {
		m := &sluicev1.StreamCounts{
			Stream: new(s.Stream), Received: new(s.Received), NotDue: new(s.NotDue), Accepted: new(s.Accepted),
		}
		for _, c := range s.Models {
			m.Models = append(m.Models, ModelCountsToProto(c))
		}
		ms = append(ms, m)
	}
	return ms
}

// ModelCountsToProto translates the counts of one model.
func ModelCountsToProto(c media.ModelCounts) *sluicev1.ModelCounts {
	m := &sluicev1.ModelCounts{
		Model: new(c.Model), NotSampled: new(c.NotSampled), Accepted: new(c.Accepted), Results: new(c.Results),
		Drops: map[string]uint32{}, Errors: map[string]uint32{}, InFlight: new(c.InFlight), Late: new(c.Late),
	}
	for _, r := range media.DropReasons() {
		m.Drops[r.String()] = c.Drops[r]
	}
	for _, e := range media.ErrorCodes() {
		m.Errors[e.String()] = c.Errors[e]
	}
	never := func(_ string, n uint32) bool { return n == 0 }
	maps.DeleteFunc(m.Drops, never)
	maps.DeleteFunc(m.Errors, never)
	return m
}

// CountsFromProto translates counts that another process sent. Unknown reasons and codes are malformed.
func CountsFromProto(ms []*sluicev1.StreamCounts) ([]media.StreamCounts, error) {
	var streams []media.StreamCounts
	for _, m := range ms {
		s := media.StreamCounts{Stream: m.GetStream(), Received: m.GetReceived(), NotDue: m.GetNotDue(), Accepted: m.GetAccepted()}
		for _, pc := range m.GetModels() {
			c, err := ModelCountsFromProto(pc)
			if err != nil {
				return nil, err
			}
			s.Models = append(s.Models, c)
		}
		streams = append(streams, s)
	}
	return streams, nil
}

// ModelCountsFromProto translates the counts of one model that another process sent.
func ModelCountsFromProto(m *sluicev1.ModelCounts) (media.ModelCounts, error) {
	c := media.ModelCounts{
		Model: m.GetModel(), NotSampled: m.GetNotSampled(), Accepted: m.GetAccepted(), Results: m.GetResults(),
		InFlight: m.GetInFlight(), Late: m.GetLate(),
	}
	for name, n := range m.GetDrops() {
		i := slices.IndexFunc(media.DropReasons(), func(r media.DropReason) bool { return r.String() == name })
		if i < 0 {
			return c, fmt.Errorf("%w: unknown drop reason %q", ErrMalformed, name)
		}
		c.Drops[media.DropReasons()[i]] = n
	}
	for name, n := range m.GetErrors() {
		i := slices.IndexFunc(media.ErrorCodes(), func(e media.ErrorCode) bool { return e.String() == name })
		if i < 0 {
			return c, fmt.Errorf("%w: unknown error code %q", ErrMalformed, name)
		}
		c.Errors[media.ErrorCodes()[i]] = n
	}
	return c, nil
}

func timestamp(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t.Truncate(time.Millisecond))
}

// identity gives the RTP identity of a unit; without a timestamp it has none.
func identity(timestamp, ssrc *uint32) media.RTP {
	switch {
	case timestamp == nil:
		return media.RTP{}
	case ssrc == nil:
		return media.RTP{Valid: true, Timestamp: *timestamp}
	}
	return media.RTP{Valid: true, Timestamp: *timestamp, SSRC: *ssrc}
}

// narrow gives an enum's number in the vocabulary's width: what does not fit becomes a number that nothing has, not another one's.
func narrow[E ~int32](number E) uint8 {
	if number < 0 || number > math.MaxUint8 {
		return math.MaxUint8
	}
	return uint8(number)
}

// clock translates the quality of a capture time. It is information, so one that is not known here is no reason to refuse a message.
func clock(m sluicev1.Outcome_Clock) media.Clock {
	if c := media.Clock(narrow(m)); c <= media.ClockAbsCapture {
		return c
	}
	return media.ClockUnknown
}

// instant gives the zero time for a timestamp that is absent or no time: capture times are information.
func instant(m *timestamppb.Timestamp) time.Time {
	if !m.IsValid() {
		return time.Time{}
	}
	return m.AsTime()
}

// seconds rounds to microseconds, so that JSON stays short.
func seconds(d time.Duration) *float64 {
	if d <= 0 {
		return nil
	}
	return new(float64(d.Microseconds()) / 1e6)
}

func duration(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
