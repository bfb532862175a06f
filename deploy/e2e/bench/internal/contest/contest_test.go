package contest

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluice-dev/sluice/deploy/e2e/bench/internal/batch"
	"github.com/sluice-dev/sluice/deploy/e2e/bench/internal/stub"
)

// good is a run of each policy in a regime as the study's simulation had it, roughly.
func good(r regime, seed uint64) []Row {
	row := func(p policy, goodput, p50, p99, age, worst, share, jain float64) Row {
		return Row{
			Alpha: millis(r.model.alpha), Beta: millis(r.model.beta), Instances: r.instances, Load: r.load, Shape: string(r.shape), Policy: string(p), Seed: seed,
			SLO: 400, Bound: min(r.load, 1) * 865, Capacity: 865, Offered: r.load * 865, Goodput: goodput * min(r.load, 1) * 865, P50: p50, P99: p99, MeanAge: age, WorstAge: worst, Share: share, Jain: jain,
			Frames: 1000, Answered: 900, Superseded: 100, InFlight: 2, Sizes: "8:100 9:3", Batch: 8, Busy: 0.1,
		}
	}
	if r.load < 1 {
		return []Row{
			row(fresh, 1, 100, 300, 280, 400, 0.99, 1), row(fixed, 1, 200, 300, 380, 600, 0.99, 1), row(gated, 0.94, 100, 300, 350, 500, 0.9, 0.99),
			row(tritonDefault, 1, 100, 230, 350, 500, 0.99, 1), row(tritonTuned, 1, 100, 230, 350, 500, 0.99, 1),
		}
	}
	return []Row{
		row(fresh, 0.97, 150, 360, 450, 640, 0.97, 0.999), row(fixed, 0, 9000, 15000, 9000, 12000, 0, 0), row(gated, 0.5, 300, 700, 650, 850, 0, 0.7),
		row(tritonDefault, 0, 5000, 9000, 5000, 7000, 0, 0), row(tritonTuned, 0.99, 250, 310, 800, 1900, 0.4, 0.9),
	}
}

func all(e Extent, seeds int) (rows []Row) {
	for seed := range seeds {
		for _, r := range regimes(e) {
			rows = append(rows, good(r, uint64(seed+1))...)
		}
	}
	return rows
}

