package uplink

import (
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/sluice-dev/sluice/pkg/media"
)

// How a loop's calls end, and what comes after them.

// leave half-closes a call that still has to answer for what it got.
func (l *loop) leave(c *call, now time.Time) {
	if len(l.leaving) >= maxLeaving {
		c.cancel()
		return
	}
	close(c.out)
	c.by, c.owed.look = now.Add(finishWithin), time.Time{}
	l.leaving[c] = struct{}{}
}

// abandon gives up a call that failed. Another one is opened after a pause.
func (l *loop) abandon(c *call, reason error, now time.Time) {
	c.cancel()
	if c == l.next {
		l.next = nil
		if l.current != nil {
			l.current.moves = false
			l.pool.place(l.Uplink, l.current.router)
		}
		l.again(reason, now)
		return
	}
	l.lost(c, reason, now)
}

// lost ends the use of the current call.
func (l *loop) lost(c *call, reason error, now time.Time) {
	l.current = nil
	l.pool.place(l.Uplink, "")
	l.undemand(c, everything)
	l.settle(c, now)
	l.mu.Lock()
	l.needs = nil
	drops := l.waiting.clear(media.NoRouter)
	l.mu.Unlock()
	l.giveUp(drops)
	l.pool.metrics.lost.Inc()
	l.handler.Lost(fmt.Errorf("call to the router: %w", reason))
	if l.next == nil {
		l.again(reason, now)
	}
}

// settle lets a call that was good for a while end the row of failed attempts.
func (l *loop) settle(c *call, now time.Time) {
	if !c.drains && now.Sub(c.born) >= steady {
		l.pause.reset()
	}
}

// again has a call opened, at once for the first time and then after a pause that grows.
func (l *loop) again(reason error, now time.Time) {
	if l.pause.attempts == 1 && refusal(reason) {
		l.pool.logger.Warn("the router refuses the session; trying again", "session", l.session, "reason", reason)
	}
	l.openAt = now.Add(l.pause.next())
}

// refusal tells whether an error is one that time alone does not heal.
func refusal(err error) bool {
	switch status.Code(err) {
	case codes.InvalidArgument, codes.NotFound, codes.FailedPrecondition, codes.Unimplemented, codes.PermissionDenied, codes.Unauthenticated:
		return true
	default:
		return errors.Is(err, errProtocol)
	}
}
