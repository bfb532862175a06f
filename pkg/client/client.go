// Package client tells a back end what became of media: all messages of one session, over an edge's public HTTP (Server-Sent Events), and the outcomes of
// everything that passes an edge or a router, over gRPC. Both are iterators that go on over lost connections and restarts.
//
//	edge := client.Edge{URL: "https://edge.example", Token: token}
//	for event, err := range edge.Follow(ctx, session, client.FromStart) {
//		if err != nil {
//			return err
//		}
//		if outcome := event.Message.GetOutcome(); outcome.GetResult() != nil {
//			fmt.Println(outcome.GetStream(), outcome.GetSequence(), outcome.GetResult().GetDetections())
//		}
//	}
//
// It starts no goroutine that outlives the loop around an iterator.
package client

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
)

// A service that cannot be reached is tried again after pauses that double from the first to the longest, and given up when it stayed away for patience.
const (
	firstPause   = 500 * time.Millisecond
	longestPause = 10 * time.Second
	patience     = time.Minute
)

// Problem is an edge's refusal (RFC 9457).
type Problem struct { //nolint:errname // RFC 9457's word for it
	// Status is the HTTP status.
	Status int `json:"status"`
	// Code is stable and for machines: SESSION_NOT_FOUND, UNAUTHORIZED, ….
	Code string `json:"code"`
	// Detail is for people: what was wrong, where, and what to do.
	Detail string `json:"detail"`
}

// Error implements error.
func (p *Problem) Error() string {
	return fmt.Sprintf("the edge refused with %d %s: %s", p.Status, p.Code, p.Detail)
}

// problemOf reads a refusal's body, which a proxy may have written.
func problemOf(status int, body []byte) *Problem {
	p := &Problem{}
	if json.Unmarshal(body, p) != nil || p.Code == "" {
		p.Code, p.Detail = "UNKNOWN", strings.TrimSpace(string(body[:min(len(body), maxProblem)]))
	}
	p.Status = status
	return p
}

// outage is the time since a service was last reached. Its zero value says that it is there.
type outage struct {
	since time.Time
	pause time.Duration
}

// over ends the outage.
func (o *outage) over() { *o = outage{} }

// wait waits before the next attempt, for atLeast where the service asked for that. It gives the error that the last attempt ended with when that was one too many, and ctx's when
// that has ended.
func (o *outage) wait(ctx context.Context, last error, atLeast time.Duration) error {
	now := time.Now()
	if o.since.IsZero() {
		o.since, o.pause = now, firstPause
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if now.Sub(o.since) >= patience {
		return fmt.Errorf("given up after %v: %w", patience, last)
	}
	pause := max(atLeast, o.pause/2+rand.N(o.pause)) //nolint:gosec // spreading load needs no secrecy
	o.pause = min(2*o.pause, longestPause)
	timer := time.NewTimer(min(pause, patience))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
