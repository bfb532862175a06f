package uplink

import (
	"testing"
	"testing/synctest"

	"github.com/sluice-dev/sluice/pkg/media"
)

func TestForget(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		n.start("a", func(c *conversation) error {
			if err := c.welcomeFaces(1); err != nil {
				return err
			}
			return c.wait()
		})
		s := openSession(t, n.pool("a"))
		s.untilOpened()
		s.offer(1, 1, s.input("faces"), "faces")
		synctest.Wait()
		s.offer(2, 1, s.input("faces"), "faces")
		s.Forget("camera")
		synctest.Wait()
		if got := s.drop(2, "faces"); got != media.Draining {
			t.Errorf("the waiting frame of a stream that ended: %q, want DRAINING", got)
		}
		if n := len(s.waiting.newest) + len(s.waiting.waiting) + len(s.waiting.turn); n != 0 {
			t.Errorf("%d things are still kept of the stream", n)
		}
	})
}

// A stream that ends, as all do with their session, leaves frames with the router. Their answers count.
func TestAnswersAfterForget(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		release := make(chan struct{})
		n.start("a", func(c *conversation) error {
			if err := c.welcomeFaces(2); err != nil {
				return err
			}
			for range 2 {
				f, err := c.frame()
				if err != nil {
					return err
				}
				defer func() { _ = c.answer(f) }()
			}
			<-release
			return nil
		})
		s := openSession(t, n.pool("a"))
		s.untilOpened()
		for sequence := range uint32(2) {
			s.offer(sequence+1, 1, s.input("faces"), "faces")
			synctest.Wait()
		}
		s.Forget("camera")
		synctest.Wait()
		close(release)
		s.until("both answers", func() bool {
			return s.answers[unit{"camera", 1, "faces"}] == 1 && s.answers[unit{"camera", 2, "faces"}] == 1
		})
	})
}
