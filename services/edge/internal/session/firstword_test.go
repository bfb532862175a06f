package session

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/webrtc/v4"
)

// A message that comes before the session's router has said what its models need may be the client's only one. It waits for that, and ends as all others do.
func TestMessageBeforeTheRoutersFirstWord(t *testing.T) {
	for name, c := range map[string]struct {
		opensAfter time.Duration
		drop       string
	}{
		"it comes late": {opensAfter: 800 * time.Millisecond},
		"it never does": {opensAfter: time.Hour, drop: "NO_ROUTER"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var d *webrtc.DataChannel
				var got <-chan message
				s := newTalk(t)
				s.rig.opensAfter = c.opensAfter
				s.begin(plain, asIs, func(c *client) { d, got = c.channel("one", "image/jpeg") })
				defer s.end()
				opened(t, d)
				send(t, d, jpeg(100))
				switch o := outcome(t, got).Outcome; {
				case c.drop == "" && o.Result == nil, c.drop != "" && (o.Drop == nil || o.Drop.Reason != c.drop):
					t.Errorf("it ended as %+v", o)
				}
			})
		})
	}
}
