package batchtest

import (
	"cmp"
	"math"
	"slices"
	"time"
)

// Account judges what became of the frames of a run, from a time on: what came before it only warms up. All times are from the beginning of the run.
type Account struct {
	from, until time.Duration
	budget      time.Duration
	streams     []tally
	latencies   []time.Duration
	late        int
}

// tally is one stream's.
type tally struct {
	arrived, good int
	newest        time.Duration // capture time of the newest answer
	answered      bool
	aged          time.Duration // up to which age is summed up
	age           float64       // seconds²
}

// NewAccount begins an account of so many streams, whose frames have so much time, for what happens from one time until another.
func NewAccount(streams int, budget, from, until time.Duration) *Account {
	a := &Account{from: from, until: until, budget: budget, streams: make([]tally, streams)}
	for i := range a.streams {
		a.streams[i].aged = from
	}
	return a
}

// Arrived counts a frame in. The last frames of a run, which may be answered after its end, are not counted as asked for.
func (a *Account) Arrived(stream int, at time.Duration) {
	if at >= a.from && at <= a.until-a.budget {
		a.streams[stream].arrived++
	}
}

// Answered counts an answer, in time or not, that came now to a frame.
func (a *Account) Answered(frame Arrival, now time.Duration) {
	if now > a.until {
		return
	}
	s := &a.streams[frame.Stream]
	if now >= a.from {
		a.latencies = append(a.latencies, now-frame.At)
		if now <= frame.At+a.budget {
			s.good++
		} else {
			a.late++
		}
	}
	if !s.answered || frame.Captured > s.newest {
		if now >= a.from {
			s.advance(now)
		}
		s.newest, s.answered = frame.Captured, true
	}
}

// advance sums up the age of the newest answer until now.
func (t *tally) advance(now time.Duration) {
	t.age += (now - t.aged).Seconds() * ((now+t.aged).Seconds()/2 - t.newest.Seconds())
	t.aged = now
}

// Report is what a run was like.
type Report struct {
	// Goodput is the answers in time a second, and Late those too late.
	Goodput, Late float64
	// Median and P99 are of the time from arrival to answer, 0 when there was none.
	Median, P99 time.Duration
	// Age is the age of information, averaged over time and streams: how old the newest answer is. WorstAge is that of the worst stream.
	Age, WorstAge time.Duration
	// WorstShare is what the worst stream got of its max-min fair share of the answers, and Jain is Jain's index of those shares.
	WorstShare, Jain float64
}

// Report closes the account.
func (a *Account) Report() Report {
	span := (a.until - a.from).Seconds()
	var r Report
	ages := 0.0
	good, asked := make([]float64, len(a.streams)), make([]float64, len(a.streams))
	for i := range a.streams {
		s := &a.streams[i]
		s.advance(a.until)
		age := time.Duration(s.age / span * float64(time.Second))
		ages += s.age / span
		r.WorstAge = max(r.WorstAge, age)
		good[i], asked[i] = float64(s.good)/span, float64(s.arrived)/(span-a.budget.Seconds())
		r.Goodput += good[i]
	}
	r.Age = time.Duration(ages / float64(len(a.streams)) * float64(time.Second))
	r.Late = float64(a.late) / span
	slices.Sort(a.latencies)
	if n := len(a.latencies); n > 0 {
		r.Median, r.P99 = a.latencies[n/2], a.latencies[min(n-1, n*99/100)]
	}
	r.WorstShare, r.Jain = shares(good, FairShares(asked, r.Goodput))
	return r
}

// shares compares what streams got with what was fair.
func shares(got, fair []float64) (worst, jain float64) {
	const most = 1.5 // one frame is much to a slow stream
	worst = math.Inf(1)
	var sum, squares float64
	for i := range got {
		share := 1.0
		if fair[i] > 0 {
			share = min(most, got[i]/fair[i])
		}
		worst = min(worst, share)
		sum, squares = sum+share, squares+share*share
	}
	if squares > 0 {
		jain = sum * sum / (float64(len(got)) * squares)
	}
	return worst, jain
}

// FairShares divides a total among those who ask for it, max-min fair: nobody gets more than was asked, and who gets less gets as much as anybody.
func FairShares(asked []float64, total float64) []float64 {
	order := make([]int, len(asked))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(i, j int) int { return cmp.Compare(asked[i], asked[j]) })
	shares := make([]float64, len(asked))
	for k, i := range order {
		shares[i] = min(asked[i], total/float64(len(order)-k))
		total -= shares[i]
	}
	return shares
}
