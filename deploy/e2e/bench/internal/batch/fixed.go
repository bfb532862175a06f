package batch

import (
	"context"
	"errors"
	"time"
)

// Fixed is batching by a size and a delay, as MLServer, Ray Serve, TorchServe and nvstreammux do it by their documentation: a batch is closed when it has the size, or when its first frame
// has waited for the delay, whether or not the model is free; closed batches wait in order.
type Fixed struct {
	Size  int
	Delay time.Duration
}

const (
	// fixedFlights is how many batches are under way for each instance: while one runs, the next is there already.
	fixedFlights = 2
	// mostClosed bounds the batches that wait; what comes beyond it is shed.
	mostClosed = 1 << 14
	// mostUnread bounds the frames that came and have not been looked at.
	mostUnread = 1 << 12
)

// fixed is a Path with a Fixed batcher in front of a model server.
type fixed struct {
	*client
	rules   Fixed
	flights int
	frames  chan *Frame
	done    chan struct{} // takes as many as there are flights
	stop    chan struct{}

	// The driver's own.
	filling []*Frame
	closed  [][]*Frame
	flying  int
}

// OpenFixed batches frames by a size and a delay and sends the batches to the model server at an address, which runs as many at once as it has instances.
func OpenFixed(ctx context.Context, address string, model Model, rules Fixed, instances int) (Path, error) {
	if rules.Size < 1 || rules.Delay < 0 || instances < 1 {
		return nil, errors.New("fixed batching needs a size, a delay and instances")
	}
	c, err := newClient(ctx, address, model)
	if err != nil {
		return nil, err
	}
	flights := fixedFlights * instances
	p := &fixed{client: c, rules: rules, flights: flights, frames: make(chan *Frame, mostUnread), done: make(chan struct{}, flights), stop: make(chan struct{})}
	p.running.Go(p.drive)
	return p, nil
}

// Send implements Path.
func (p *fixed) Send(f *Frame) {
	select {
	case p.frames <- f:
	default:
		f.End(Shed, time.Now(), 0)
	}
}

// Close implements Path.
func (p *fixed) Close() error {
	close(p.stop)
	return p.close()
}

// drive owns the batches.
func (p *fixed) drive() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-p.stop:
			p.abandon()
			return
		case f := <-p.frames:
			p.take(f)
		case <-p.done:
			p.flying--
		case <-timer.C:
		}
		timer.Reset(p.step(time.Now()))
	}
}

// take adds a frame.
func (p *fixed) take(f *Frame) {
	if len(p.closed) == mostClosed {
		f.End(Shed, time.Now(), 0)
		return
	}
	if p.filling = append(p.filling, f); len(p.filling) == p.rules.Size {
		p.shut()
	}
}

// shut closes the batch that fills.
func (p *fixed) shut() {
	p.closed = append(p.closed, p.filling)
	p.filling = nil
}

// step closes and sends what is due and gives the time until the next look.
func (p *fixed) step(now time.Time) time.Duration {
	next := time.Hour
	if len(p.filling) > 0 {
		if next = p.filling[0].Arrived.Add(p.rules.Delay).Sub(now); next <= 0 {
			p.shut()
			next = time.Hour
		}
	}
	for p.flying < p.flights && len(p.closed) > 0 {
		batch := p.closed[0]
		p.closed = p.closed[1:]
		p.flying++
		p.running.Go(func() {
			defer func() { p.done <- struct{}{} }()
			p.ask(batch...)
		})
	}
	return next
}

// abandon ends what was not sent.
func (p *fixed) abandon() {
	now := time.Now()
	for {
		select {
		case f := <-p.frames:
			p.filling = append(p.filling, f)
			continue
		default:
		}
		break
	}
	p.shut()
	for _, batch := range p.closed {
		for _, f := range batch {
			f.End(Unanswered, now, 0)
		}
	}
}
