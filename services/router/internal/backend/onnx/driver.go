package onnx

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"sync"

	ort "github.com/yalue/onnxruntime_go"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/pkg/tensor"
	"github.com/sluice-dev/sluice/services/router/internal/backend"
)

// Config says what to run and how.
type Config struct {
	// Path is the model's file.
	Path string
	// Threads is how many threads one batch may use; 0 means 1. More make a batch shorter and its sum of work larger, on cores that decoders
	// need as well.
	Threads int
}

// Driver runs one model file. See [backend.Driver].
type Driver struct {
	path        string
	description backend.Description

	// open is held for reading by each call into the session, and for writing by Close.
	open    sync.RWMutex
	session *ort.DynamicAdvancedSession // nil once closed
}

// Open reads a model's file. The runtime must outlive the driver.
func (*Runtime) Open(config Config) (*Driver, error) {
	if config.Threads < 0 {
		return nil, fmt.Errorf("model %s: %d threads: must be at least 1", config.Path, config.Threads)
	}
	if _, err := os.Stat(config.Path); err != nil {
		return nil, fmt.Errorf("the model's file: %w", err)
	}
	options, err := sessionOptions(max(config.Threads, 1))
	if err != nil {
		return nil, fmt.Errorf("model %s: %w", config.Path, err)
	}
	defer func() { _ = options.Destroy() }() // the session has its own copy
	inputs, outputs, err := ort.GetInputOutputInfoWithOptions(config.Path, options)
	if err != nil {
		return nil, fmt.Errorf("model %s cannot be read: %w", config.Path, err)
	}
	d := &Driver{path: config.Path, description: backend.Description{Inputs: specs(inputs), Outputs: specs(outputs)}}
	d.session, err = ort.NewDynamicAdvancedSession(config.Path, names(d.description.Inputs), names(d.description.Outputs), options)
	if err != nil {
		return nil, fmt.Errorf("model %s cannot be loaded: %w", config.Path, err)
	}
	return d, nil
}

func sessionOptions(threads int) (*ort.SessionOptions, error) {
	options, err := ort.NewSessionOptions()
	if err != nil {
		return nil, err
	}
	err = errors.Join(
		options.SetIntraOpNumThreads(threads),
		options.SetInterOpNumThreads(1),
		options.SetExecutionMode(ort.ExecutionModeSequential),
		// Its warnings are advice to whoever exported the model.
		options.SetLogSeverityLevel(ort.LoggingLevelError),
		// Threads that wait for work must not spin: the cores are the decoders' too.
		options.AddSessionConfigEntry("session.intra_op.allow_spinning", "0"),
		// Batches are of many sizes, and a pattern is planned anew for each: that costs the first batch of a size more than it ever saves.
		options.SetMemPattern(false),
	)
	if err != nil {
		return nil, errors.Join(err, options.Destroy())
	}
	return options, nil
}

// Target gives the model's path.
func (d *Driver) Target() string { return d.path }

// Describe gives what the file declares.
func (d *Driver) Describe(context.Context) (backend.Description, error) { return d.description, nil }

// Ready fails only once the driver is closed.
func (d *Driver) Ready(context.Context) error {
	d.open.RLock()
	defer d.open.RUnlock()
	if d.session == nil {
		return errClosed()
	}
	return nil
}

func errClosed() error {
	return &backend.Error{Code: media.BackendUnavailable, Reason: "the model is closed"}
}

// Infer runs one batch on the calling goroutine. When ctx ends the runtime stops before its next operator, a millisecond or so.
func (d *Driver) Infer(ctx context.Context, request backend.Request) (backend.Output, error) {
	d.open.RLock()
	defer d.open.RUnlock()
	if d.session == nil {
		return backend.Output{}, errClosed()
	}
	if ctx.Err() != nil {
		return backend.Output{}, backend.ContextError(ctx)
	}
	// The runtime keeps the addresses for the length of the run.
	var pin runtime.Pinner
	defer pin.Unpin()
	inputs, err := d.inputs(request.Inputs, &pin)
	defer destroy(inputs)
	if err != nil {
		return backend.Output{}, &backend.Error{Code: media.Internal, Reason: "the batch cannot be given to the runtime", Err: err}
	}
	results := make([]ort.Value, len(d.description.Outputs))
	if err := d.run(ctx, inputs, results); err != nil {
		if ctx.Err() != nil {
			return backend.Output{}, backend.ContextError(ctx)
		}
		return backend.Output{}, backend.Fail(media.BackendRejected, "the runtime could not run the batch", err.Error())
	}
	return d.collect(results, request.Outputs)
}

// inputs wraps the tensors in the model's order. The values must be destroyed, also when there is an error.
func (d *Driver) inputs(tensors []media.RawTensor, pin *runtime.Pinner) ([]ort.Value, error) {
	values := make([]ort.Value, 0, len(d.description.Inputs))
	for _, spec := range d.description.Inputs {
		at := slices.IndexFunc(tensors, func(t media.RawTensor) bool { return t.Name == spec.Name })
		if at < 0 {
			return values, fmt.Errorf("there is no tensor for input %s", spec.Name)
		}
		value, err := wrap(tensors[at], pin)
		if err != nil {
			return values, fmt.Errorf("input %s: %w", spec.Name, err)
		}
		values = append(values, value)
	}
	return values, nil
}

func destroy(values []ort.Value) {
	for _, v := range values {
		_ = v.Destroy() // for what wrap makes it never fails
	}
}

// run fills results, of which each must be destroyed.
func (d *Driver) run(ctx context.Context, inputs, results []ort.Value) error {
	options, err := ort.NewRunOptions()
	if err != nil {
		return err
	}
	defer func() { _ = options.Destroy() }() // it fails only for a second time
	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(stopped)
		// It fails only for options that are gone, and these stay until stopped is closed.
		_ = options.Terminate()
	})
	err = d.session.RunWithOptions(inputs, results, options)
	if !stop() {
		<-stopped
	}
	return err
}

// collect takes the wanted tensors out of the results and destroys these. The tensors' memory is Go's own.
func (d *Driver) collect(results []ort.Value, wanted []tensor.Declared) (backend.Output, error) {
	var output backend.Output
	var failures []error
	for i, spec := range d.description.Outputs {
		if slices.ContainsFunc(wanted, func(w tensor.Declared) bool { return w.Name == spec.Name }) {
			t, err := unwrap(spec.Name, results[i])
			output.Tensors = append(output.Tensors, t)
			failures = append(failures, err)
		}
		failures = append(failures, results[i].Destroy())
	}
	if err := errors.Join(failures...); err != nil {
		return backend.Output{}, &backend.Error{Code: media.Internal, Reason: "the runtime's answer cannot be taken", Err: err}
	}
	return output, nil
}

// Close frees the session after the batches in progress.
func (d *Driver) Close() error {
	d.open.Lock()
	defer d.open.Unlock()
	if d.session == nil {
		return nil
	}
	err := d.session.Destroy()
	d.session = nil
	return err
}
