package backend

import "time"

// Origin says to a model server which frame it gets, in the words of the outcome that the client gets for it. That of a frame of nobody's, such as one of a trial, is
// empty.
type Origin struct {
	Session     string  `json:"session,omitempty"`
	Stream      string  `json:"stream,omitempty"`
	Sequence    uint32  `json:"sequence,omitempty"`
	CaptureTime string  `json:"captureTime,omitempty"`
	Clock       string  `json:"clock,omitempty"`
	RTP         *uint32 `json:"rtpTimestamp,omitempty"`
	SSRC        *uint32 `json:"ssrc,omitempty"`
}

// OriginOf tells a frame's origin.
func OriginOf(f Frame) Origin {
	if f.Session == "" {
		return Origin{}
	}
	o := Origin{Session: f.Session, Stream: f.Stream, Sequence: f.Sequence}
	if !f.Captured.IsZero() {
		o.CaptureTime, o.Clock = f.Captured.UTC().Format(time.RFC3339Nano), f.Clock.String()
	}
	if f.RTP.Valid {
		o.RTP, o.SSRC = &f.RTP.Timestamp, &f.RTP.SSRC
	}
	return o
}
