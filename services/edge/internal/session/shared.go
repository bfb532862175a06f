package session

import (
	"sync"
	"time"

	"github.com/sluice-dev/sluice/pkg/media"
)

// budget is the session's bitrate, shared by its streams. It is safe for concurrent use.
type budget struct {
	mu     sync.Mutex
	bucket bucket
}

// perUnit is what a unit costs besides its bytes, so that many small ones are not free.
const perUnit = 512

func newBudget(bitsPerSecond int64, largest int) *budget {
	return &budget{bucket: newBucket(bitsPerSecond, largest+perUnit)}
}

// take tells whether a unit of n bytes is within the session's bitrate.
func (b *budget) take(n int, now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.bucket.take(n+perUnit, now)
}

// reportBoard holds the newest sender report of each source. It is safe for concurrent use; the number of sources is the peer's to bound.
type reportBoard struct {
	mu     sync.Mutex
	latest map[uint32]posted
}

type posted struct {
	report media.SenderReport
	at     time.Time
	taken  bool
}

// relayEvery is the least time between two reports of a source that are relayed; browsers send them every 100 ms at most.
const relayEvery = 50 * time.Millisecond

func newReportBoard() *reportBoard { return &reportBoard{latest: make(map[uint32]posted)} }

// post notes a report and tells whether the client should have it back.
func (b *reportBoard) post(r media.SenderReport, now time.Time) (relay bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if old, ok := b.latest[r.SSRC]; ok && now.Sub(old.at) < relayEvery {
		return false
	}
	b.latest[r.SSRC] = posted{report: r, at: now}
	return true
}

// update calls observe with a source's newest report and its arrival, once for each report.
func (b *reportBoard) update(ssrc uint32, observe func(r media.SenderReport, arrival time.Time)) {
	b.mu.Lock()
	p, ok := b.latest[ssrc]
	if ok && !p.taken {
		p.taken = true
		b.latest[ssrc] = p
	} else {
		ok = false
	}
	b.mu.Unlock()
	if ok {
		observe(p.report, p.at)
	}
}
