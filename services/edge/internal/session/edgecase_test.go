package session

import (
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluice-dev/sluice/pkg/media"
)

// The tests of this file are the edge cases of media as it really arrives, in virtual time: loss, outages, wrap-arounds, stalls.

func TestEdgeCase01ALossAtOneFrameASecondIsRepairedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const oneWay = 50 * time.Millisecond
		s := begin(t, oneWay, 10)
		defer s.end()
		var lost atomic.Int64
		s.filter(func(sequence uint16, again bool) bool {
			if !again && sequence%10 == 5 {
				lost.Add(1)
				return false
			}
			return true
		})
		s.run(1, 20*time.Second)
		for n := uint32(1); n <= 20; n++ {
			if lag, ok := s.lag(n); !ok || lag > oneWay+2*oneWay+50*time.Millisecond {
				t.Errorf("frame %d after %v, decoded %v", n, lag, ok)
			}
		}
		all, packets, most := s.requests()
		if lost.Load() != 20 || packets != 20 || most > 1 { // each answer comes, so nothing is asked for twice
			t.Errorf("%d packets lost, %d asked for, %d requests, one packet %d times", lost.Load(), packets, all, most)
		}
		lag, _ := s.lag(20)
		t.Logf("%d lost, %d requests, a frame takes %v", lost.Load(), all, lag)
	})
}

func TestEdgeCase02RandomLossDamagesNothingThatIsShown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := begin(t, 50*time.Millisecond, 4)
		defer s.end()
		random := rand.New(rand.NewPCG(2, 2))
		var losses atomic.Int64
		s.filter(func(uint16, bool) bool {
			if random.Float64() < 0.05 {
				losses.Add(1)
				return false
			}
			return true
		})
		s.run(30, 60*time.Second)
		const frames = 1800
		if n := s.decoded(); n < frames*85/100 {
			t.Errorf("%d of %d frames decoded", n, frames)
		}
		asked := s.pictureLosses()
		for i := 1; i < len(asked); i++ {
			if gap := asked[i].Sub(asked[i-1]); gap < 490*time.Millisecond {
				t.Errorf("key frames asked for %v apart", gap)
			}
		}
		lost := int(losses.Load())
		all, packets, most := s.requests()
		if most > 3 || all > lost*11/10 {
			t.Errorf("%d packets lost, %d requests for %d packets, one %d times", lost, all, packets, most)
		}
		t.Logf("%d of %d frames, %d lost, %d requests for %d packets, %d key frames asked for", s.decoded(), frames, lost, all, packets, len(asked))
	})
}

func TestEdgeCase03AnOutageCostsOneKeyFrame(t *testing.T) {
	tests := []struct {
		name    string
		packets int // a frame
		outage  time.Duration
		repairs bool // everything is sent again
	}{
		{"fifth of a second", 12, 200 * time.Millisecond, true},
		{"hundreds of packets", 12, 2 * time.Second, false},
		{"thousands of packets", 60, 2 * time.Second, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := begin(t, 20*time.Millisecond, test.packets)
				defer s.end()
				var cut atomic.Bool
				s.filter(func(uint16, bool) bool { return !cut.Load() })
				s.run(30, 3*time.Second)
				cut.Store(true)
				s.run(30, test.outage)
				cut.Store(false)
				first, resumed := s.number+1, time.Now()
				s.run(30, 3*time.Second)
				all, packets, most := s.requests()
				if test.repairs {
					if n := s.decoded(); n != int(s.number) || len(s.pictureLosses()) != 0 || most > 3 {
						t.Errorf("%d of %d frames decoded, %d key frames asked for, one packet %d times", n, s.number, len(s.pictureLosses()), most)
					}
					return
				}
				if all != 0 || len(s.pictureLosses()) != 1 {
					t.Errorf("%d requests for %d packets and %d for key frames", all, packets, len(s.pictureLosses()))
				}
				for n := first; n <= s.number; n++ {
					if _, ok := s.lag(n); ok {
						first = n
						break
					}
				}
				if after := s.sent[first].Sub(resumed); after > 250*time.Millisecond {
					t.Errorf("the first frame decoded after the outage was sent %v after it", after)
				}
				if n, want := s.decoded(), 90+int(s.number-first)+1; n != want || s.keys != 2 {
					t.Errorf("%d frames decoded with %d key frames, want %d", n, s.keys, want)
				}
			})
		})
	}
}

