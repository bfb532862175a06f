package session

import "time"

// bucket is a token bucket over bytes. It is a single-threaded value that reads no clock.
type bucket struct {
	rate     float64 // bytes a second
	capacity float64 // bytes
	level    float64
	last     time.Time
}

// newBucket makes a full bucket for a rate in bits a second. It holds two seconds of the rate and one message of the largest size, so that
// a key frame or a photograph is never refused to a client that keeps to the rate.
func newBucket(bitsPerSecond int64, largest int) bucket {
	rate := float64(bitsPerSecond) / 8
	capacity := 2*rate + float64(largest)
	return bucket{rate: rate, capacity: capacity, level: capacity}
}

// take takes n bytes if they are there.
func (b *bucket) take(n int, now time.Time) bool {
	if elapsed := now.Sub(b.last); !b.last.IsZero() && elapsed > 0 {
		b.level = min(b.capacity, b.level+elapsed.Seconds()*b.rate)
	}
	if now.After(b.last) {
		b.last = now
	}
	if float64(n) > b.level {
		return false
	}
	b.level -= float64(n)
	return true
}
