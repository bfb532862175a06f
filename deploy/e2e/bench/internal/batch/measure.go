package batch

import (
	"slices"
	"time"
)

// Measures sum up a record. Only frames that arrived after the warm-up and early enough for their fate to be known count; so do ages, from the end of the warm-up to then.
type Measures struct {
	// Streams is the number of streams, Frames that of the frames that count, Fates how they ended; they add up.
	Streams, Frames int
	Fates           map[Fate]int
	// Late are those answered later than the SLO.
	Late int
	// Offered is how many frames a second came, Goodput how many were answered within the SLO.
	Offered, Goodput float64
	// P50 and P99 are the times from arrival to answer of those answered, late ones included; zero when none was.
	P50, P99 time.Duration
	// MeanAge is the age of the newest answered frame of a stream, since its capture, averaged over time and streams; WorstAge that of the worst stream, averaged over time.
	MeanAge, WorstAge time.Duration
	// Share is the least part that a stream had of its max-min fair share of the goodput, and Jain is Jain's index of these parts. Both are 0 when there was almost no goodput to share.
	Share, Jain float64
	// Batch is the mean size of the batches in which frames were answered: those that the path made, which a server's own batcher may put together.
	Batch float64
	// Lateness is the 99th percentile of how late frames were sent.
	Lateness time.Duration
	// Wasted are frames that ended as superseded, expired or shed, by their heads: the model must never see them.
	Wasted map[uint64]bool
}

const (
	// collapse is the part of the offered frames below which goodput is none, and so has no shares.
	collapse = 0.02
	// mostPart bounds what a lucky stream counts.
	mostPart = 1.5
)

// Measure sums up what arrived after the warm-up.
func (r *Record) Measure(warmUp time.Duration) Measures {
	end := r.trace.Length - r.slo
	span := (end - warmUp).Seconds()
	m := Measures{Streams: r.trace.Streams, Fates: make(map[Fate]int), Wasted: make(map[uint64]bool)}
	demand, good := make([]float64, m.Streams), make([]float64, m.Streams)
	var took, lateness []time.Duration
	batches := 0.0
	for i := range r.frames {
		f := &r.frames[i]
		fate := Fate(f.state.Load())
		if fate == Superseded || fate == Expired || fate == Shed {
			m.Wasted[f.Head()] = true
		}
		if at := r.trace.Arrivals[i].At; at < warmUp || at >= end {
			continue
		}
		m.Frames++
		m.Fates[fate]++
		demand[f.Stream] += 1 / span
		lateness = append(lateness, r.sent[i])
		if fate != Answered {
			continue
		}
		took = append(took, f.ended.Sub(f.Arrived))
		if f.batch > 0 {
			m.Batch++
			batches += 1 / float64(f.batch)
		}
		if f.ended.After(f.Deadline) {
			m.Late++
			continue
		}
		good[f.Stream] += 1 / span
	}
	if batches > 0 {
		m.Batch /= batches // frames by batches
	}
	m.Offered, m.Goodput = sum(demand), sum(good)
	m.P50, m.P99, m.Lateness = quantile(took, 0.50), quantile(took, 0.99), quantile(lateness, 0.99)
	m.MeanAge, m.WorstAge = r.ages(warmUp, end)
	m.Share, m.Jain = shares(demand, good)
	return m
}

// ages gives the mean and the worst stream's age of information over a part of the record.
func (r *Record) ages(from, to time.Duration) (mean, worst time.Duration) {
	type delivery struct{ at, captured time.Duration }
	streams := make([][]delivery, r.trace.Streams)
	for i := range r.frames {
		if f := &r.frames[i]; Fate(f.state.Load()) == Answered {
			streams[f.Stream] = append(streams[f.Stream], delivery{f.ended.Sub(r.start), r.trace.Arrivals[i].Captured})
		}
	}
	for _, deliveries := range streams {
		slices.SortFunc(deliveries, func(a, b delivery) int { return int(a.at - b.at) })
		at, newest := from, time.Duration(0)
		area := 0.0 // of age over time, in square seconds
		advance := func(until time.Duration) {
			until = min(until, to)
			if until > at {
				area += (until - at).Seconds() * ((at+until)/2 - newest).Seconds()
				at = until
			}
		}
		for _, d := range deliveries {
			if d.captured > newest {
				advance(d.at)
				newest = d.captured
			}
		}
		advance(to)
		age := time.Duration(area / (to - from).Seconds() * float64(time.Second))
		mean += age / time.Duration(len(streams))
		worst = max(worst, age)
	}
	return mean, worst
}

// shares gives the least part that a stream had of its fair share, and Jain's index of all.
func shares(demand, good []float64) (least, jain float64) {
	total := sum(good)
	if len(good) == 0 || total < collapse*sum(demand) {
		return 0, 0
	}
	least = mostPart
	all, squares := 0.0, 0.0
	for i, fair := range fairShares(demand, total) {
		part := 1.0
		if fair > 0 {
			part = min(mostPart, good[i]/fair)
		}
		least = min(least, part)
		all += part
		squares += part * part
	}
	return least, all * all / (float64(len(good)) * squares)
}

// fairShares divides a total among demands: nobody gets more than the demand, and nobody who gets less than the demand gets less than another.
func fairShares(demand []float64, total float64) []float64 {
	order := make([]int, len(demand))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int {
		switch {
		case demand[a] < demand[b]:
			return -1
		case demand[a] > demand[b]:
			return 1
		}
		return 0
	})
	shares := make([]float64, len(demand))
	for k, i := range order {
		shares[i] = min(demand[i], total/float64(len(order)-k))
		total -= shares[i]
	}
	return shares
}

func sum(values []float64) (total float64) {
	for _, v := range values {
		total += v
	}
	return total
}

// quantile gives the nearest-rank quantile, zero of nothing. It sorts the values.
func quantile(values []time.Duration, q float64) time.Duration {
	if len(values) == 0 {
		return 0
	}
	slices.Sort(values)
	return values[min(int(q*float64(len(values))), len(values)-1)]
}