// TestReport spoils one thing in runs that meet all goals: exactly what it is about is missed then.
func TestReport(t *testing.T) {
	t.Parallel()
	at := func(load float64, shape batch.Shape, p policy, change func(*Row)) func([]Row) {
		return func(rows []Row) {
			for i := range rows {
				if r := &rows[i]; r.Load == load && r.Shape == string(shape) && r.Policy == string(p) {
					change(r)
				}
			}
		}
	}
	for name, c := range map[string]struct {
		spoil func([]Row)
		want  []string
	}{
		"nothing":             {func([]Row) {}, nil},
		"idle goodput":        {at(0.5, batch.Periodic, fresh, func(r *Row) { r.Goodput *= 0.98 }), []string{"G1 goodput, of what was offered"}},
		"idle delay":          {at(0.5, batch.Periodic, fresh, func(r *Row) { r.P50 = 111 }), []string{"G1 p50, × Triton rules, default"}},
		"shares near the top": {at(0.9, batch.Periodic, fresh, func(r *Row) { r.Share = 0.92 }), []string{"G2 worst share"}},
		"less than tuned":     {at(1.5, batch.Periodic, fresh, func(r *Row) { r.Goodput = 0.925 * 865 }), []string{"G3 goodput, × Triton rules, tuned"}},
		"a good gate":         {at(1.5, batch.Periodic, gated, func(r *Row) { r.Goodput = 0.62 * 865 }), []string{"G3 goodput, × gate"}},
		"a fixed that works":  {at(1.5, batch.Periodic, fixed, func(r *Row) { r.Goodput = 0.1 * 865 }), []string{"G3 goodput, × fixed"}},
		"age":                 {at(1.5, batch.Periodic, fresh, func(r *Row) { r.MeanAge = 650 }), []string{"G4 mean age, × Triton rules, tuned"}},
		"unfair":              {at(1.5, batch.Periodic, fresh, func(r *Row) { r.Jain = 0.97 }), []string{"G4 Jain's index"}},
		"one seed is bad": {
			func(rows []Row) {
				at(3, batch.Periodic, fresh, func(r *Row) { r.Share -= 0.05 * float64(r.Seed) })(rows)
			}, []string{"G5 worst share"},
		},
		"starved in phase": {at(1.5, batch.InPhase, fresh, func(r *Row) { r.Share = 0.69 }), []string{"G6 worst share"}},
		"late":             {at(3, batch.Periodic, fresh, func(r *Row) { r.Late = 0.02 }), []string{"G7 answers later than the SLO"}},
		"waste":            {at(0.9, batch.Periodic, fresh, func(r *Row) { r.Wasted = 1 }), []string{"G7 dropped frames that the model saw"}},
		"three in flight":  {at(3, batch.Periodic, fresh, func(r *Row) { r.InFlight = 3 }), []string{" batches at an instance at once"}},
		"failures":         {at(3, batch.Periodic, fresh, func(r *Row) { r.Failed = 1 }), []string{" failed frames"}},
		"a void regime": {at(1.5, batch.InPhase, fresh, func(r *Row) { r.Void = "busy" }), []string{
			"G6 worst share", "G7 answers later than the SLO", "G7 p99, of the SLO", "G7 dropped frames that the model saw", " batches at an instance at once", " failed frames",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rows := all(Issue, 3)
			c.spoil(rows)
			var missed []string
			for _, g := range groups(rows) {
				for _, goal := range goalsOf(Issue, g.regime) {
					if v := goal.judge("", g.seeds()); !v.met {
						missed = append(missed, v.name+" "+v.what)
					}
				}
			}
			if !slices.Equal(missed, c.want) {
				t.Errorf("missed %q, want %q", missed, c.want)
			}
			var text bytes.Buffer
			n, err := questionOf(Issue).report(&text, rows)
			if err != nil || n != len(c.want) || strings.Count(text.String(), "MISSED")+strings.Count(text.String(), "NOT SHOWN") != n {
				t.Errorf("%d missed, %v, want %d:\n%s", n, err, len(c.want), text.String())
			}
		})
	}
}

func TestTooManyVoidRunsAreAnError(t *testing.T) {
	t.Parallel()
	rows := all(Issue, 3)
	for i := range rows {
		if i%4 == 0 {
			rows[i].Void = "busy"
		}
	}
	var text bytes.Buffer
	if _, err := questionOf(Issue).report(&text, rows); err == nil || !strings.Contains(text.String(), "19 of 75 runs are void") {
		t.Errorf("error %v, report:\n%s", err, text.String())
	}
}

func TestGridHasGoalsEverywhere(t *testing.T) {
	t.Parallel()
	list := regimes(Grid)
	if len(list) != 3*2*8 {
		t.Errorf("%d regimes, want 48", len(list))
	}
	for _, r := range list {
		for _, p := range policies(Grid) {
			if flags := batcherFlags(p, r, 4); p == tritonTuned && !slices.Contains(flags, stretch(r.model.triton.Timeout, 4).String()) {
				t.Errorf("%s: flags %q", r, flags)
			}
		}
		if _, known := r.model.fixed[r.load]; !known {
			t.Errorf("no fixed settings at %s", r)
		}
		if len(goalsOf(Grid, r)) < 6 {
			t.Errorf("%s has goals %+v", r, goalsOf(Grid, r))
		}
	}
	for _, e := range []Extent{Issue, Smoke} {
		for _, r := range regimes(e) {
			if len(goalsOf(e, r)) < 4 {
				t.Errorf("%s has too few goals", r)
			}
		}
	}
}

