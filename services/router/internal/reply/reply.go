// Package reply takes a model's answer for a batch apart again: one answer for each frame, in the batch's order, whatever the model gave.
//
// It is the line at which sessions' frames and a model's tensors meet, so it believes in nothing but positions that were counted on both sides: an answer
// that does not fit the batch, or that cannot be read in one place, is believed in none.
package reply

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	oteltrace "go.opentelemetry.io/otel/trace"
	"golang.org/x/time/rate"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/pkg/trace"
	"github.com/sluice-dev/sluice/services/router/internal/backend"
)

// Answer is what became of one frame of a batch: a result, or the reason why there is none.
type Answer struct {
	// Result is nil exactly when Error is set. It shares no memory with the model's tensors.
	Result *media.Result
	Error  media.ErrorCode
	// Compute is what the model's server says that the whole batch took on the model; 0 when it does not say.
	Compute time.Duration
}

// Decoder makes the result of one frame of its outputs, batch axis removed, and keeps nothing of them.
type Decoder interface {
	Decode(outputs []media.RawTensor, placement media.Placement) (*media.Result, error)
}

// Outputs is a model's answer for a batch. Frame(i) is valid until Release, which is called once.
type Outputs interface {
	Frames() int
	Frame(i int) []media.RawTensor
	Release()
}

// Reader runs batches on a model and reads its answers. It is safe for concurrent use.
//
// A target of the model may run several batches at a time, each on an instance of the model there. Instances are numbered round the targets, so that the
// first few are on different ones.
type Reader struct {
	model     *backend.Model
	instances int // of each target
	decoder   Decoder
	logger    *slog.Logger
	misread   rate.Sometimes
}

// New makes a reader of the answers of a model that has so many instances, at least 1, behind each of its targets.
func New(model *backend.Model, instances int, decoder Decoder, logger *slog.Logger) *Reader {
	return &Reader{
		model: model, instances: instances, decoder: decoder, logger: logger, misread: rate.Sometimes{First: 1, Interval: time.Second},
	}
}

// Instances gives the number of instances behind all targets. It never changes.
func (r *Reader) Instances() int { return r.instances * r.model.Targets() }

// Ready returns nil when an instance can take a batch. It answers at once, with what the last check of its target found.
func (r *Reader) Ready(instance int) error { return r.model.Ready(r.target(instance)) }

// Profile gives what batches took on the instance's target when it was warmed up, smallest batch first; nil when that is not known.
func (r *Reader) Profile(instance int) []backend.Timing { return r.model.Profile(r.target(instance)) }

func (r *Reader) target(instance int) int { return instance % r.model.Targets() }

// Run runs the frames as one batch on an instance, from 0 to Instances()-1, and gives exactly one answer for each, in their order. It reads the frames' payloads and
// uses their states until it returns and not after.
func (r *Reader) Run(ctx context.Context, instance int, frames []backend.Frame) []Answer {
	outputs, err := r.model.Infer(ctx, r.target(instance), frames)
	if err != nil {
		return All(len(frames), backend.CodeOf(err)) // the backend has logged it
	}
	defer outputs.Release()
	_, reading := trace.Part(ctx, "reply", oteltrace.SpanKindInternal)
	answers, err := Unbatch(frames, outputs, r.decoder)
	reading.End()
	if err != nil {
		r.misread.Do(func() {
			r.logger.WarnContext(ctx, "a model's answer cannot be read; the batch fails", "frames", len(frames), "error", err)
		})
	}
	for i := range answers {
		answers[i].Compute = outputs.Compute()
	}
	return answers
}

// Unbatch reads the outputs of a batch: as many answers as frames, in their order. When the error is not nil, all of them are BACKEND_PROTOCOL.
func Unbatch(frames []backend.Frame, outputs Outputs, decoder Decoder) ([]Answer, error) {
	if outputs.Frames() != len(frames) {
		return All(len(frames), media.BackendProtocol), fmt.Errorf("answer for %d frames: %d were sent", outputs.Frames(), len(frames))
	}
	answers := make([]Answer, len(frames))
	for i, f := range frames {
		result, err := decoder.Decode(outputs.Frame(i), f.Placement)
		if err == nil && result == nil {
			err = fmt.Errorf("the decoder gave neither result nor error")
		}
		if err != nil {
			return All(len(frames), media.BackendProtocol), fmt.Errorf("frame %d of %d: %w", i+1, len(frames), err)
		}
		answers[i].Result = result
	}
	return answers, nil
}

// All gives n answers of the same error.
func All(n int, code media.ErrorCode) []Answer {
	answers := make([]Answer, n)
	for i := range answers {
		answers[i].Error = code
	}
	return answers
}
