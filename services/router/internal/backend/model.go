package backend

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"go.opentelemetry.io/otel/codes"
	oteltrace "go.opentelemetry.io/otel/trace"
	"golang.org/x/time/rate"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/pkg/tensor"
	"github.com/sluice-dev/sluice/pkg/trace"
)

// Config says what a model takes and how it may be used.
type Config struct {
	// Name is the model's name in this router, for errors and logs.
	Name string
	// InputName names the model's input tensor; empty when the model has only one.
	InputName string
	// Input says how payloads become the input tensor.
	Input tensor.Input
	// States are what a recurrent model remembers from one window of a stream to the next.
	States []StatePair
	// Windows says, for models with states, how windows follow each other.
	Windows media.SoundInput
	// Constants are the model's other inputs.
	Constants []Constant
	// Outputs names the output tensors wanted, in the order wanted; empty means all, in the model's own order.
	Outputs []string
	// MaxBatch is the largest number of frames in a batch, at least 1.
	MaxBatch int
	// Accept tells whether the served outputs suit whoever reads them; nil accepts all. Its error is shown as part of a Mismatch.
	Accept func(outputs []media.TensorSpec) error
	// Logger takes what targets say when they fail, and when they come and go; nil discards it.
	Logger *slog.Logger
}

// Model runs batches on the targets of one model. It is safe for concurrent use.
type Model struct {
	config   Config
	packer   *tensor.Packer
	logger   *slog.Logger
	spaces   sync.Pool // of *workspace
	failures rate.Sometimes

	mu      sync.Mutex
	targets []*target // the slice is fixed, mu guards what the targets hold
}

// New makes a model of at least one target and takes over the drivers. No target is called yet: Check does that.
func New(config Config, drivers ...Driver) (*Model, error) {
	packer, err := tensor.NewPacker(config.Input)
	if err != nil {
		return nil, fmt.Errorf("model %s: input: %w", config.Name, err)
	}
	if config.MaxBatch < 1 {
		return nil, fmt.Errorf("model %s: a largest batch of %d: must be at least 1", config.Name, config.MaxBatch)
	}
	if len(config.States) > 0 && (config.Windows.Hop < 1 || config.Windows.Rate < 1) {
		return nil, fmt.Errorf("model %s: states are for windows of sound, which need a rate and a hop", config.Name)
	}
	if len(drivers) == 0 {
		return nil, fmt.Errorf("model %s: no targets", config.Name)
	}
	m := &Model{config: config, packer: packer, logger: config.Logger, failures: rate.Sometimes{First: 1, Interval: time.Second}}
	if m.logger == nil {
		m.logger = slog.New(slog.DiscardHandler)
	}
	m.logger = m.logger.With("model", config.Name)
	m.spaces.New = func() any { return &workspace{home: &m.spaces} }
	for _, driver := range drivers {
		m.targets = append(m.targets, &target{driver: driver, err: &Error{
			Code: media.BackendUnavailable, Target: driver.Target(), Reason: "not checked yet",
		}})
	}
	return m, nil
}

// Infer runs the frames as one batch on a target, from 0 to Targets()-1, in their order: 1 to MaxBatch frames with payloads of the input's size. Which target is
// the caller's choice; on one that is not ready the batch fails at once. The payloads are read until Infer returns and not after. It returns soon after ctx ends, with BACKEND_TIMEOUT when that was a deadline. The error is always an *Error,
// and a batch fails as a whole: an answer that is wrong in one place is believed in none, and leaves the frames' states as they were.
func (m *Model) Infer(ctx context.Context, target int, frames []Frame) (*Reply, error) {
	if len(frames) < 1 || len(frames) > m.config.MaxBatch {
		return nil, &Error{Code: media.Internal, Reason: fmt.Sprintf("a batch of %d: must be from 1 to %d", len(frames), m.config.MaxBatch)}
	}
	if ctx.Err() != nil {
		return nil, ContextError(ctx)
	}
	t := m.targets[target]
	m.mu.Lock()
	terms, ready := t.terms, t.err == nil
	m.mu.Unlock()
	if !ready {
		return nil, &Error{Code: media.BackendUnavailable, Target: t.driver.Target(), Reason: "the target is not ready"}
	}
	reply, err := m.run(ctx, t.driver, terms, frames)
	if err != nil {
		m.doubt(t, err)
		m.failures.Do(func() {
			m.logger.WarnContext(ctx, "a batch failed; more of the kind are logged once a second", "frames", len(frames), "error", err)
		})
	}
	return reply, err
}