// TestMerge writes runs to two files and reads them back.
func TestMerge(t *testing.T) {
	t.Parallel()
	rows := all(Issue, 2)
	rows[3].Void, rows[4].Settings = "busy, and late", `a "setting", with commas`
	var files []string
	for i, part := range [][]Row{rows[:7], rows[7:]} {
		cfg := Config{Files: t.TempDir(), Part: i + 1, Parts: 2}
		if err := cfg.save("batch", part); err != nil {
			t.Fatal(err)
		}
		files = append(files, filepath.Join(cfg.Files, fmt.Sprintf("batch-%dof2.csv", i+1)))
	}
	var back []Row
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		more, err := readRows(bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		back = append(back, more...)
	}
	if len(back) != len(rows) {
		t.Fatalf("%d rows read, %d written", len(back), len(rows))
	}
	for i := range rows {
		if got, want := back[i].record(), rows[i].record(); !slices.Equal(got, want) {
			t.Errorf("row %d: read %q, written %q", i, got, want)
		}
	}
	var text bytes.Buffer
	if n, err := Merge(files, Issue, &text); n != 0 || err != nil || !strings.Contains(text.String(), "1 of 50 runs are void") {
		t.Errorf("%d missed, %v:\n%s", n, err, text.String())
	}
	for name, content := range map[string]string{
		"no header": strings.Join(rows[0].record(), ",") + "\n", "empty": "", "short": strings.Join(columns(), ",") + "\n1,2\n",
		"no number": strings.Join(columns(), ",") + "\n" + strings.Repeat("x,", len(columns())-1) + "\n",
	} {
		file := filepath.Join(t.TempDir(), "bad.csv")
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Merge([]string{file}, Issue, &text); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestVoid(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		row  Row
		want string
	}{
		{Row{Busy: 0.69, Lateness: 7.9, Overshoot: 0.049}, ""},
		{Row{Busy: 0.7}, "processors 70 % busy"},
		{Row{Lateness: 8}, "frames sent 8.0 ms late"},
		{Row{Overshoot: 0.05}, "batches took 5.0 % longer than they were to"},
	} {
		if got := c.row.void(4); got != c.want {
			t.Errorf("%+v: %q, want %q", c.row, got, c.want)
		}
	}
	var batches []stub.Batch
	for i := range 200 {
		batches = append(batches, stub.Batch{Started: 50, Ended: 150 + time.Duration(i/10), Planned: 100})
	}
	if got := overshoot(batches); math.Abs(got-0.19) > 1e-9 {
		t.Errorf("overshoot %v, want 0.19", got)
	}
}

func TestFit(t *testing.T) {
	t.Parallel()
	want := stub.Profile{Alpha: 20 * time.Millisecond, Beta: 4 * time.Millisecond}
	var sizes []int
	var took []time.Duration
	for b := range 32 {
		sizes, took = append(sizes, b+1), append(took, want.Takes(b+1))
	}
	got := fit(sizes, took)
	if d := got.Alpha - want.Alpha; d.Abs() > time.Microsecond {
		t.Errorf("fitted %+v, want %+v", got, want)
	}
	p := Profile{Profile: want, Max: 32, SLO: 400 * time.Millisecond}
	if got := p.capacity(2, 4); math.Abs(got-2*32/0.148) > 1e-9 {
		t.Errorf("capacity %v of two instances, want 432", got)
	}
	p.SLO = 100 * time.Millisecond
	if got := p.capacity(1, 4); math.Abs(got-18/0.092) > 1e-9 {
		t.Errorf("capacity %v, want that of batches of 18, with 8 ms for the way", got)
	}
}

func TestSaw(t *testing.T) {
	t.Parallel()
	var r Row
	r.saw(stub.Journal{Most: 2, Batches: []stub.Batch{{Size: 2, Heads: []uint64{1, 2}}, {Size: 10, Heads: []uint64{3}}, {Size: 2, Heads: []uint64{4}}}}, map[uint64]bool{2: true, 4: true, 5: true})
	if r.Wasted != 2 || r.Sizes != "2:2 10:1" || r.InFlight != 2 || math.Abs(r.Batch-14.0/3) > 1e-9 {
		t.Errorf("%+v", r)
	}
}
