package contest

import (
	"slices"
	"strings"
	"testing"
)

// realRows are runs of all seeds at the overloads, in which the router is as good as the study has it.
func realRows() (rows []Row) {
	for _, load := range realLoads(Issue) {
		for seed := range uint64(3) {
			row := func(p policy, goodput, age, worst, share float64) Row {
				return Row{
					Alpha: 5, Beta: 1, Instances: 1, Load: load, Shape: "periodic", Policy: string(p), Settings: "as set", Seed: seed, SLO: 400,
					Bound: 216, Offered: 216 * load, Goodput: goodput, MeanAge: age, WorstAge: worst, Share: share,
				}
			}
			rows = append(rows, row(realTrial, 1, 1, 1, 1), row(fresh, 209, 450, 650, 0.97), row(realDefault, 0, 2000, 2400, 0), row(realTuned, 212, 700, 1700, 0.3))
		}
	}
	return rows
}

func TestReportOnTriton(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		change func(*Row)
		missed int
	}{
		{"as it should be", func(*Row) {}, 0},
		{"no better than Triton's ages", func(r *Row) {
			if r.Policy == string(realTuned) {
				r.MeanAge, r.WorstAge = 450, 650
			}
		}, 4},
		{"frames fail", func(r *Row) { r.Failed = 1 }, 2},
		{"a stream starves", func(r *Row) {
			if r.Policy == string(fresh) {
				r.Share = 0.1
			}
		}, 2},
		{"trials do not count", func(r *Row) {
			if r.Policy == string(realTrial) {
				r.Void = "yes"
			}
		}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			rows := realRows()
			for i := range rows {
				c.change(&rows[i])
			}
			var text strings.Builder
			missed, err := reportTriton(&text, Issue, rows)
			if err != nil || missed != c.missed {
				t.Errorf("%d goals are missed, %v; want %d\n%s", missed, err, c.missed, text.String())
			}
			if strings.Contains(text.String(), string(realTrial)) || !strings.Contains(text.String(), "tuned, at 3.0×: as set") {
				t.Errorf("the report is\n%s", text.String())
			}
		})
	}
}

func TestTunings(t *testing.T) {
	t.Parallel()
	for _, e := range []Extent{Issue, Smoke} {
		list := tunings(e)
		for i, b := range list {
			if !b.Dynamic || b.Timeout == 0 || b.Max < 1 || b.Max > maxBatch || slices.Index(list, b) != i {
				t.Errorf("setting %d is %+v", i, b)
			}
		}
	}
}
