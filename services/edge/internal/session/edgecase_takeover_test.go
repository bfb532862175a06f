//go:build !race

package session

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/interceptor"
	"github.com/pion/webrtc/v4"
)

// The test of this file has pion give a track another source while the track is read, which pion does without a lock: the race detector
// would only tell of that.

// A client that names the layer in its retransmissions as if they were the layer itself has another source take the layer's name.
func TestEdgeCase21AnotherSourceTakesALayersName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := beginSceneWith(t, taking(640, 360), func(*webrtc.MediaEngine, *interceptor.Registry) error { return nil }, asIs)
		defer s.end()
		s.run(3 * time.Second)
		s.lose()
		s.run(3 * time.Second)
		began := time.Now()
		s.session.Close("test")
		if after := time.Since(began); after > 3*time.Second {
			t.Errorf("it took %v to close", after)
		}
		checkCounts(t, s.session)
	})
}
