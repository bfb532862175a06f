package stub

import "time"

// direct runs each request as a batch of its own, in the order in which they came: a server that leaves batching to its clients.
type direct struct{ queue []*request }

func (d *direct) push(r *request) error {
	d.queue = append(d.queue, r)
	return nil
}

func (d *direct) take(_ time.Time, free bool) (run, expired []*request, wake time.Time) {
	if !free || len(d.queue) == 0 {
		return nil, nil, time.Time{}
	}
	run = []*request{d.queue[0]}
	d.queue[0] = nil
	d.queue = d.queue[1:]
	return run, nil, time.Time{}
}
