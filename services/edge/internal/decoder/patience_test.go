package decoder

import (
	"testing"
	"time"

	"github.com/sluice-dev/sluice/services/edge/internal/ipc"
)

// Units that waited must not cost the one that they go with its time: each has the whole of it.
func TestEveryUnitOfARequestHasItsTime(t *testing.T) {
	t.Parallel()
	for ahead := range ipc.MaxAhead + 1 {
		if got, want := patience(250*time.Millisecond, ahead), time.Duration(ahead+1)*250*time.Millisecond; got != want {
			t.Errorf("%d units ahead: %v, want %v", ahead, got, want)
		}
	}
}