// run gathers a batch, lets a driver infer, and checks the answer against the terms.
func (m *Model) run(ctx context.Context, driver Driver, terms *terms, frames []Frame) (*Reply, error) {
	space := m.spaces.Get().(*workspace)
	space.users.Store(1)
	defer space.leave()
	scatterer, scatters := driver.(Scatterer)
	scatters = scatters && scatterer.Scatters()
	_, gathering := trace.Part(ctx, "gather", oteltrace.SpanKindInternal)
	inputs, err := space.gather(m.packer, terms, frames, m.config.Windows.Rate, scatters) // a gap of a second
	gathering.End()
	if err != nil {
		return nil, &Error{Code: media.Internal, Reason: "the batch cannot be gathered", Err: err}
	}
	output, err := infer(ctx, driver, Request{Inputs: inputs, Pieces: space.pieces, Outputs: terms.outputs, Frames: frames, Keep: space.keep})
	if err != nil {
		return nil, attribute(ctx, driver, err)
	}
	reply := &Reply{frames: len(frames), compute: output.Compute, release: output.Release}
	tensors, err := tensor.Check(output.Tensors, terms.outputs, len(frames))
	if err != nil {
		reply.Release()
		e := Fail(media.BackendProtocol, "the answer is not what the target declares", err.Error())
		e.Target = driver.Target()
		return nil, e
	}
	remember(terms, tensors, frames, m.config.Windows.Hop)
	reply.tensors = tensors[:terms.read]
	return reply, nil
}

// infer has a driver run a batch, whose call is a span of its own where the batch is traced.
func infer(ctx context.Context, driver Driver, request Request) (Output, error) {
	calling, call := trace.Part(ctx, "backend", oteltrace.SpanKindClient)
	output, err := driver.Infer(calling, request)
	if call.IsRecording() {
		call.SetAttributes(trace.TargetKey.String(driver.Target()), trace.BatchSizeKey.Int(len(request.Frames)))
		if err != nil {
			call.SetStatus(codes.Error, CodeOf(attribute(ctx, driver, err)).String())
		}
		call.End()
	}
	return output, err
}

// attribute makes an *Error of whatever a driver gave: with the target's name, and with the context's end as the reason where that is one.
func attribute(ctx context.Context, driver Driver, err error) *Error {
	var e *Error
	switch {
	case ctx.Err() != nil:
		e = ContextError(ctx)
	case !errors.As(err, &e):
		e = &Error{Code: media.Internal, Reason: "the driver failed", Err: err}
	default:
		clone := *e
		e = &clone
	}
	e.Target = driver.Target()
	return e
}

// Close closes the drivers, after the batches in progress.
func (m *Model) Close() error {
	var failures []error
	for _, t := range m.targets {
		failures = append(failures, t.driver.Close())
	}
	return errors.Join(failures...)
}

// Reply is a checked answer for one batch. It is not safe for concurrent use.
type Reply struct {
	frames  int
	compute time.Duration
	tensors []media.RawTensor
	release func()
}

// Frames gives the number of frames.
func (r *Reply) Frames() int { return r.frames }

// Compute gives what the target says that the batch took on the model; 0 when it does not say.
func (r *Reply) Compute() time.Duration { return r.compute }

// Frame gives the outputs for frame i, batch axis removed, in the order of Config.Outputs, or without it in the target's, finite
// throughout. They alias the reply's memory and are valid until Release.
func (r *Reply) Frame(i int) []media.RawTensor {
	outputs := make([]media.RawTensor, len(r.tensors))
	for at, t := range r.tensors {
		outputs[at] = tensor.Frame(t, i)
	}
	return outputs
}

// Release gives the reply's memory back, once the last frame has been read. A second call does nothing.
func (r *Reply) Release() {
	if r.release != nil {
		r.release()
	}
	r.release, r.tensors = nil, nil
}
