package oip

import (
	"encoding/json"
	"time"

	"github.com/sluice-dev/sluice/proto/gen/inference"
	"github.com/sluice-dev/sluice/services/router/internal/backend"
)

// framesParameter is the request parameter that says whose frames a batch holds: a JSON list of origins, one for each frame, in the batch's order. It is a
// string because the protocol's parameters have no lists.
const framesParameter = "sluice_frames"

// origin says which frame a model gets, in the words of the outcome that the client gets for it.
type origin struct {
	Session     string  `json:"session"`
	Stream      string  `json:"stream"`
	Sequence    uint32  `json:"sequence"`
	CaptureTime string  `json:"captureTime,omitempty"`
	Clock       string  `json:"clock,omitempty"`
	RTP         *uint32 `json:"rtpTimestamp,omitempty"`
	SSRC        *uint32 `json:"ssrc,omitempty"`
}

// correlate adds the parameter to a request. A batch that is a trial gets none.
func correlate(request *inference.ModelInferRequest, frames []backend.Frame) {
	origins := make([]origin, len(frames))
	for i, f := range frames {
		if f.Session == "" {
			return
		}
		o := origin{Session: f.Session, Stream: f.Stream, Sequence: f.Sequence}
		if !f.Captured.IsZero() {
			o.CaptureTime, o.Clock = f.Captured.UTC().Format(time.RFC3339Nano), f.Clock.String()
		}
		if f.RTP.Valid {
			o.RTP, o.SSRC = &f.RTP.Timestamp, &f.RTP.SSRC
		}
		origins[i] = o
	}
	text, err := json.Marshal(origins)
	if err != nil {
		return // numbers and strings always can be
	}
	request.Parameters = map[string]*inference.InferParameter{
		framesParameter: {ParameterChoice: &inference.InferParameter_StringParam{StringParam: string(text)}},
	}
}
