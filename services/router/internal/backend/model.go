package backend

import (
	"context"
	"log/slog"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/pkg/tensor"
)

// Config says what a model takes and how it may be used.
type Config struct {
	// Name is the model's name in this router, for errors and logs.
	Name string
	// InputName names the model's input tensor; empty when the model has only one.
	InputName string
	// Input says how payloads become the input tensor.
	Input tensor.Picture
	// MaxBatch is the largest number of frames in a batch, at least 1.
	MaxBatch int
	// Accept tells whether the served outputs suit whoever reads them; nil accepts all. Its error is shown as part of a Mismatch.
	Accept func(outputs []media.TensorSpec) error
	// Logger takes what targets say when they fail and when they come and go.
	Logger *slog.Logger
}

// Model runs batches on the targets of one model. It is safe for concurrent use.
type Model struct{}

// New makes a model of at least one target and takes over the drivers. No target is called yet: Check does that.
func New(config Config, drivers ...Driver) (*Model, error) { panic("not yet") }

// Check asks every target whether it is ready. A target that is seen for the first time is compared with the configuration and given a
// trial batch of the largest size, so that the first real batch is neither the first of its shape nor the one that shows that nothing fits. It
// returns nil when at least one target is ready, a *Mismatch when a target serves something else (wait no longer: the configuration
// is wrong), and otherwise the *Error of a target, which may come up later.
func (m *Model) Check(ctx context.Context) error { panic("not yet") }

// Watch calls Check about every second until ctx ends. Run it in a goroutine of its own; a change of readiness is logged.
func (m *Model) Watch(ctx context.Context) { panic("not yet") }

// Ready returns what the last Check found, without asking again. Before the first Check a model is not ready.
func (m *Model) Ready() error { panic("not yet") }

// Infer runs the payloads as one batch, in their order: 1 to MaxBatch payloads of the input's size. The payloads are read until Infer
// returns and not after. It returns when ctx ends at the latest, with BACKEND_TIMEOUT. The error is always an *Error, and a batch fails
// as a whole: an answer that is wrong in one place is believed in none.
func (m *Model) Infer(ctx context.Context, payloads [][]byte) (*Reply, error) { panic("not yet") }

// Close closes the drivers, after the batches in progress.
func (m *Model) Close() error { panic("not yet") }

// Reply is a checked answer for one batch.
type Reply struct {
	frames  int
	tensors []media.RawTensor
	release func()
}

// Frames gives the number of frames: the number of payloads.
func (r *Reply) Frames() int { return r.frames }

// Frame gives the outputs for payload i, batch axis removed, in the order in which the target describes its outputs, finite throughout.
// They alias the reply's memory and are valid until Release.
func (r *Reply) Frame(i int) []media.RawTensor { panic("not yet") }

// Release gives the reply's memory back. Call it once, when the last frame has been read.
func (r *Reply) Release() { panic("not yet") }
