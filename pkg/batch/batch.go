// Package batch decides which of a model's waiting frames go to it next, to which of its instances, and which are not worth sending any more.
//
// The decision is a function of what waits, the time and what was observed so far; it starts nothing and sends nothing. A [Policy] is a single-threaded
// value without a clock: time comes in as an argument. [Fresh] is the one that the router goes by; it learns the model's profile while it runs.
package batch

import "time"

// Item is what a policy may know of one waiting frame. Each item is of another stream; of a stream in which several frames wait in order, it is the first.
type Item struct {
	// Arrived is when the frame came.
	Arrived time.Time
	// Deadline is when its answer must be there.
	Deadline time.Time
	// Turn orders streams by the service that they had for their weight: lower goes first.
	Turn uint64
	// Latest is the deadline of the last frame that waits behind this one in its stream, and cannot go before it; zero when none does.
	Latest time.Time
	// Class is the stream's class: 0 is served before 1, and so on.
	Class uint8
}

// Flight is one batch that was sent and is not answered yet.
type Flight struct {
	Size int
	Sent time.Time
}

// Instance is one place that runs one batch at a time. It may hold a second one that waits there, so that no time is lost between the two.
type Instance struct {
	// Ready is what its own readiness check says.
	Ready bool
	// Flights are the batches that were sent to it and are not answered yet, oldest first.
	Flights []Flight
}

// State is the situation that a decision is for. The policy reads it during the call only.
type State struct {
	Now time.Time
	// Max is the largest batch, at least 1.
	Max int
	// Slots is how many batches may be in flight at once on one instance, at least 1.
	Slots int
	// Instances are always the same ones in the same order; they are named by their index.
	Instances []Instance
	// Owed is the number of frames of each class that the next batch has to take before others, so that a lower class is never starved; what it is too
	// short for is owed nothing. nil when all streams are of one class.
	Owed []int
}

// NoInstance is the instance of a decision for which no instance can take a batch.
const NoInstance = -1

// Overdue names a batch that takes so long that its instance is taken for dead: an index of State.Instances, and one of its Flights.
type Overdue struct{ Instance, Flight int }

// Decision is what to do with the items that a policy was shown. An item is in at most one of its lists; what is in neither goes on waiting.
type Decision struct {
	// Instance is where Send goes. It is NoInstance when none can take a batch now. Then the items were not looked at: who wants to know this first asks with no
	// items, which costs little.
	Instance int
	// Send holds the indices of the items of the next batch, in the order to send them; empty means no batch now. After a batch was sent, ask again:
	// another instance may be free.
	Send []int
	// Expire holds the indices of the items that are not worth waiting any more: those that cannot be answered by their deadline, and those that have too little time
	// left for the batch that their stream should be in, and others behind them. When something expired, ask again: what was behind it may go.
	Expire []int
	// GiveUp holds the batches to cancel. A decision goes on naming them until they are out of State.Instances. Observe them as Silent.
	GiveUp []Overdue
	// Wake is when to ask again if nothing else happens before; zero means not at all.
	Wake time.Time
}

// End says how a batch ended.
type End uint8

const (
	// Ran means that the model ran it: its time counts, whatever the answer is worth.
	Ran End = iota
	// Refused means that the instance answered, but did not run it. That says that it is alive and nothing about its speed.
	Refused
	// Silent means that no answer came by Done, when the batch was given up: it would have taken even longer.
	Silent
	// Unreachable means that the instance could not be reached or that the connection broke.
	Unreachable
	// Broken means that the instance did not run what another one ran without trouble: it is not to be trusted for a while.
	Broken
	// Rehearsed means that the model ran it while it was warmed up, one batch at a time, before any frames. Such times are kept for good, as anchors of the model's profile.
	Rehearsed
)

// Completion is a batch that has ended.
type Completion struct {
	// Instance is the index in State.Instances of where it was.
	Instance   int
	Size       int
	Sent, Done time.Time
	// Compute is the instance's own measure of the time that it ran, 0 when unknown.
	Compute time.Duration
	End     End
}

// Load is how a model stands against what is asked of it.
type Load struct {
	// Overloaded is true while more frames come than the model can answer in time.
	Overloaded bool
	// Since is when Overloaded took its present value.
	Since time.Time
	// Capacity is the number of frames a second that the model can answer in time, over all instances that are well; 0 when none is and when nothing is known.
	Capacity float64
	// Offered is the number of frames a second that came of late, over a second and a half. A demand that the cameras keep to lowers it.
	Offered float64
}

// Policy decides. Decide may be asked at any time and must not depend on how often it is asked. The slices of its decision are valid until
// the next call.
type Policy interface {
	// Arrived tells the policy that n frames came, whether or not they go on to wait.
	Arrived(now time.Time, n int)
	// Decide says what to do now with the items that wait.
	Decide(waiting []Item, s State) Decision
	// Observe tells the policy of a batch that has ended, after it has left State.Instances and before the next decision.
	Observe(c Completion)
	// Load says how the model stands.
	Load(now time.Time) Load
}
