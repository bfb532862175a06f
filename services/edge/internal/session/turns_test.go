package session

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestTurnsAreTakenInOrder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		places := make(turns, 1)
		var order []int // guarded by the only turn
		var streams sync.WaitGroup
		for n := range 6 {
			streams.Go(func() {
				one, ok := places.take(t.Context())
				if !ok {
					t.Error("no turn")
					return
				}
				defer one.end()
				order = append(order, n)
				<-time.After(10 * time.Millisecond) // decodes, in virtual time
			})
			synctest.Wait()
		}
		start := time.Now()
		streams.Wait()
		if took := time.Since(start); took != 60*time.Millisecond {
			t.Errorf("six decodes of 10 ms, one at a time, took %s", took)
		}
		if !slices.Equal(order, []int{0, 1, 2, 3, 4, 5}) {
			t.Errorf("order %v", order)
		}
	})
}

// One stream whose decoding takes for ever costs the others a bounded wait, and its turn is given back once.
func TestALongTurnEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		places, start := make(turns, 1), time.Now()
		long, _ := places.take(t.Context())
		next, ok := places.take(t.Context())
		if waited := time.Since(start); !ok || waited != longestTurn {
			t.Errorf("the next turn came after %s, want %s", waited, longestTurn)
		}
		long.end()
		if len(places) != 1 {
			t.Error("a turn that was over was given back again")
		}
		next.end()
		next.end()
		if len(places) != 0 {
			t.Errorf("%d turns are still taken", len(places))
		}
	})
}

func TestNoTurnAfterTheEnd(t *testing.T) {
	t.Parallel()
	places := make(turns, 1)
	one, _ := places.take(t.Context())
	defer one.end()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, ok := places.take(ctx); ok {
		t.Error("a turn although the session ends")
	}
	unbounded, ok := turns(nil).take(ctx)
	if unbounded.end(); !ok {
		t.Error("no turn where nothing bounds them")
	}
}
