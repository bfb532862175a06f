package uplink

import (
	"time"

	"github.com/sluice-dev/sluice/pkg/media"
)

// patience is how long a router may say nothing at all after it should have said something, before it is taken for dead. Routers answer
// by the deadline whatever their backends do, so only a stopped, cut off or badly starved one is silent.
const patience = 400 * time.Millisecond

// asked names one answer that a router owes.
type asked struct {
	stream   string
	sequence uint32
	model    string
}

// owed is what a router has been asked on one call and has not answered. It is a single-threaded value; time is an argument.
type owed struct {
	open   map[asked]time.Time // deadlines
	newest map[string]uint32   // highest sequence sent, by stream
	heard  time.Time           // when the router last said anything
	look   time.Time           // when silent has something to do; zero for never
}

func newOwed() owed { return owed{open: make(map[asked]time.Time), newest: make(map[string]uint32)} }

// sent notes a frame that goes out.
func (o *owed) sent(f media.Frame) {
	o.newest[f.Stream] = max(o.newest[f.Stream], f.Sequence)
	for _, d := range f.Due {
		o.open[asked{f.Stream, f.Sequence, d.Model}] = d.Deadline
		o.look = earlier(o.look, d.Deadline.Add(patience))
	}
}

// answered notes an outcome. It is false for a unit that this router cannot know about: none so new was sent to it. An answer may come
// twice or late; that it is so is for the session's ledger to say.
func (o *owed) answered(a media.Outcome) bool {
	one := asked{a.Stream, a.Sequence, a.Model}
	_, open := o.open[one]
	delete(o.open, one)
	return open || a.Sequence <= o.newest[a.Stream]
}

// silent tells whether the router is to be taken for dead: it owes an answer since more than patience, and has said nothing since then.
func (o *owed) silent(now time.Time) bool {
	if o.look.IsZero() || now.Before(o.look) {
		return false
	}
	o.look = time.Time{}
	for a, deadline := range o.open {
		switch limit := deadline.Add(patience); {
		case now.Before(limit):
			o.look = earlier(o.look, limit)
		case o.heard.Before(deadline):
			return true
		default: // it lives, but lost this one
			delete(o.open, a)
		}
	}
	return false
}

// forget drops what is kept of a stream that has ended. What is still owed stays until it is answered: the stream's last frames count too.
func (o *owed) forget(stream string) { delete(o.newest, stream) }
