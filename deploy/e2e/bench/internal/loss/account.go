package loss

import (
	"slices"
	"time"
)

// shot is a frame that was sent.
type shot struct {
	timestamp uint32
	at        time.Time // when it was captured
}

// delivery is a picture that reached the router.
type delivery struct {
	timestamp uint32
	at        time.Time
	picture   picture
}

// verdict is what the edge said of a unit that was not delivered.
type verdict struct {
	at time.Time
	// reason is the drop's reason or the error's code.
	reason string
}

// worth is how old a picture may be when it is delivered.
const worth = time.Second

// account is what became of the frames of one cell.
type account struct {
	Frames int
	// InTime pictures were decoded within a second of their capture: delivered undamaged or, a few, passed over for a newer one that was decoded at the same moment.
	InTime int
	// Superseded is the number of those passed over.
	Superseded int
	// Late ones came after that.
	Late int
	// Damaged deliveries differ from the picture that the loss-free stream gives, or belong to no frame, or came twice.
	Damaged int
	// Recoveries are the times from the capture of the first picture of a run of lost ones to the delivery of the next good one.
	Recoveries []time.Duration
	// Delays are the times from capture to delivery.
	Delays []time.Duration
	// Reasons counts what the edge said of those that were not delivered; those of which it knows nothing are "unseen".
	Reasons map[string]int
}

// superseded is the only reason of a picture that was decoded.
const superseded = "SUPERSEDED"

// reckon holds what was delivered against what was sent and what the loss-free decode gave, picture by picture. The first so many frames count; a picture that is wrong always does.
// verdicts are by timestamp.
func reckon(shots []shot, frames int, truth []picture, deliveries []delivery, verdicts map[uint32]verdict, end time.Time) account {
	a := account{Frames: frames, Reasons: make(map[string]int)}
	index := make(map[uint32]int, len(shots))
	for i, s := range shots {
		index[s.timestamp] = i
	}
	good := make([]time.Time, len(shots)) // when each was delivered in time
	seen := make([]bool, len(shots))
	for _, d := range deliveries {
		i, known := index[d.timestamp]
		if !known || seen[i] || d.picture != truth[i] {
			a.Damaged++
			continue
		}
		seen[i] = true
		if i >= frames {
			continue
		}
		delay := d.at.Sub(shots[i].at)
		a.Delays = append(a.Delays, delay)
		if delay > worth {
			a.Late++
			continue
		}
		a.InTime++
		good[i] = d.at
	}
	for i, s := range shots[:frames] {
		if seen[i] {
			continue
		}
		v, known := verdicts[s.timestamp]
		switch {
		case !known:
			a.Reasons["unseen"]++
		case v.reason == superseded && v.at.Sub(s.at) <= worth:
			a.Superseded++
			a.InTime++
			good[i] = v.at
		default:
			a.Reasons[v.reason]++
		}
	}
	a.Recoveries = recoveries(shots[:frames], good[:frames], end)
	return a
}

// recoveries gives the times from the capture of the first frame of a run without a good picture to the next good one.
func recoveries(shots []shot, good []time.Time, end time.Time) (times []time.Duration) {
	for i := 0; i < len(shots); i++ {
		if !good[i].IsZero() {
			continue
		}
		lost := shots[i].at
		for i < len(shots) && good[i].IsZero() {
			i++
		}
		back := end // it never recovered: at least so long
		if i < len(shots) {
			back = good[i]
		}
		times = append(times, back.Sub(lost))
	}
	return times
}

// share is the part of the frames that were decoded in time.
func (a account) share() float64 { return float64(a.InTime) / float64(max(a.Frames, 1)) }

// quantile gives the nearest-rank quantile, zero of nothing.
func quantile(values []time.Duration, q float64) time.Duration {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}
