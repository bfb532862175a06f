package oip

import (
	"encoding/json"

	"github.com/sluice-dev/sluice/proto/gen/inference"
	"github.com/sluice-dev/sluice/services/router/internal/backend"
)

// framesParameter is the request parameter that says whose frames a batch holds: a JSON list of origins, one for each frame, in the batch's order. It is a
// string because the protocol's parameters have no lists.
const framesParameter = "sluice_frames"

// correlate adds the parameter to a request. A batch that is a trial gets none.
func correlate(request *inference.ModelInferRequest, frames []backend.Frame) {
	origins := make([]backend.Origin, len(frames))
	for i, f := range frames {
		if f.Session == "" {
			return
		}
		origins[i] = backend.OriginOf(f)
	}
	text, err := json.Marshal(origins)
	if err != nil {
		return // numbers and strings always can be
	}
	request.Parameters = map[string]*inference.InferParameter{
		framesParameter: {ParameterChoice: &inference.InferParameter_StringParam{StringParam: string(text)}},
	}
}