func TestEdgeCase03AJumpIsOneGap(t *testing.T) {
	for _, jump := range []uint16{300, 600, 3000, 30000, 40000} {
		t.Run(fmt.Sprint(jump), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, faces(), 1e9)
				b.frame(true, 20)
				<-time.After(33 * time.Millisecond)
				b.seq += jump
				for range 6 {
					b.frame(false, 20)
					<-time.After(33 * time.Millisecond)
				}
				b.frame(true, 20)
				synctest.Wait()
				b.stop()
				stats := b.runner.jitter.Stats()
				late := uint64(0)
				if jump > 1<<15 {
					late = 1 // it looks like an old one until its successor comes
				}
				if stats.Gaps != 1 || stats.Late != late || stats.Packets+late != 8 {
					t.Errorf("a jump of %d: %+v", jump, stats)
				}
				if len(b.keys) != 1 {
					t.Errorf("key frames asked for at %v", b.keys)
				}
			})
		})
	}
}

func TestEdgeCase04EverythingWraps(t *testing.T) {
	long := func(n uint32) []byte { id := 32700 + n; return []byte{0x80, 0x80 | byte(id>>8&0x7f), byte(id)} }
	short := func(n uint32) []byte { return []byte{0x80, byte(100+n) & 0x7f} }
	for name, pictureID := range map[string]func(uint32) []byte{"picture ids of 15 bits": long, "of 7 bits": short, "none": nil} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				catalog := faces()
				catalog.Models[0].Rate = 10
				s := beginWith(t, 20*time.Millisecond, 4, catalog)
				defer s.end()
				s.pictureID = pictureID
				s.filter(func(sequence uint16, again bool) bool {
					return again || sequence > 2 && sequence < 65533 && sequence%50 != 0
				})
				s.run(30, 20*time.Second)
				if n := s.decoded(); n != 600 || s.keys != 1 || len(s.pictureLosses()) != 0 {
					t.Errorf("%d frames decoded, %d of them key frames, %d asked for", n, s.keys, len(s.pictureLosses()))
				}
				if _, _, most := s.requests(); most > 2 {
					t.Errorf("a packet was asked for %d times", most)
				}
				s.session.Close("test")
				frames := s.rig.uplinks[0].frames
				if len(frames) != 200 {
					t.Errorf("%d frames were due, want a third of 600", len(frames))
				}
				for i := 1; i < len(frames); i++ {
					if ticks := frames[i].RTP.Timestamp - frames[i-1].RTP.Timestamp; ticks != 8997 { // of three frames at 33.333333 ms
						t.Errorf("frame %d is %d ticks after the one before", i, ticks)
					}
				}
				checkCounts(t, s.session)
			})
		})
	}
}

func TestEdgeCase05AStalledDecoderDoesNotSlowTheNetworkDown(t *testing.T) {
	for _, packets := range []int{4, 30} { // the queue takes three seconds of the first, but not of the second
		t.Run(fmt.Sprint(packets), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := begin(t, 20*time.Millisecond, packets)
				defer s.end()
				s.run(30, 2*time.Second)
				s.stallOnce(3 * time.Second)
				s.run(30, 5*time.Second)
				s.film.mu.Lock()
				for i := 1; i < len(s.arrivals); i++ {
					if pause := s.arrivals[i] - s.arrivals[i-1]; pause > 50*time.Millisecond {
						t.Errorf("feedback %d says that a packet came %v after the one before", i, pause)
					}
				}
				if n := len(s.arrivals); n < int(s.number-10)*packets {
					t.Errorf("feedback for %d packets of %d frames", n, s.number)
				}
				s.film.mu.Unlock()
				if all, _, _ := s.requests(); all != 0 {
					t.Errorf("%d packets asked for that were never lost", all)
				}
				if lag, ok := s.lag(s.number); !ok || lag > 30*time.Millisecond {
					t.Errorf("at the end a frame is decoded %v after %v", ok, lag)
				}
				if n := s.decoded(); n < 60+50 || n > 60+65 {
					t.Errorf("%d frames decoded, want those of two seconds before the stall and two after it", n)
				}
				s.session.Close("test")
				drops := checkCounts(t, s.session)["camera"].Models[0].Drops
				// Of the long frames the queue lost so many that what it kept may all have been due for expiry first, and that none of the damaged
				// ones may have been in time. Of the short ones it lost none: nothing was damaged, it was too late.
				late := drops[media.Overloaded]
				if packets == 30 {
					late += drops[media.Expired]
				}
				if late == 0 || packets != 30 && drops[media.Damaged] > 0 {
					t.Errorf("what was too old ended as %v", drops)
				}
			})
		})
	}
}
