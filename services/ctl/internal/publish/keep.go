package publish

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/sluice-dev/sluice/services/ctl/internal/whip"
)

const (
	// attemptLimit bounds one attempt to make another session.
	attemptLimit = 5 * time.Second
	// handover is how long a session goes on at the most beside the one that takes its place, until that has its first outcome.
	handover = 2 * time.Second
	// stable is how long a session lasts that counts as one that stood.
	stable = 5 * time.Second
)

// keep publishes on one session after another until the duration is over or ctx ends. A session's successor is made while the session goes on, where its edge leaves the time. All
// goroutines of that are started and joined here.
func (p *publisher) keep(ctx context.Context) error {
	var visits sync.WaitGroup
	defer visits.Wait()
	begin := func(v *visit) (stop context.CancelFunc) {
		live, stop := context.WithCancel(ctx)
		visits.Go(func() { v.attend(live); stop() })
		visits.Go(v.watch)
		return stop
	}
	var wait backoff
	starting, cancel := context.WithTimeout(ctx, max(p.cfg.Duration, connectLimit))
	current, err := p.again(starting, &wait, connectLimit)
	cancel()
	if err != nil {
		return err
	}
	sending, cancel := context.WithTimeout(ctx, p.cfg.Duration)
	defer cancel()
	for stop := begin(current); ; {
		began := time.Now()
		if current.lasts(sending) {
			<-current.over.happened
			return current.failure
		}
		if time.Since(began) >= stable {
			wait = backoff{}
		}
		next, err := p.again(sending, &wait, attemptLimit)
		if err != nil {
			stop()
			<-current.over.happened
			if sending.Err() != nil && current.failure == nil {
				return nil // It had no time to move, but went on where it was.
			}
			return fmt.Errorf("the session did not come back: %w", err)
		}
		before, stopBefore := current, stop
		current, stop = next, begin(next)
		visits.Go(func() { before.giveWay(next); stopBefore() })
	}
}

// again asks one edge after the other for a session, each attempt for as long as limit, until one is made, ctx ends or an edge refuses for good.
func (p *publisher) again(ctx context.Context, wait *backoff, limit time.Duration) (*visit, error) {
	var last error
	var asked time.Duration
	for {
		select {
		case <-time.After(wait.next(asked)):
		case <-ctx.Done():
		}
		for i := range p.cfg.Edges {
			if ctx.Err() != nil {
				return nil, cmp.Or(last, ctx.Err())
			}
			attempt, cancel := context.WithTimeout(ctx, limit)
			v, err := p.visit(attempt, p.next())
			cancel()
			if err == nil {
				return v, nil
			}
			last = err
			refusal := &whip.Problem{}
			if errors.As(err, &refusal) && refusal.Final() {
				return nil, err
			}
			if i == 0 || refusal.RetryAfter < asked { // the one that takes it soonest
				asked = refusal.RetryAfter
			}
		}
	}
}

// attend publishes on a session until its end and keeps what is wrong with that.
func (v *visit) attend(ctx context.Context) {
	defer v.over.happen()
	v.failure = v.run(ctx)
}

// lasts waits until the session is lost, which is false, or all has been sent.
func (v *visit) lasts(sending context.Context) bool {
	select {
	case <-v.lost.happened:
		return sending.Err() != nil
	case <-v.sent.happened:
	case <-sending.Done():
	}
	return true
}

// giveWay returns when another session that was made in the place of this one works.
func (v *visit) giveWay(next *visit) {
	limit := time.NewTimer(handover)
	defer limit.Stop()
	select {
	case <-next.first.happened:
	case <-next.over.happened:
	case <-v.over.happened:
	case <-limit.C:
	}
}
