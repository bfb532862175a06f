package backend

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/sluice-dev/sluice/pkg/media"
)

// target is a driver and what is known of it. Model.mu guards the rest.
type target struct {
	driver Driver
	// checks lets one check of the target run at a time.
	checks sync.Mutex
	// terms is what the target agreed to; nil until it did, and again when it has gone since.
	terms *terms
	// doubted is true from an answer that does not fit the terms until the target has described its model again: another version may have taken its place.
	doubted bool
	// err says why the target is not ready; nil when it is.
	err error
}

const (
	// watchInterval is the time between checks.
	watchInterval = time.Second
	// readyTimeout bounds one question for readiness.
	readyTimeout = 2 * time.Second
)

// Targets gives the number of targets. It never changes.
func (m *Model) Targets() int { return len(m.targets) }

// Ready returns what the last Check found about a target, from 0 to Targets()-1, without asking again. Before the first Check none is ready.
func (m *Model) Ready(target int) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.targets[target].err
}

// Profile gives what batches took on a target when it was warmed up, smallest batch first; nil while the target is not ready. The caller may keep it.
func (m *Model) Profile(target int) []Timing {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.targets[target].terms == nil {
		return nil
	}
	return slices.Clone(m.targets[target].terms.profile)
}

// Available returns nil when at least one target is ready, else why: a *Mismatch, which will not pass by itself, before the *Error of a target that may
// come up later.
func (m *Model) Available() error {
	m.mu.Lock()
	defer m.mu.Unlock()
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

// Check asks every target whether it is ready. A target that is new, that was away, or whose model has changed is compared with the configuration and warmed up
// with batches of every size class, so that the first real batch is neither the first of its shape nor the one that shows that nothing fits. It returns
// what Available says then.
func (m *Model) Check(ctx context.Context) error {
	var all sync.WaitGroup
	for _, t := range m.targets {
		all.Go(func() { m.checkTarget(ctx, t) })
	}
	all.Wait()
	return m.Available()
}

// Watch checks each target every second until ctx ends, one independently of the others: warming one up may take long. Run it in a goroutine of its own; changes of
// readiness are logged.
func (m *Model) Watch(ctx context.Context) {
	var all sync.WaitGroup
	for _, t := range m.targets {
		all.Go(func() { m.watchTarget(ctx, t) })
	}
	all.Wait()
}

func (m *Model) watchTarget(ctx context.Context, t *target) {
	ticker := time.NewTicker(watchInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			m.checkTarget(ctx, t)
		}
	}
}

func (m *Model) checkTarget(ctx context.Context, t *target) {
	t.checks.Lock()
	defer t.checks.Unlock()
	err := m.ask(ctx, t)
	if ctx.Err() != nil {
		return // nothing was learnt
	}
	m.mu.Lock()
	before := t.err
	t.err = err
	if err != nil && CodeOf(err) != media.BackendTimeout { // What is only slow has not forgotten the model.
		t.terms, t.doubted = nil, false
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
	agreed, doubted := t.terms, t.doubted
	m.mu.Unlock()
	if agreed != nil && !doubted {
		return nil
	}
	description, err := t.driver.Describe(short)
	if err != nil {
		return attribute(short, t.driver, err)
	}
	terms := agreed
	if agreed == nil || !agreed.described.equal(description) {
		if terms, err = m.agree(t.driver.Target(), description); err != nil {
			return err
		}
		if terms.profile, err = m.warm(ctx, t.driver, terms); err != nil {
			return err
		}
	}
	m.mu.Lock()
	t.terms, t.doubted = terms, false
	m.mu.Unlock()
	return nil
}

// doubt has a target describe its model again at the next check, when an answer is of a kind that another model would give.
func (m *Model) doubt(t *target, err error) {
	if code := CodeOf(err); code != media.BackendProtocol && code != media.BackendRejected {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	t.doubted = true
}
