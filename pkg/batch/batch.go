// Package batch decides which of a model's waiting frames go to it next, and which are not worth sending any more.
//
// The decision is a function of what waits, the time and what was observed so far; it starts nothing and sends nothing. A [Policy] is a single-threaded
// value without a clock. [Eager] is the simple one; a scheduler that learns the model's profile and shares it fairly can take its place.
package batch

import "time"

// Item is what a policy may know of one waiting frame. Each item is of another stream; of a stream in which several frames wait in order, it is the first.
type Item struct {
	// Arrived is when the frame came.
	Arrived time.Time
	// Deadline is when its answer must be there.
	Deadline time.Time
	// Turn orders streams by the service that they had: lower goes first.
	Turn uint64
	// Latest is the deadline of the last frame that waits behind this one in its stream, and cannot go before it; zero when none does.
	Latest time.Time
}

// Flight is one batch that was sent and is not answered yet.
type Flight struct {
	Size int
	Sent time.Time
}

// State is the situation that a decision is for.
type State struct {
	Now time.Time
	// Max is the largest batch, at least 1.
	Max int
	// Slots is how many batches may be in flight at once, at least 1.
	Slots int
	// Flights are the batches in flight, oldest first.
	Flights []Flight
}

// Decision is what to do with the items that a policy was shown. An item is in at most one of its lists; what is in neither goes on waiting.
type Decision struct {
	// Send holds the indices of the items of the next batch, in the order to send them; empty means no batch now. After a batch was sent, ask again:
	// another slot may be free.
	Send []int
	// Expire holds the indices of the items that are not worth waiting any more: those that cannot be answered by their deadline, and those that have too little time
	// left for the batch that their stream should be in, and others behind them. When something expired, ask again: what was behind it may go.
	Expire []int
	// Wake is when to ask again if nothing else happens before; zero means not at all.
	Wake time.Time
}

// Completion is a batch that has run: the model answered it, or it was given up when its time was over and so would have taken even longer. A batch
// that was refused is none, for it says nothing about the model's speed.
type Completion struct {
	Size       int
	Sent, Done time.Time
}

// Policy decides. Decide may be asked at any time and must not depend on how often it is asked. The slices of its decision are valid until
// the next call.
type Policy interface {
	// Decide says what to do now with the items that wait.
	Decide(waiting []Item, s State) Decision
	// Observe tells the policy of a completed batch.
	Observe(c Completion)
}
