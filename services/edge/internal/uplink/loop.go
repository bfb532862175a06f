package uplink

import (
	"context"
	"errors"
	"time"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/pkg/wire"
	sluicev1 "github.com/sluice-dev/sluice/proto/gen/sluice/v1"
)

// How long the loop has patience with what a router should do.
const (
	// openWithin bounds the wait for Opened on a connection that is there. It doubles with each attempt in a row, up to 16 times, so that
	// a stopped router is left quickly and an overloaded one still gets its chance.
	openWithin = 500 * time.Millisecond
	// moveWithin is how long a draining router is still used while another one is looked for, if it does not say how long it goes on itself.
	moveWithin = time.Second
	// longestStay bounds that whatever the router says.
	longestStay = 10 * time.Minute
	// lastAnswers is how long before its end, beyond the longest deadline, a draining router is left, so that it still answers for what it got.
	lastAnswers = 500 * time.Millisecond
	// finishWithin bounds how long a router may take to finish after the call was half-closed.
	finishWithin = 5 * time.Second
	// steady is how long a call lives before its end no longer counts as a failed attempt.
	steady = time.Second
	// maxLeaving bounds the calls that are being finished.
	maxLeaving = 4
)

var (
	errDrained  = errors.New("the router is shutting down")
	errSilent   = errors.New("the router does not answer")
	errNoOpened = errors.New("the router did not answer Open in time")
)

// loop is what one goroutine knows of an Uplink's calls. Frames go to current. next is being opened, to replace a lost or draining one.
// leaving are half-closed and still answer for what they got.
//
//	         Opened            Drain, then next is Opened          router finishes
//	next ──────────► current ───────────────────────────► leaving ────────────────► gone
//	  └── fails: again after a pause     └── fails: Lost, next is opened
//
// A call that moves does so as one that drains, but it stays where the next one is no better, or fails.
type loop struct {
	*Uplink
	events  chan event
	forms   forms
	current *call
	next    *call
	leaving map[*call]struct{}
	live    int // calls that have not ended
	pause   backoff
	openAt  time.Time // not before this is the next call opened
}

func newLoop(u *Uplink) *loop {
	return &loop{Uplink: u, events: make(chan event), leaving: make(map[*call]struct{})}
}

// run keeps the Uplink's calls until ctx ends, and then ends and joins them.
func (l *loop) run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		at := l.step(ctx, time.Now())
		if at.IsZero() {
			timer.Stop()
		} else {
			timer.Reset(time.Until(at))
		}
		select {
		case <-ctx.Done():
			l.end()
			return
		case e := <-l.events:
			l.handle(e, time.Now())
		case <-l.wake:
		case <-timer.C:
		}
	}
}

// end joins the calls, whose context has ended, and gives up what waits.
func (l *loop) end() {
	l.mu.Lock()
	l.needs = nil
	drops := l.waiting.clear(media.Draining)
	l.mu.Unlock()
	l.giveUp(drops)
	l.pool.place(l.Uplink, "")
	for l.live > 0 {
		if e := <-l.events; e.kind == ended {
			l.gone(e.call)
		}
	}
}

