package uplink

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluice-dev/sluice/pkg/media"
)

// held counts the payloads that are not released.
func (s *session) held() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	held := 0
	for _, n := range s.released {
		if n == 0 {
			held++
		}
	}
	return held
}

// A payload is gRPC's until the last byte of it has been written, or the call or the connection has ended. session.check sees to it that it is released then, and once.
func TestPayloadsAreHeldUntilWritten(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		// end ends what holds the first payload back.
		end func(s *session, r *router, read chan struct{})
		// left is how many payloads are held after it: of the garbage collector's there may still be one.
		left int
	}{
		{"the router reads", func(_ *session, _ *router, read chan struct{}) { close(read) }, 0},
		{"the session ends", func(s *session, _ *router, _ chan struct{}) { s.Close() }, 0},
		{"the connection breaks", func(_ *session, r *router, _ chan struct{}) { r.stop() }, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				n := newNetwork(t)
				read := make(chan struct{})
				r := n.start("a", func(c *conversation) error {
					if err := c.welcome(9, []media.Model{faces}, []media.Input{{ID: faces.InputID, Form: media.PictureForm(large)}}); err != nil {
						return err
					}
					select {
					case <-read:
					case <-c.Context().Done():
						return c.Context().Err()
					}
					for {
						if f, err := c.frame(); f == nil || err != nil {
							return err
						}
					}
				})
				s := openSession(t, n.pool("a"))
				s.untilOpened()
				for sequence := range uint32(3) {
					s.offer(sequence+1, large.Bytes(), s.input("faces"), "faces")
					synctest.Wait()
				}
				if held := s.held(); held != 2 || len(s.sent) != 1 || s.drop(2, "faces") != media.Superseded {
					t.Errorf("%d payloads are held, %d were sent, the second %s; want the first in gRPC and the newest in its slot", held, len(s.sent), s.drop(2, "faces"))
				}
				c.end(s, r, read)
				pass(100 * time.Millisecond)
				synctest.Wait()
				if held := s.held(); held > c.left {
					t.Errorf("%d payloads are held, want at most %d", held, c.left)
				}
			})
		})
	}
}
