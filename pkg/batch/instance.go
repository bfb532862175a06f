package batch

import "time"

const (
	// together is the number of batches that an instance is given at most: one that it runs, and one that waits there for the first to end.
	together = 2
	// The speed of an instance is an average of the last ratios, each bounded.
	scaleWeight, maxScale = 0.2, 16.0
	// An instance whose speed is outside of these says nothing about the model.
	tooQuick, tooSlack = 0.7, 1.4
	// A batch is overdue when it takes several times what nearly every batch takes, and some more. It is never overdue sooner than the least: a busy machine
	// alone can hold up a fast model for so long, and a false alarm costs more than the time that it saves.
	overdueTimes = 3
	overdueSlack = 20 * time.Millisecond
	overdueLeast = 100 * time.Millisecond
	// overdueBlind bounds a batch of a model that nothing is known of.
	overdueBlind = 5 * time.Second
	// An instance that did not answer is tried again after the first, then twice as long each time up to the last.
	firstBackoff, lastBackoff = 250 * time.Millisecond, 4 * time.Second
	// mute is the number of batches in a row that end without a word, overdue or not, after which an instance is not believed to be well.
	mute = 2
	// trialEvery is how long an instance stands idle, with nothing that it seems to be fast enough for, before a frame is tried anyway.
	trialEvery = 250 * time.Millisecond
)

// instance is what was observed of one instance.
type instance struct {
	// scale is how many times the model's profile it takes.
	scale float64
	// free is when it had nothing more to do, as far as its answers tell.
	free time.Time
	// suspected is since when it is not believed to be well, zero while it is; then retry is when it may be tried again.
	suspected, retry time.Time
	backoff          time.Duration
	// silent is the number of its last batches that ended without an answer.
	silent int
}

// outlook says when an instance will be done with its batches, and when the first of them is overdue.
func (f *Fresh) outlook(in *instance, flights []Flight) (free, overdue time.Time) {
	free = in.free
	for k, flight := range flights {
		begin := later(flight.Sent.Add(f.net), free)
		if k == 0 {
			overdue = f.overdue(in, flight.Size, begin)
		}
		free = begin.Add(f.profile.took(flight.Size, in.scale))
	}
	return free, overdue
}

// overdue says when a batch that began on an instance is overdue.
func (f *Fresh) overdue(in *instance, size int, begin time.Time) time.Time {
	if !f.profile.known() {
		return begin.Add(overdueBlind)
	}
	return begin.Add(max(overdueLeast, overdueTimes*f.profile.atMost(size, max(1, in.scale))+overdueSlack))
}

// place is an instance that can take a batch now.
type place struct {
	index int
	scale float64
	// free is when it is done with what it has, and start is when a batch would begin, from now on.
	free  time.Time
	start time.Duration
	// trial is true when it gets a frame even if none seems to have the time: it has stood idle for a while, or too little is known.
	trial bool
	// probe is true when it is not believed to be well: it gets one frame, to find out.
	probe bool
}

// survey looks at the instances: which can take a batch, which batches to give up, and when to look again.
func (f *Fresh) survey(s State, d *Decision) {
	f.places, f.giveUp, f.well, f.soonest = f.places[:0], f.giveUp[:0], 0, 0
	f.know(len(s.Instances))
	for i, now := range s.Instances {
		in := &f.instances[i]
		free, overdue := f.outlook(in, now.Flights)
		if len(now.Flights) > 0 && !s.Now.Before(overdue) {
			for k := range now.Flights {
				f.giveUp = append(f.giveUp, Overdue{i, k})
			}
			continue
		}
		if len(now.Flights) > 0 {
			d.wake(overdue)
		}
		if now.Ready {
			f.surveyReady(i, now, free, s, d)
		}
	}
	d.GiveUp = f.giveUp
}

// surveyReady looks at an instance none of whose batches is overdue.
func (f *Fresh) surveyReady(i int, now Instance, free time.Time, s State, d *Decision) {
	in := &f.instances[i]
	p := place{index: i, scale: in.scale, free: free, start: max(f.net, free.Sub(s.Now))}
	if !in.suspected.IsZero() {
		switch {
		case len(now.Flights) > 0:
		case s.Now.Before(in.retry):
			d.wake(in.retry)
		default:
			p.probe = true
			f.offer(p)
		}
		return
	}
	soonest := p.start + f.profile.atMost(1, in.scale) + f.net
	if !f.profile.sure() {
		soonest = p.start + f.net
	}
	if f.well == 0 || soonest < f.soonest {
		f.soonest = soonest
	}
	f.well++
	switch lead := free.Add(-f.net); {
	case len(now.Flights) == 0:
		p.trial = !f.profile.sure() || s.Now.Sub(free) >= trialEvery
		f.offer(p)
	case len(now.Flights) >= min(s.Slots, together):
	case s.Now.Before(lead):
		d.wake(lead)
	default:
		f.offer(p)
	}
}

