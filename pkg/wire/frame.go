package wire

import (
	"fmt"
	"time"

	"github.com/sluice-dev/sluice/pkg/media"
	sluicev1 "github.com/sluice-dev/sluice/proto/gen/sluice/v1"
)

// FrameToProto translates a frame that is sent now. The message aliases the frame's payload, so the frame must not be freed before the message is
// marshalled.
func FrameToProto(f *media.Frame, now time.Time) *sluicev1.Frame {
	m := &sluicev1.Frame{
		Stream: new(f.Stream), Sequence: new(f.Sequence), InputId: new(f.InputID),
		CaptureTime: timestamp(f.Captured), Timings: TimingsToProto(f.Timings), Payload: f.Payload.Whole(),
	}
	if p := f.Placement; p != (media.Placement{}) {
		m.Placement = &sluicev1.Placement{
			X: new(p.X), Y: new(p.Y), Width: new(p.Width), Height: new(p.Height),
			SourceWidth: new(uint32(p.SourceWidth)), SourceHeight: new(uint32(p.SourceHeight)),
		}
	} else {
		m.FirstSample = new(f.FirstSample)
	}
	if f.RTP.Valid {
		m.RtpTimestamp, m.Ssrc = new(f.RTP.Timestamp), new(f.RTP.SSRC)
	}
	if m.CaptureTime != nil {
		m.Clock = sluicev1.Outcome_Clock(f.Clock).Enum()
	}
	if f.Trace.Valid() {
		m.Traceparent = new(f.Trace.String())
	}
	for _, d := range f.Due {
		m.Due = append(m.Due, &sluicev1.Due{Model: new(d.Model), Remaining: new(d.Deadline.Sub(now).Seconds())})
	}
	return m
}

// FrameFromProto translates a frame that arrived now. The frame aliases the message's payload. A frame without a stream, a sequence or a model
// that it is due for is malformed, and so is one with a placement that cannot be used. Whether there must be one is for its input to say. room is memory for
// the frame's Due, and may be nil.
func FrameFromProto(m *sluicev1.Frame, now time.Time, room []media.Due) (media.Frame, error) {
	p := m.GetPlacement()
	f := media.Frame{
		Stream: m.GetStream(), Sequence: m.GetSequence(), InputID: m.GetInputId(),
		RTP:      identity(m.RtpTimestamp, m.Ssrc),
		Captured: instant(m.GetCaptureTime()), Clock: clock(m.GetClock()),
		Timings: TimingsFromProto(m.GetTimings()), Payload: media.Payload{m.GetPayload()}, FirstSample: m.GetFirstSample(),
		Placement: media.Placement{
			X: p.GetX(), Y: p.GetY(), Width: p.GetWidth(), Height: p.GetHeight(),
			SourceWidth: int(p.GetSourceWidth()), SourceHeight: int(p.GetSourceHeight()),
		},
	}
	if f.Stream == "" || f.Sequence == 0 || len(m.GetDue()) == 0 {
		return media.Frame{}, fmt.Errorf("%w: frame without stream, sequence or due model", ErrMalformed)
	}
	if p != nil && !(f.Placement.Width > 0 && f.Placement.Height > 0) {
		return media.Frame{}, fmt.Errorf("%w: placement of %g×%g pixels", ErrMalformed, f.Placement.Width, f.Placement.Height)
	}
	if m.Traceparent != nil {
		f.Trace, _ = media.ParseTrace(m.GetTraceparent())
	}
	f.Due = room[:0]
	for _, d := range m.GetDue() {
		f.Due = append(f.Due, media.Due{Model: d.GetModel(), Deadline: now.Add(duration(d.GetRemaining()))})
	}
	return f, nil
}

// ModelToProto translates a model's description.
func ModelToProto(d media.Model) *sluicev1.Model {
	return &sluicev1.Model{
		Name: new(d.Name), InputId: new(d.InputID), Rate: new(d.Rate), Deadline: new(d.Deadline.Seconds()),
		Result: new(d.Result), Ready: new(d.Ready), MaxBatch: new(uint32(d.MaxBatch)),
		KeyFramesOnly: new(d.KeyOnly),
	}
}

// ModelFromProto translates a model's description. A model without a name or a positive deadline is malformed.
func ModelFromProto(m *sluicev1.Model) (media.Model, error) {
	d := media.Model{
		Name: m.GetName(), InputID: m.GetInputId(), Rate: m.GetRate(), Deadline: duration(m.GetDeadline()),
		Result: m.GetResult(), Ready: m.GetReady(), MaxBatch: int(m.GetMaxBatch()),
		KeyOnly: m.GetKeyFramesOnly(),
	}
	if d.Name == "" || d.Deadline <= 0 {
		return media.Model{}, fmt.Errorf("%w: model %q with a deadline of %s", ErrMalformed, d.Name, d.Deadline)
	}
	return d, nil
}

// DemandToProto translates a demand; limits of zero are absent.
func DemandToProto(d media.Demand) *sluicev1.Demand {
	m := &sluicev1.Demand{Stream: new(d.Stream)}
	if d.Model != "" {
		m.Model = new(d.Model)
	}
	if d.MaxFramerate > 0 {
		m.MaxFramerate = new(d.MaxFramerate)
	}
	if d.MaxWidth > 0 && d.MaxHeight > 0 {
		m.MaxWidth, m.MaxHeight = new(uint32(d.MaxWidth)), new(uint32(d.MaxHeight))
	}
	return m
}

// DemandFromProto translates a demand.
func DemandFromProto(m *sluicev1.Demand) media.Demand {
	return media.Demand{
		Stream: m.GetStream(), Model: m.GetModel(), MaxFramerate: m.GetMaxFramerate(), MaxWidth: int(m.GetMaxWidth()), MaxHeight: int(m.GetMaxHeight()),
	}
}

// SenderReportToProto translates a sender report.
func SenderReportToProto(s media.SenderReport) *sluicev1.SenderReport {
	return &sluicev1.SenderReport{Ssrc: new(s.SSRC), RtpTimestamp: new(s.RTPTimestamp), NtpMillis: new(s.UnixMillis())}
}
