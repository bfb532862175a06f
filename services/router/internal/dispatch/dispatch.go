// Package dispatch takes frames through the router: queue, batch, model, answers. It is the one package of the router that knows this order.
//
// One goroutine for each model drives that model's queue and policy, which are single-threaded values behind the model's lock; one goroutine for each
// batch in flight waits for the model. The promise of the package is exactly one outcome for each (frame, model), to the owner of the frame and no later than the
// frame's deadline, whatever a model does: it keeps the deadline itself and throws away what comes later.
package dispatch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-dev/sluice/pkg/batch"
	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/services/router/internal/backend"
	"github.com/sluice-dev/sluice/services/router/internal/reply"
)

// Runner runs batches on one model, which may have several instances, each of which runs its batches one after the other. It is safe for concurrent use.
type Runner interface {
	// Instances gives the number of instances, at least 1. It never changes.
	Instances() int
	// Ready returns nil when an instance, from 0 to Instances()-1, can take a batch. It answers at once.
	Ready(instance int) error
	// Profile gives what batches took on an instance when it was warmed up, before it became ready; nil when that is not known.
	Profile(instance int) []backend.Timing
	// Run runs the frames as one batch on an instance and gives one answer for each, in their order. It should return when ctx ends, which is when the last of the
	// frames' deadlines has passed; until it does return, the batch keeps its slot. It reads the payloads and uses the states until it returns and not after.
	Run(ctx context.Context, instance int, frames []backend.Frame) []reply.Answer
}

// ModelConfig describes one model.
type ModelConfig struct {
	Name string
	// Input is the form of the frames that it takes. Models with equal inputs share frames. Of sound, every window goes to the model, in order and one
	// after the other; of all else the newest of a stream wins.
	Input media.Form
	// Rate is the number of units a second beyond which units of a stream are not due; the edge goes by it. Zero means that all are.
	Rate float64
	// KeyOnly is true when only key frames are due.
	KeyOnly bool
	// Deadline bounds the remaining time that an edge may claim.
	Deadline time.Duration
	// Result is the kind of answer.
	Result string
	// MaxBatch is the largest number of frames in a batch, at least 1.
	MaxBatch int
	// Slots is the number of batches in flight at once on each instance, at least 1.
	Slots int
	// Streams is the number of streams, of all sessions, that may use the model at once, at least 1.
	Streams int
	Runner  Runner
}

// Config configures a dispatcher.
type Config struct {
	// Models have distinct names.
	Models []ModelConfig
	// Policy makes the policy of one model; nil means batch.Fresh.
	Policy func() batch.Policy
	// Observe is told every outcome before its owner is, from any goroutine. It must not block. nil means nobody.
	Observe  func(media.Outcome)
	Registry prometheus.Registerer
	Logger   *slog.Logger
}

// Dispatcher takes frames to models. It is safe for concurrent use.
type Dispatcher struct {
	cfg     Config
	metrics *metrics
	fresh   chan []*model // to Run, which drives them

	// replacing lets one Replace run at a time.
	replacing sync.Mutex

	mu    sync.RWMutex // held for reading while a frame goes to its models, so that none goes to a model after Replace has taken it out
	table *table
}

// New makes a dispatcher. Frames wait until Run.
func New(cfg Config) (*Dispatcher, error) {
	if cfg.Policy == nil {
		cfg.Policy = func() batch.Policy { return batch.NewFresh(batch.Options{}) }
	}
	if cfg.Observe == nil {
		cfg.Observe = func(media.Outcome) {}
	}
	metrics, err := newMetrics(cfg.Registry)
	if err != nil {
		return nil, err
	}
	d := &Dispatcher{cfg: cfg, metrics: metrics, fresh: make(chan []*model)}
	if d.table, _, err = d.build(&table{}, cfg.Models); err != nil {
		return nil, err
	}
	return d, cfg.Registry.Register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "sluice_router_pressure",
		Help: "The largest sluice_router_model_pressure of the models that are served now: above 1, more is asked of this router than it can answer in time.",
	}, d.pressure))
}