// offer keeps the places in the order to fill them: those to be probed, then those that are free first.
func (f *Fresh) offer(p place) {
	f.places = append(f.places, p)
	for k := len(f.places) - 1; k > 0 && before(f.places[k], f.places[k-1]); k-- {
		f.places[k], f.places[k-1] = f.places[k-1], f.places[k]
	}
}

func before(a, b place) bool {
	if a.probe != b.probe {
		return a.probe
	}
	return a.free.Before(b.free)
}

// know makes room for n instances.
func (f *Fresh) know(n int) {
	for len(f.instances) < n {
		f.instances = append(f.instances, instance{scale: 1, backoff: firstBackoff})
	}
}

// Observe implements Policy.
func (f *Fresh) Observe(c Completion) {
	if c.Size < 1 || c.Instance < 0 {
		return
	}
	f.know(c.Instance + 1)
	in := &f.instances[c.Instance]
	begin := later(c.Sent.Add(f.net), in.free)
	switch c.End {
	case Ran:
		f.ran(in, c, begin)
		in.recovered()
	case Rehearsed:
		if took := f.service(c, c.Sent.Add(f.net)); took > 0 { // it ran alone, and may be told of together with others
			f.profile.anchor(c.Size, took)
		}
		in.recovered()
	case Refused:
		in.recovered()
	case Silent:
		in.silent++
		overdue := f.overdue(in, c.Size, begin) // by the speed that it was given up by
		if f.profile.known() {
			in.observe(max(in.scale, f.profile.ratio(c.Size, c.Done.Sub(begin))))
		}
		if in.silent >= mute || !in.suspected.IsZero() || !c.Done.Before(overdue) {
			in.suspect(c, true)
		}
	case Unreachable:
		in.suspect(c, false)
	case Broken:
		in.suspect(c, true)
	}
	in.free = later(in.free, c.Done.Add(-f.net))
	if c.End == Silent { // Few servers stop working on what nobody waits for any more.
		in.free = later(in.free, begin.Add(f.profile.took(c.Size, in.scale)))
	}
}

// ran learns from a batch that an instance ran.
func (f *Fresh) ran(in *instance, c Completion, begin time.Time) {
	alone := !c.Sent.Before(in.free)
	if c.Compute > 0 && alone {
		f.learnDelay(c.Done.Sub(c.Sent) - c.Compute)
	}
	took := f.service(c, begin)
	if took <= 0 {
		return
	}
	scale := in.scale
	if f.profile.known() {
		in.observe(f.profile.ratio(c.Size, took))
	}
	factor := f.profile.observe(c.Size, took, scale, len(f.instances) == 1 || in.scale > tooQuick && in.scale < tooSlack)
	for i := range f.instances {
		other := &f.instances[i] // The instances are as fast as before; that is how they differ now from the model.
		other.scale = max(1/maxScale, min(maxScale, other.scale/factor))
	}
}

// service gives the time that an instance spent on a batch.
func (f *Fresh) service(c Completion, begin time.Time) time.Duration {
	if c.Compute > 0 {
		return c.Compute
	}
	return c.Done.Add(-f.net).Sub(begin)
}

// learnDelay takes in what a batch spent on the way there and back.
func (f *Fresh) learnDelay(both time.Duration) {
	const weight = 10
	delay := max(0, both/2)
	if f.delays++; f.delays == 1 {
		f.net = delay
	}
	f.net += (delay - f.net) / weight
}

func (in *instance) observe(ratio float64) {
	in.scale += scaleWeight * (min(ratio, maxScale) - in.scale)
}

// recovered says that the instance has answered.
func (in *instance) recovered() {
	in.suspected, in.retry, in.backoff, in.silent = time.Time{}, time.Time{}, firstBackoff, 0
}

// suspect says that a batch had no answer. What was sent before the instance was suspected says nothing new. When an instance is unreachable, its own readiness
// check is the better judge of when it is back.
func (in *instance) suspect(c Completion, silent bool) {
	if !in.suspected.IsZero() && c.Sent.Before(in.suspected) {
		return
	}
	if silent && !in.suspected.IsZero() {
		in.backoff = min(lastBackoff, 2*in.backoff)
	}
	if in.suspected.IsZero() {
		in.suspected = c.Done
	}
	in.retry = c.Done.Add(in.backoff)
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}
