//go:build e2e

package e2e

import (
	"runtime"
	"testing"

	"golang.org/x/sync/semaphore"
)

// processors is how much of the machine the tests that run beside others may keep busy together, in hundredths of a processor. The rest is for what comes in bursts: the start of a browser,
// of Python.
var processors = semaphore.NewWeighted(capacity())

func capacity() int64 { return int64(85 * runtime.NumCPU()) }

// beside has a test run beside others, after those that need the machine for themselves because they measure times that a browser or a scheduler must keep, or take the ports of `make run`. It
// is the first thing that a test does. busy is how many processors the test keeps busy, on average over its length, with all that it starts.
func beside(t *testing.T, busy float64) {
	t.Helper()
	t.Parallel()
	share := min(int64(100*busy), capacity())
	if err := processors.Acquire(t.Context(), share); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { processors.Release(share) })
}
