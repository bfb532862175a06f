package session

import (
	"context"
	"runtime"
	"sync/atomic"
	"time"
)

const (
	// turnsPerCore keeps every core busy while requests and pictures are on their way between the edge and its decoders.
	turnsPerCore = 2
	// longestTurn bounds how long a stream may keep others waiting; a decode that takes longer goes on without its turn.
	longestTurn = 50 * time.Millisecond
)

// turns lets the streams of all sessions decode wanted pictures a few at a time, first come, first served. Where there are more streams than the machine can take,
// one after the other is done soon; all at once, each would be done late, and what is too late would be found out only after its decoding. So what waits, waits
// where it can still be given up.
//
// A nil turns bounds nothing. It is safe for concurrent use.
type turns chan struct{}

func newTurns() turns { return make(turns, turnsPerCore*runtime.GOMAXPROCS(0)) }

// take waits for a turn, no longer than longestTurn for each of the streams before it. It returns false when ctx ended first; else end must be called.
func (t turns) take(ctx context.Context) (*turn, bool) {
	if t == nil {
		return nil, true
	}
	select {
	case t <- struct{}{}:
	case <-ctx.Done():
		return nil, false
	}
	one := &turn{turns: t}
	one.limit = time.AfterFunc(longestTurn, one.giveBack)
	return one, true
}

// turn is one stream's. A nil one is of a nil turns.
type turn struct {
	turns turns
	limit *time.Timer
	given atomic.Bool
}

// end gives the turn back. A second call does nothing.
func (t *turn) end() {
	if t != nil {
		t.limit.Stop()
		t.giveBack()
	}
}

func (t *turn) giveBack() {
	if !t.given.Swap(true) {
		<-t.turns
	}
}
