package ledger

import (
	"container/heap"
	"time"

	"github.com/sluice-dev/sluice/pkg/media"
)

// pair is one unit that is due for one model.
type pair struct {
	stream *stream
	record uint32 // sequence of the unit
	model  int    // index in stream.models
	until  time.Time
	sent   bool
	// When it was prepared and sent, after its unit's arrival: zero for never. The router is the one that it was sent to.
	prepared, sentAt time.Duration
	router           string
	// place is the pair's position in the agenda plus one; zero means that the pair is final.
	place int

	// What became of it, once final.
	batch   int
	result  *media.Result
	drop    media.DropReason
	error   media.ErrorCode
	timings media.Timings
	// deliveries are in the order of handing.
	deliveries []Delivery
}

func (p *pair) final() bool { return p.place == 0 }

// settle takes over what an outcome says became of the unit, so that exactly one of result, drop and error remains.
func (p *pair) settle(o media.Outcome) {
	switch {
	case o.Error != media.NoError:
		p.error = o.Error
	case o.Drop != media.NotDropped:
		p.drop = o.Drop
	case o.Result != nil:
		p.result = o.Result
	default:
		p.error = media.Internal
	}
	p.batch = o.BatchSize
	early := p.timings
	p.timings = o.Timings
	if p.timings.Receive == 0 {
		p.timings.Receive = early.Receive
	}
	if p.timings.Decode == 0 {
		p.timings.Decode = early.Decode
	}
	if p.timings.Convert == 0 {
		p.timings.Convert = early.Convert
	}
}

// kernel is what Explain keeps of a result: whether it found little, and what, but nothing of a payload's size.
func kernel(r *media.Result) *media.Result {
	const few = 8
	if r == nil {
		return nil
	}
	if len(r.Detections) <= few && len(r.Classes) <= few && r.Embedding == nil && r.Tensors == nil && r.JSON == nil {
		return r // results are immutable, so sharing is safe
	}
	small := new(media.Result)
	small.Detections = append(small.Detections, r.Detections[:min(few, len(r.Detections))]...)
	for i := range small.Detections {
		small.Detections[i].Landmarks = nil
	}
	small.Classes = append(small.Classes, r.Classes[:min(few, len(r.Classes))]...)
	return small
}

// agenda is a heap of the open pairs by the time to give them up. Each pair knows its place, so that one made final leaves at once and the
// agenda never holds more than what is in flight.
type agenda []*pair

func (a *agenda) add(p *pair)    { heap.Push(a, p) }
func (a *agenda) remove(p *pair) { heap.Remove(a, p.place-1) }

// Len, Less, Swap, Push and Pop are for container/heap.
func (a agenda) Len() int           { return len(a) }
func (a agenda) Less(i, j int) bool { return a[i].until.Before(a[j].until) }

func (a agenda) Swap(i, j int) {
	a[i], a[j] = a[j], a[i]
	a[i].place, a[j].place = i+1, j+1
}

func (a *agenda) Push(x any) {
	p, _ := x.(*pair)
	p.place = len(*a) + 1
	*a = append(*a, p)
}

func (a *agenda) Pop() any {
	last := len(*a) - 1
	p := (*a)[last]
	(*a)[last] = nil
	*a = (*a)[:last]
	p.place = 0
	return p
}
