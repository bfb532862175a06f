package session

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/services/edge/internal/decoder"
)

func TestOverloadJudges(t *testing.T) {
	t.Parallel()
	type step struct {
		at, lag int // milliseconds
		want    effort
	}
	for _, c := range []struct {
		name  string
		steps []step
	}{
		{"in time", []step{{0, 0, fullEffort}, {33, 100, fullEffort}, {66, -1, fullEffort}}},
		{"late", []step{{0, 101, onlyDecoded}, {33, 180, onlyDecoded}, {66, 99, fullEffort}}},
		{"too late for a moment", []step{{0, 181, onlyDecoded}, {29, 300, onlyDecoded}, {31, 150, onlyDecoded}, {32, 90, fullEffort}}},
		{"too late for long", []step{{0, 181, onlyDecoded}, {29, 190, onlyDecoded}, {30, 200, givenUp}}},
		{"too late for long, but catching up", []step{{0, 300, onlyDecoded}, {30, 270, onlyDecoded}, {80, 220, onlyDecoded}, {120, 170, onlyDecoded}, {150, 100, fullEffort}}},
		{"catching up too slowly", []step{{0, 300, onlyDecoded}, {30, 270, onlyDecoded}, {80, 221, givenUp}}},
		{"too late now and then", []step{{0, 200, onlyDecoded}, {25, 170, onlyDecoded}, {50, 200, onlyDecoded}, {75, 170, onlyDecoded}, {81, 200, onlyDecoded}}},
		{"hopeless", []step{{0, 501, givenUp}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			o := new(overload)
			start := time.Now()
			for i, s := range c.steps {
				now := start.Add(time.Duration(s.at) * time.Millisecond)
				if got := o.judge(time.Duration(s.lag)*time.Millisecond, now); got != s.want {
					t.Errorf("step %d, %d ms behind: %d, want %d", i, s.lag, got, s.want)
				}
			}
		})
	}
}

func TestOverloadAsksLessAndLessOften(t *testing.T) {
	t.Parallel()
	o := new(overload)
	start := time.Now()
	for i, c := range []struct{ at, ask float64 }{ // seconds
		{100, 100}, {100.5, 101}, {101.5, 103}, {104, 106}, {106.5, 109}, {110, 112}, // back to back
		{120, 120}, {120.1, 123}, // almost a calm
		{130.2, 130.2}, {131, 131.2}, {140, 140}, // after one it begins anew
	} {
		now, want := start.Add(time.Duration(c.at*1e9)), start.Add(time.Duration(c.ask*1e9))
		if got := o.giveUp(now); got.Sub(want).Abs() > time.Millisecond {
			t.Errorf("%d: given up at %v s, asks at %v s, want %v", i, c.at, got.Sub(start).Seconds(), c.ask)
		}
	}
}

