//go:build !race

package dispatch

import (
	"fmt"
	"testing"
)

// TestFramesCostNoMemory counts what batches of one frame and of many allocate, with as many frames again that are superseded: a batch has its context and its goroutine,
// a frame has nothing of its own. The race detector has pools forget at random.
func TestFramesCostNoMemory(t *testing.T) {
	const many, runs = 64, 100
	cfg := modelConfig("faces", &instant{results(many)})
	cfg.MaxBatch, cfg.Streams = many, many
	d, err := newForTest(Config{Models: []ModelConfig{cfg}, Policy: newFull})
	if err != nil {
		t.Fatal(err)
	}
	m, owner := d.table.models[0], &nobody{}
	var frames Frames
	var names [many]string
	for i := range names {
		names[i] = fmt.Sprint("stream", i)
	}
	sequence := uint32(0)
	allocations := func(n int) float64 {
		return testing.AllocsPerRun(runs, func() {
			for range 2 {
				sequence++
				for _, name := range names[:n] {
					d.Submit(plain(&frames, owner, "faces", name, sequence))
				}
			}
			drain(t, m)
		})
	}
	allocations(many) // makes room
	one, all := allocations(1), allocations(many)
	if perFrame := (all - one) / (many - 1); perFrame > .1 { // of the odd collection of garbage, which empties pools
		t.Errorf("%v allocations for a batch of one, %v for one of %d: %.2f for a frame, want none", one, all, many, perFrame)
	}
	if owner.results != owner.others || owner.results != (runs+1)*(1+2*many) {
		t.Errorf("%d results and %d other outcomes, want %d of each", owner.results, owner.others, (runs+1)*(1+2*many))
	}
	t.Logf("a batch costs %v allocations", one)
}
