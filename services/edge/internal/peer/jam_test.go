package peer

import (
	"testing"
	"time"
)

func TestJam(t *testing.T) {
	t.Parallel()
	type step struct {
		messages, received uint64 // so far, a second after the step before
	}
	full := uint64(sctpBuffer) + 100<<10
	for _, c := range []struct {
		name  string
		steps []step
		want  int // the step that finds it, -1 for none
	}{
		{"nothing", []step{{0, 0}, {0, 0}, {0, 0}, {0, 0}, {0, 0}}, -1},
		{"a buffer that is full", []step{{0, full}, {0, full + 1000}, {0, full + 2000}, {0, full + 3000}, {0, full + 4000}}, 4},
		{"one that losses keep from filling", []step{{0, 3537000}, {0, 3683000}, {0, 3687000}, {0, 3693000}, {0, 3698000}, {0, 3704000}}, 5},
		{"one that fills slowly", []step{{0, full / 2}, {0, full}, {0, full}, {0, full}, {0, full}, {0, full}}, 5},
		{"a long message that is complete at last", []step{{0, full}, {0, full}, {0, full}, {1, full}, {1, full}, {1, full}, {1, full}}, -1},
		{"a network that repeats itself", []step{{0, full}, {0, 2 * full}, {0, 3 * full}, {0, 4 * full}, {0, 5 * full}}, -1},
		{"much in many messages", []step{{9, full}, {9, full}, {9, full}, {9, full}, {9, full}, {9, full}}, -1},
		{"a part of a message", []step{{0, full / 2}, {0, full / 2}, {0, full / 2}, {0, full / 2}, {0, full / 2}}, -1},
		{"after others", []step{{3, 2 * full}, {3, 3 * full}, {3, 3 * full}, {3, 3 * full}, {3, 3 * full}, {3, 3 * full}}, 5},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var j jam
			found, now := -1, time.Unix(1000, 0)
			for i, s := range c.steps {
				if j.look(s.messages, s.received, now.Add(time.Duration(i)*time.Second)) && found < 0 {
					found = i
				}
			}
			if found != c.want {
				t.Errorf("found at step %d, want %d", found, c.want)
			}
		})
	}
}
