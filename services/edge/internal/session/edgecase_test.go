package session

import (
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"
)

// The tests of this file are the edge cases of media as it really arrives, in virtual time: loss, outages, wrap-arounds, stalls.

func TestEdgeCase01ALossAtOneFrameASecondIsRepairedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const oneWay = 50 * time.Millisecond
		s := begin(t, oneWay, 10)
		defer s.end()
		lost := 0
		s.filter(func(sequence uint16, again bool) bool {
			if !again && sequence%10 == 5 {
				lost++
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
		if lost != 20 || packets != lost || most > 3 {
			t.Errorf("%d packets lost, %d asked for, %d requests, one packet %d times", lost, packets, all, most)
		}
		lag, _ := s.lag(20)
		t.Logf("%d lost, %d requests, a frame takes %v", lost, all, lag)
	})
}

func TestEdgeCase02RandomLossDamagesNothingThatIsShown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := begin(t, 50*time.Millisecond, 4)
		defer s.end()
		random := rand.New(rand.NewPCG(2, 2))
		lost := 0
		s.filter(func(uint16, bool) bool {
			if random.Float64() < 0.05 {
				lost++
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
		all, packets, most := s.requests()
		if most > 4 || all > 2*lost {
			t.Errorf("%d packets lost, %d requests for %d packets, one %d times", lost, all, packets, most)
		}
		t.Logf("%d of %d frames, %d lost, %d requests for %d packets, %d key frames asked for", s.decoded(), frames, lost, all, packets, len(asked))
	})
}
