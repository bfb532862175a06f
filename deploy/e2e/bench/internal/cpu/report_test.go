package cpu

import (
	"math"
	"testing"
	"time"
)

func TestGoals(t *testing.T) {
	t.Parallel()
	costs := func(ms ...int) (readings []reading) {
		for _, m := range ms {
			readings = append(readings, reading{cost: time.Duration(m) * time.Millisecond, memory: 320 << 20})
		}
		return readings
	}
	r := report{
		cfg: Config{Codecs: []string{"vp8"}, Few: 4, Many: 16},
		cells: cells{
			{limitName, "vp8", 4}: costs(50, 100, 50), {edgeName, "vp8", 4}: costs(70, 200, 75), {aiortcName, "vp8", 4}: costs(180, 400, 160),
			{limitName, "vp8", 16}: costs(50, 50, 50), {edgeName, "vp8", 16}: costs(60, 60, 80),
		},
		most:     map[string]int{edgeName: 24, aiortcName: 9},
		overload: overloaded{streams: 30, early: []time.Duration{time.Millisecond}, late: []time.Duration{300 * time.Millisecond}},
	}
	// The ratios are of each round: 1.4, 2 and 1.5 of the limit.
	want := []struct {
		measured   float64
		known, met bool
	}{
		{1.5, true, true}, {0.46875, true, false}, {0, false, true}, {1.2, true, true}, {20, true, true}, {24.0 / 9, true, false}, {300, true, false},
	}
	goals := r.goals()
	if len(goals) != len(want) {
		t.Fatalf("%d goals, want %d: %+v", len(goals), len(want), goals)
	}
	for i, g := range goals {
		if w := want[i]; math.Abs(g.measured-w.measured) > 1e-9 || g.known != w.known || g.known && g.met() != w.met {
			t.Errorf("%s: measured %g, known %t, met %t; want %+v", g.what, g.measured, g.known, g.met(), w)
		}
	}
	if n := r.missed(); n != 3 {
		t.Errorf("%d goals missed, want 3", n)
	}
}

func TestPerSecond(t *testing.T) {
	t.Parallel()
	if got := perSecond(180, 6*time.Second); got != 30 {
		t.Errorf("180 frames in 6 s are %g a second", got)
	}
	if got := perSecond(3, 0); got != 0 {
		t.Errorf("frames without time between them are %g a second", got)
	}
}