// TestOverloadKeepsTheLagBounded decodes 25 % slower than pictures come, for a minute, and then fast again. The sender answers requests for
// key frames after a round trip.
func TestOverloadKeepsTheLagBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const every, answer = time.Second / 30, 100 * time.Millisecond
		b := newBench(t, faces(), 1e9)
		arrivals, takes := map[uint32]time.Time{}, every*5/4
		decoded, worst := 0, time.Duration(0)
		b.decoder.decode = func(q decoder.Request) (pictures []decoder.Picture, err error) {
			<-time.After(takes)
			b.mu.Lock()
			worst = max(worst, time.Since(arrivals[q.Unit.RTP.Timestamp]))
			decoded++
			b.mu.Unlock()
			for range q.Targets {
				pictures = append(pictures, decoder.Picture{Tag: q.Tag, Payload: make([]byte, 1), Release: func() {}})
			}
			return pictures, nil
		}
		film := func(frames int) {
			for range frames {
				b.mu.Lock()
				arrivals[b.ts+3000] = time.Now()
				asked := len(b.keys) > 0 && time.Since(b.keys[len(b.keys)-1]) >= answer && time.Since(b.keys[len(b.keys)-1]) < answer+every
				b.mu.Unlock()
				b.frame(b.ts == 0 || asked, 20)
				<-time.After(every)
			}
		}
		film(1800)
		b.mu.Lock()
		slow, requests := decoded, b.keys
		if worst >= 250*time.Millisecond {
			t.Errorf("a picture was decoded %v after it had come", worst)
		}
		t.Logf("%d of 1800 decoded, at most %v late, key frames asked for %d times", slow, worst, len(requests))
		for i := 2; i < len(requests); i++ {
			if gap := requests[i].Sub(requests[i-1]); gap < 900*time.Millisecond {
				t.Errorf("key frames asked for %v apart", gap)
			}
		}
		if len(requests) < 12 || len(requests) > 22 {
			t.Errorf("%d key frames asked for in a minute", len(requests))
		}
		takes, worst, decoded = time.Millisecond, 0, 0
		b.mu.Unlock()
		film(300) // until the last key frame that was asked for
		b.mu.Lock()
		worst, decoded = 0, 0
		b.mu.Unlock()
		film(300)
		b.mu.Lock()
		if decoded < 299 || worst > 2*time.Millisecond || len(b.keys) > len(requests)+1 {
			t.Errorf("once it is fast, %d of 300 are decoded, at most %v late, with %d more key frames", decoded, worst, len(b.keys)-len(requests))
		}
		b.mu.Unlock()
		b.stop()
		c := b.book.counts()[0]
		m := c.Models[0]
		if c.Received != 2400 || c.NotDue != 0 || m.Results+total(m.Drops[:]) != 2400 || m.Drops[media.Overloaded] == 0 || m.Drops[media.Damaged] != 0 || total(m.Errors[:]) != 0 {
			t.Errorf("units are not accounted for: %+v", c)
		}
	})
}

func total(counts []uint32) (sum uint32) {
	for _, n := range counts {
		sum += n
	}
	return sum
}

// TestWaitingForALossIsNoOverload holds pictures up behind a packet that never comes: they are late, but not because of the decoder.
func TestWaitingForALossIsNoOverload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, faces(), 1e9)
		b.patience = 250 * time.Millisecond
		b.frame(true, 20)
		b.expect(t, "in time", "result")
		b.seq++ // lost, for which the runner waits
		b.frame(true, 20)
		b.frame(false, 20)
		<-time.After(30 * time.Millisecond)
		b.frame(false, 20)
		<-time.After(250 * time.Millisecond)
		b.expect(t, "after the wait", "result", "result", "result")
		b.stop()
	})
}

// TestOverloadCostsUpperLayersFirst decodes 25 % slower than pictures of three temporal layers come: without the upper ones it keeps up, and no
// key frame is needed.
func TestOverloadCostsUpperLayersFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, faces(), 1e9)
		decoded, worst := 0, time.Duration(0)
		b.decoder.decode = func(q decoder.Request) (pictures []decoder.Picture, err error) {
			<-time.After(time.Second / 30 * 5 / 4)
			decoded, worst = decoded+1, max(worst, time.Since(q.Unit.Last))
			for range q.Targets {
				pictures = append(pictures, decoder.Picture{Tag: q.Tag, Payload: make([]byte, 1), Release: func() {}})
			}
			return pictures, nil
		}
		for n := range 1800 {
			b.vp9(n == 0, []byte{0, 2, 1, 2}[n%4], n%4 == 0)
		}
		<-time.After(time.Second)
		if n := b.asked(); n != 0 || worst >= 200*time.Millisecond || decoded < 1200 {
			t.Errorf("%d of 1800 decoded, at most %v late, key frames asked for %d times", decoded, worst, n)
		}
		t.Logf("%d of 1800 decoded, at most %v late", decoded, worst)
		b.stop()
		c := b.book.counts()[0]
		if m := c.Models[0]; c.NotDue+m.Results+m.Drops[media.Overloaded] != 1800 || m.Drops[media.Damaged] != 0 {
			t.Errorf("units are not accounted for: %+v", c)
		}
	})
}
