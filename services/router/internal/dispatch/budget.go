package dispatch

import "time"

const (
	// budgetSeconds is the window over which batches are counted.
	budgetSeconds = 10
	// budgetShare is the part of the batches sent that may be run again, and budgetFew how many may be when hardly any were sent.
	budgetShare, budgetFew = 0.1, 3
)

// budget bounds how many batches of a model are run again, for a model that is in trouble must not get more work for it. It is a single-threaded value; the zero
// one is ready.
type budget struct {
	seconds [budgetSeconds]struct{ sent, again int }
	newest  int64 // second since 1970 whose counts are in seconds[newest%budgetSeconds]
}

// sent counts a batch of new frames.
func (b *budget) sent(now time.Time) {
	b.advance(now)
	b.seconds[b.newest%budgetSeconds].sent++
}

// affords tells whether a batch may be run again.
func (b *budget) affords(now time.Time) bool {
	b.advance(now)
	sent, again := 0, 0
	for _, s := range b.seconds {
		sent, again = sent+s.sent, again+s.again
	}
	return float64(again+1) <= budgetShare*float64(sent)+budgetFew
}

// again tells whether a batch may be run again, and takes it that it is.
func (b *budget) again(now time.Time) bool {
	if !b.affords(now) {
		return false
	}
	b.seconds[b.newest%budgetSeconds].again++
	return true
}

// advance forgets what is too long ago.
func (b *budget) advance(now time.Time) {
	second := now.Unix()
	for b.newest = max(b.newest, second-budgetSeconds); b.newest < second; {
		b.newest++
		b.seconds[b.newest%budgetSeconds] = struct{ sent, again int }{}
	}
}