// step does all that is due now and tells when there is more to do, zero for never.
func (l *loop) step(ctx context.Context, now time.Time) (at time.Time) {
	l.mu.Lock()
	drops := l.waiting.expire(now)
	forgotten := l.forgotten
	l.forgotten = nil
	if l.moves && l.current != nil {
		l.current.moves = true
	}
	l.moves = false
	l.mu.Unlock()
	l.giveUp(drops)
	l.forget(forgotten)
	l.losePatience(now)
	if l.next == nil && (l.current == nil || l.current.drains || l.current.moves) {
		if !now.Before(l.openAt) {
			l.open(ctx, now)
		}
		if l.next == nil {
			at = l.openAt
		}
	}
	l.pump()
	for _, c := range l.calls() {
		at = earlier(earlier(at, c.by), c.owed.look)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return earlier(at, l.waiting.next())
}

// calls are those whose messages count.
func (l *loop) calls() (cs []*call) {
	for c := range l.leaving {
		cs = append(cs, c)
	}
	for _, c := range []*call{l.current, l.next} {
		if c != nil {
			cs = append(cs, c)
		}
	}
	return cs
}

// losePatience gives up calls that do not do in time what they should.
func (l *loop) losePatience(now time.Time) {
	for _, c := range l.calls() {
		late := !c.by.IsZero() && !now.Before(c.by)
		switch {
		case c == l.current && c.owed.silent(now):
			l.abandon(c, errSilent, now)
		case !late:
		case c == l.current: // it drains, and no other was found
			l.leave(c, now)
			l.lost(c, errDrained, now)
		case c == l.next:
			l.abandon(c, errNoOpened, now)
		default:
			c.cancel()
			delete(l.leaving, c)
		}
	}
}

// open begins a call. It waits for a connection by itself.
func (l *loop) open(ctx context.Context, now time.Time) {
	link, err := l.pool.acquire()
	if err != nil {
		l.again(err, now)
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	c := newCall(link, cancel)
	l.next = c
	l.live++
	go c.run(ctx, l.opening(), l.events) // joined by its ended event
}

// opening says what the session wants of a router.
func (l *loop) opening() *sluicev1.Open {
	open := &sluicev1.Open{Session: new(l.session), Models: l.models}
	if l.share.Weight > 0 {
		open.Weight = new(uint32(l.share.Weight))
	}
	if l.share.Class > 0 {
		open.Class = new(uint32(l.share.Class))
	}
	return open
}

// pump sends what may be sent.
func (l *loop) pump() {
	c := l.current
	if c == nil || c.busy {
		return
	}
	l.mu.Lock()
	f, ok := l.waiting.take(c.may)
	l.mu.Unlock()
	if !ok {
		return
	}
	models := make([]string, len(f.Due))
	for i, d := range f.Due {
		models[i] = d.Model
	}
	l.handler.Sent(f.Stream, f.Sequence, models, c.name)
	l.pool.metrics.sent.Inc()
	c.hand(f)
}

func (l *loop) handle(e event, now time.Time) {
	c := e.call
	switch e.kind {
	case started:
		if c == l.next {
			c.by = now.Add(openWithin << min(l.pause.attempts, 4))
		}
	case sent:
		c.busy = false
	case received:
		if _, leaving := l.leaving[c]; leaving || c == l.current || c == l.next {
			c.owed.heard, c.router = now, e.router
			l.receive(c, e.response, now)
		}
	case ended:
		if _, leaving := l.leaving[c]; leaving {
			delete(l.leaving, c)
		} else if c == l.current || c == l.next {
			l.abandon(c, e.err, now)
		}
		l.gone(c)
	}
}

// gone gives back what an ended call held.
func (l *loop) gone(c *call) {
	c.cancel()
	c.finish()
	l.pool.release(c.link)
	l.live--
}

// receive takes one message of a call that counts.
func (l *loop) receive(c *call, m *sluicev1.StreamResponse, now time.Time) {
	switch body := m.GetBody().(type) {
	case *sluicev1.StreamResponse_Opened:
		if c == l.next || c == l.current {
			l.opened(c, body.Opened, now)
		}
	case *sluicev1.StreamResponse_Outcome:
		l.outcome(c, body.Outcome)
	case *sluicev1.StreamResponse_Credit:
		if c == l.current {
			c.grant(body.Credit)
		}
	case *sluicev1.StreamResponse_Demand:
		if d := wire.DemandFromProto(body.Demand); c == l.current && c.demand(d) {
			l.handler.Demand(d)
		}
	case *sluicev1.StreamResponse_Drain:
		switch {
		case c == l.next:
			l.abandon(c, errDrained, now)
		case c == l.current && !c.drains:
			l.settle(c, now)
			c.drains, c.by = true, now.Add(stay(body.Drain.GetReconnectWithin(), c.needs.longest()))
			l.again(errDrained, now)
		}
	}
}

// stay is how long a draining router is still used while there is no other: until shortly before its end, which it has told in seconds.
// Where several routers are, one that takes its place is found at once. Where it is the only one, DNS may need seconds to tell of the next.
func stay(within float64, deadline time.Duration) time.Duration {
	if !(within > 0) {
		return moveWithin
	}
	end := time.Duration(min(within, longestStay.Seconds()) * float64(time.Second))
	return max(moveWithin, end-deadline-lastAnswers)
}

// opened puts a call in use, or gives the call in use its new needs.
func (l *loop) opened(c *call, m *sluicev1.Opened, now time.Time) {
	if c == l.next && l.current != nil && !l.current.drains && !l.pool.improves(l.Uplink, c.router) {
		l.current.moves, l.next = false, nil
		c.cancel()
		return
	}
	n, left, err := l.forms.read(m)
	if err != nil {
		l.abandon(c, err, now)
		return
	}
	for _, why := range left {
		l.pool.logger.Warn("a model cannot be used", "session", l.session, "router", m.GetRouter(), "reason", why)
	}
	c.refit(n)
	c.name = m.GetRouter()
	if c == l.next {
		before := l.current
		l.pool.place(l.Uplink, c.router)
		l.current, l.next = c, nil
		c.born, c.by = now, time.Time{}
		if before != nil {
			l.undemand(before, everything)
			l.leave(before, now)
		}
	}
	l.undemand(c, func(d demanded) bool { return d.model != "" && !n.has(d.model) })
	l.mu.Lock()
	l.needs = n
	drops := l.waiting.refit(n)
	l.mu.Unlock()
	l.giveUp(drops)
	l.handler.Opened(append([]media.Model(nil), n.models...), append([]media.Input(nil), n.inputs...))
}

func (l *loop) outcome(c *call, m *sluicev1.Outcome) {
	o, err := wire.OutcomeFromProto(m)
	switch {
	case err != nil:
		l.pool.metrics.refused.WithLabelValues("malformed").Inc()
	case o.Session != "" && o.Session != l.session:
		l.pool.metrics.refused.WithLabelValues("foreign").Inc()
	case !c.owed.answered(o):
		l.pool.metrics.refused.WithLabelValues("unsolicited").Inc()
	default:
		o.Session = l.session
		l.handler.Outcome(o)
	}
}

func (l *loop) forget(streams []string) {
	for _, c := range l.calls() {
		for _, s := range streams {
			l.undemand(c, func(d demanded) bool { return d.stream == s })
			c.forget(s)
		}
	}
}

// undemand ends what a call demanded.
func (l *loop) undemand(c *call, which func(demanded) bool) {
	for d := range c.demands {
		if which(d) {
			delete(c.demands, d)
			l.handler.Demand(media.Demand{Stream: d.stream, Model: d.model})
		}
	}
}

func everything(demanded) bool { return true }