// pressure gives that of the model that is asked for the most of what it can do.
func (d *Dispatcher) pressure() float64 {
	most := 0.0
	for _, m := range d.now().models {
		m.mu.Lock()
		most = max(most, m.scales.pressure)
		m.mu.Unlock()
	}
	return most
}

// lineOf gives the number of windows of one stream that may wait for a model: as many as begin within its deadline.
func lineOf(c ModelConfig) int {
	sound := c.Input.Sound
	windows := (c.Deadline.Seconds()*float64(sound.Rate) + float64(sound.Hop) - 1) / float64(sound.Hop)
	return max(1, int(windows))
}

// Models describes the models as they are now, by name.
func (d *Dispatcher) Models() []media.Model {
	t := d.now()
	models := make([]media.Model, 0, len(t.models))
	for _, m := range t.models {
		models = append(models, m.describe())
	}
	return models
}

// Knows tells whether there is a model of a name, or was one since the start.
func (d *Dispatcher) Knows(name string) bool { return d.now().find(name) != nil }

// Inputs gives the inputs of the models. An id stands for the same input for as long as any model takes that, and is not used again after.
func (d *Dispatcher) Inputs() []media.Input { return slices.Clone(d.now().inputs) }

// Ready tells which models are not ready, nil when all are.
func (d *Dispatcher) Ready() error {
	var errs []error
	for _, m := range d.now().models {
		if err := m.ready(); err != nil {
			errs = append(errs, fmt.Errorf("model %s: %w", m.cfg.Name, err))
		}
	}
	return errors.Join(errs...)
}

// Totals gives the counts of each model since the start, by name, those of models that have been taken out too.
func (d *Dispatcher) Totals() []media.ModelCounts { return d.now().totals() }

func (d *Dispatcher) now() *table {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.table
}

// Submit takes over a frame, which the caller must not look at again. Each model that it is due for must be, or have been, one of Models, named once, and take the frame's input, or have taken it; the payload must
// have that input's size. The caller has checked this. For a model that takes another input by now the frame is EXPIRED, for one that is gone it is DRAINING.
func (d *Dispatcher) Submit(f *Frame) {
	input := f.InputID
	d.each(f, func(m *model, j *job) {
		if m.inputID != input {
			m.drop(j, media.Expired)
			return
		}
		m.submit(j)
	})
}

// Drop takes over a frame only to end it with a reason, for each model that it is due for. The rules of Submit hold, but for input and payload.
func (d *Dispatcher) Drop(f *Frame, reason media.DropReason) {
	d.each(f, func(m *model, j *job) { m.drop(j, reason) })
}

// each shares a frame among the models that it is due for, and must not look at it again once the last has its job: it may be over by then. A model that is not known is a
// defect of the caller; it costs its own frame only.
func (d *Dispatcher) each(f *Frame, do func(*model, *job)) {
	f.begin()
	d.mu.RLock()
	defer d.mu.RUnlock()
	jobs := f.jobs
	for i, due := range f.Due {
		if m := d.table.find(due.Model); m != nil {
			do(m, &jobs[i])
			continue
		}
		o := f.outcome(due.Model)
		o.Error = media.Internal
		f.Owner.Ended(f, o)
		f.Release()
	}
}

// Forget ends what waits of an owner's stream as EXPIRED, for nobody is left to answer by the deadline, and forgets the service that the stream had and what recurrent
// models remember of it. What is in flight ends as if nothing had happened.
func (d *Dispatcher) Forget(owner Owner, stream string) {
	for _, m := range d.now().models {
		m.forget(lane{owner, stream})
	}
}

// Run drives the models, also those that Replace brings, until ctx ends, then gives up what is left. It returns an error when batches never came back from
// their runner.
func (d *Dispatcher) Run(ctx context.Context) error {
	var running sync.WaitGroup
	var mu sync.Mutex
	var errs []error
	models := d.now().models
	for {
		for _, m := range models {
			running.Go(func() {
				defer close(m.over)
				if m.err = m.run(ctx); m.err != nil {
					mu.Lock()
					defer mu.Unlock()
					errs = append(errs, m.err)
				}
			})
		}
		select {
		case models = <-d.fresh:
		case <-ctx.Done():
			running.Wait()
			return errors.Join(errs...)
		}
	}
}
