package backend

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/sluice-dev/sluice/pkg/media"
)

// target is a driver and what is known of it. Model.mu guards the rest.
type target struct {
	driver Driver
	// terms is what the target agreed to; nil until it did, and again when it was not ready since.
	terms *terms
	// err says why the target is not ready; nil when it is.
	err error
	// refused is true from an inference that did not reach the target until one that did or the next check: such a target is asked last.
	refused bool
	busy    int // batches in progress
}

const (
	// watchInterval is the time between checks.
	watchInterval = time.Second
	// readyTimeout bounds one question for readiness.
	readyTimeout = 2 * time.Second
	// trialTimeout bounds a first contact: servers compile and allocate on a model's first batches.
	trialTimeout = 60 * time.Second
)

// acquire chooses a ready target: one that did not refuse lately before one that did, then the least busy, then in turn.
func (m *Model) acquire() (*target, *terms, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var best *target
	for i := range m.targets {
		t := m.targets[(m.turn+i)%len(m.targets)]
		if t.err != nil {
			continue
		}
		if best == nil || best.refused && !t.refused || best.refused == t.refused && t.busy < best.busy {
			best = t
		}
	}
	if best == nil {
		return nil, nil, &Error{Code: media.BackendUnavailable, Reason: "no target is ready"}
	}
	m.turn = (m.turn + 1) % len(m.targets)
	best.busy++
	return best, best.terms, nil
}

// release notes the end of a batch on a target.
func (m *Model) release(t *target, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	t.busy--
	t.refused = CodeOf(err) == media.BackendUnavailable && !errors.Is(err, context.Canceled)
}

// Ready returns what the last Check found, without asking again: nil when at least one target is ready. Before the first Check a model is
// not ready.
func (m *Model) Ready() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.verdict()
}

// verdict sums the targets up: nil before a mismatch before any other error. Model.mu is held.
func (m *Model) verdict() error {
	var first error
	for _, t := range m.targets {
		if t.err == nil {
			return nil
		}
		var mismatch *Mismatch
		if first == nil || errors.As(t.err, &mismatch) && !errors.As(first, &mismatch) {
			first = t.err
		}
	}
	return first
}

// Check asks every target whether it is ready. A target that was not ready before is compared with the configuration and given trial batches
// of the least and the largest size, so that the first real batch is neither the first of its shape nor the one that shows that nothing
// fits. It returns nil when at least one target is ready, else a *Mismatch when a target serves something else than is configured (waiting
// will not help: one of the two is wrong), else the *Error of a target, which may come up later.
func (m *Model) Check(ctx context.Context) error {
	m.checks.Lock()
	defer m.checks.Unlock()
	var all sync.WaitGroup
	for _, t := range m.targets {
		all.Go(func() { m.checkTarget(ctx, t) })
	}
	all.Wait()
	return m.Ready()
}

// Watch calls Check every second until ctx ends. Run it in a goroutine of its own; changes of readiness are logged.
func (m *Model) Watch(ctx context.Context) {
	ticker := time.NewTicker(watchInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			// What it finds is kept in the targets.
			_ = m.Check(ctx)
		}
	}
}

func (m *Model) checkTarget(ctx context.Context, t *target) {
	err := m.ask(ctx, t)
	if ctx.Err() != nil {
		return // nothing was learnt
	}
	m.mu.Lock()
	before := t.err
	t.err, t.refused = err, false
	if err != nil {
		t.terms = nil
	}
	m.mu.Unlock()
	switch {
	case err == nil && before != nil:
		m.logger.Info("target is ready", "target", t.driver.Target())
	case err != nil && (before == nil || before.Error() != err.Error()):
		m.logger.Warn("target is not ready", "target", t.driver.Target(), "error", err)
	}
}

// ask finds out whether a target can take batches, and agrees with it on terms where that is not done yet.
func (m *Model) ask(ctx context.Context, t *target) error {
	short, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	if err := t.driver.Ready(short); err != nil {
		return attribute(short, t.driver, err)
	}
	m.mu.Lock()
	agreed := t.terms != nil
	m.mu.Unlock()
	if agreed {
		return nil
	}
	description, err := t.driver.Describe(short)
	if err != nil {
		return attribute(short, t.driver, err)
	}
	terms, err := m.agree(t.driver.Target(), description)
	if err != nil {
		return err
	}
	if err := m.try(ctx, t.driver, terms); err != nil {
		return err
	}
	m.mu.Lock()
	t.terms = terms
	m.mu.Unlock()
	return nil
}

// try runs frames without content, one and as many as a batch may hold. Inputs of which no frame is known to be good are not tried.
func (m *Model) try(ctx context.Context, driver Driver, terms *terms) error {
	if m.packer.Sample() == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, trialTimeout)
	defer cancel()
	frames := make([]Frame, m.config.MaxBatch)
	for i := range frames {
		frames[i].Frame = &media.Frame{Payload: m.packer.Sample()}
	}
	for _, n := range []int{1, m.config.MaxBatch} {
		reply, err := m.run(ctx, driver, terms, frames[:n])
		if err != nil {
			return err
		}
		reply.Release()
	}
	return nil
}
