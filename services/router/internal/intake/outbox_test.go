package intake

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/sluice-dev/sluice/pkg/media"
)

// TestOutboxAgainstAModel compares an outbox with plain slices: drain and opened, the newest demands, then the newest outcomes in order, then the credits, every outcome taken or lost exactly once.
func TestOutboxAgainstAModel(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		limit := rapid.IntRange(1, 20).Draw(t, "limit")
		lost := 0
		b := newOutbox(limit, func(n int) { lost += n })
		var outcomes []uint32
		var order []creditKey
		credits := map[creditKey]uint32{}
		drains, added, taken := false, uint32(0), 0
		reopens := false
		demands := map[demandKey]media.Demand{}
		t.Repeat(map[string]func(*rapid.T){
			"outcome": func(*rapid.T) {
				added++
				b.add(media.Outcome{Sequence: added})
				if outcomes = append(outcomes, added); len(outcomes) > limit {
					outcomes = outcomes[1:]
				}
			},
			"credit": func(t *rapid.T) {
				key := creditKey{rapid.SampledFrom([]string{"a", "b"}).Draw(t, "stream"), rapid.Uint32Range(1, 2).Draw(t, "input")}
				b.credit(key)
				if credits[key]++; credits[key] == 1 {
					order = append(order, key)
				}
			},
			"demand": func(t *rapid.T) {
				d := media.Demand{
					Stream: rapid.SampledFrom([]string{"a", "b"}).Draw(t, "stream"), Model: rapid.SampledFrom([]string{"m", "n"}).Draw(t, "model"),
					MaxFramerate: rapid.Float64Range(0, 30).Draw(t, "rate"),
				}
				b.demand(d)
				demands[demandKey{d.Stream, d.Model}] = d
			},
			"drain": func(*rapid.T) {
				drains = drains || !b.toldDrain
				b.drain(time.Now())
			},
			"reopen": func(*rapid.T) {
				reopens = true
				b.reopen()
			},
			"take": func(t *rapid.T) {
				l, found, more := b.take()
				switch {
				case !more:
					t.Fatal("the outbox ended by itself")
				case drains:
					if !l.drain {
						t.Fatalf("took %+v, want drain first", l)
					}
					drains = false
				case reopens:
					if !l.opened {
						t.Fatalf("took %+v, want opened", l)
					}
					reopens = false
				case len(demands) > 0:
					if l.demand == nil || demands[demandKey{l.demand.Stream, l.demand.Model}] != *l.demand {
						t.Fatalf("took %+v, want one of %+v", l, demands)
					}
					delete(demands, demandKey{l.demand.Stream, l.demand.Model})
				case len(outcomes) > 0:
					if l.outcome == nil || l.outcome.Sequence != outcomes[0] {
						t.Fatalf("took %+v, want outcome %d", l, outcomes[0])
					}
					outcomes = outcomes[1:]
					taken++
				case len(order) > 0:
					if l.credit == nil || l.credit.creditKey != order[0] || l.credit.frames != credits[order[0]] {
						t.Fatalf("took %+v, want %d frames of %+v", l, credits[order[0]], order[0])
					}
					delete(credits, order[0])
					order = order[1:]
				case found:
					t.Fatalf("took %+v, want nothing", l)
				}
			},
			"": func(t *rapid.T) {
				if taken+lost+len(outcomes) != int(added) {
					t.Fatalf("%d taken, %d lost, %d wait of %d", taken, lost, len(outcomes), added)
				}
			},
		})
		b.close()
		b.add(media.Outcome{})
		if lost != int(added)+1-taken {
			t.Fatalf("%d lost at the end of %d, %d taken", lost, added+1, taken)
		}
		if _, more := b.next(context.Background()); more {
			t.Fatal("a closed outbox gave something")
		}
	})
}

func TestOutboxNextWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newOutbox(4, func(int) {})
		got := make(chan letter, 1)
		next := func() {
			l, more := b.next(t.Context())
			if !more {
				close(got)
				return
			}
			got <- l
		}
		go next()
		synctest.Wait()
		b.add(media.Outcome{Sequence: 3})
		if l := <-got; l.outcome == nil || l.outcome.Sequence != 3 {
			t.Errorf("next gave %+v, want outcome 3", l)
		}
		b.add(media.Outcome{Sequence: 4})
		b.finish()
		next()
		if l := <-got; l.outcome == nil || l.outcome.Sequence != 4 {
			t.Errorf("next gave %+v, want outcome 4: finish loses nothing", l)
		}
		go next()
		if l, more := <-got; more {
			t.Errorf("next gave %+v after the last", l)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if l, more := newOutbox(1, nil).next(ctx); more {
			t.Errorf("next gave %+v though its context is over", l)
		}
	})
}

func TestOutboxBoundsCredits(t *testing.T) {
	t.Parallel()
	b := newOutbox(1, nil)
	for i := range uint32(2 * maxCredits) {
		b.credit(creditKey{"camera", i})
	}
	if len(b.credits) != maxCredits || len(b.order) != maxCredits {
		t.Errorf("%d credits wait, want %d", len(b.credits), maxCredits)
	}
}
