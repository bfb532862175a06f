package contest

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"

	"github.com/sluice-dev/sluice/deploy/e2e/bench/internal/batch"
)

// mostVoid is the part of the runs that may be void.
const mostVoid = 0.2

// group is the runs of one regime.
type group struct {
	regime regime
	rows   []Row
}

// groups sorts runs into regimes, in the order in which these first appear.
func groups(rows []Row) (list []group) {
	for _, row := range rows {
		r := regime{instances: row.Instances, load: row.Load, shape: batch.Shape(row.Shape)}
		for _, m := range models() {
			if millis(m.alpha) == row.Alpha && millis(m.beta) == row.Beta {
				r.model = m
			}
		}
		at := slices.IndexFunc(list, func(g group) bool { return g.regime.setting() == r.setting() && g.regime.String() == r.String() })
		if at < 0 {
			at = len(list)
			list = append(list, group{regime: r})
		}
		list[at].rows = append(list[at].rows, row)
	}
	return list
}

// seeds gives the runs that count, by seed.
func (g group) seeds() (list []map[policy]Row) {
	bySeed := make(map[uint64]map[policy]Row)
	for _, row := range g.rows {
		if row.Void != "" {
			continue
		}
		if bySeed[row.Seed] == nil {
			bySeed[row.Seed] = make(map[policy]Row)
			list = append(list, bySeed[row.Seed])
		}
		bySeed[row.Seed][policy(row.Policy)] = row
	}
	return list
}

// question is what runs are to show: which policies do better, by which goals.
type question struct {
	policies []policy
	goals    func(regime) []goal
}

// report prints the tables and gives the number of goals missed. Too many void runs are an error.
func (q question) report(to io.Writer, rows []Row) (missed int, err error) {
	all := groups(rows)
	var verdicts []verdict
	for _, g := range all {
		for _, goal := range q.goals(g.regime) {
			verdicts = append(verdicts, goal.judge(g.regime.setting()+", "+g.regime.String(), g.seeds()))
		}
	}
	for _, v := range verdicts {
		if !v.met {
			missed++
		}
	}
	void := slices.Collect(func(yield func(string) bool) {
		for i := range rows {
			if rows[i].Void != "" && !yield(fmt.Sprintf("%s %s %s seed %d: %s", rows[i].Shape, fmt.Sprintf("%.1f×", rows[i].Load), rows[i].Policy, rows[i].Seed, rows[i].Void)) {
				return
			}
		}
	})
	text := q.results(all) + "\n" + judged(verdicts) + fmt.Sprintf("\n%d of %d runs are void.\n", len(void), len(rows))
	for _, why := range void {
		text += "  " + why + "\n"
	}
	if _, err := io.WriteString(to, text); err != nil {
		return 0, err
	}
	if float64(len(void)) > mostVoid*float64(len(rows)) {
		return missed, fmt.Errorf("%d of %d runs are void, more than one in five: the machine is too busy for this", len(void), len(rows))
	}
	return missed, nil
}

func newTable(title string, header ...any) table.Writer {
	t := table.NewWriter()
	t.SetStyle(table.StyleLight)
	t.Style().Format.Header = text.FormatDefault
	t.SetTitle(title)
	t.AppendHeader(header)
	return t
}

// results prints regime × policy: means over the seeds.
func (q question) results(all []group) string {
	var tables []string
	for i, g := range all {
		if i == 0 || all[i-1].regime.setting() != g.regime.setting() {
			tables = append(tables, q.settingTable(all[i:]))
		}
	}
	return strings.Join(tables, "\n")
}

// settingTable prints the regimes that have the first one's setting.
func (q question) settingTable(all []group) string {
	setting := all[0].regime.setting()
	t := newTable(setting+"; means of the seeds that count, times in stretched ms",
		"load", "policy", "goodput/s", "of bound", "p50", "p99", "mean age", "worst age", "worst share", "Jain", "batch", "capacity", "seeds")
	for _, g := range all {
		if g.regime.setting() != setting {
			break
		}
		seeds := g.seeds()
		for _, p := range q.policies {
			mean := func(of func(Row) float64) float64 {
				var values []float64
				for _, runs := range seeds {
					if row, ran := runs[p]; ran {
						values = append(values, of(row))
					}
				}
				m, _ := spread(values)
				return m
			}
			n := 0
			for _, runs := range seeds {
				if _, ran := runs[p]; ran {
					n++
				}
			}
			if n == 0 {
				continue
			}
			t.AppendRow(table.Row{
				g.regime, p, whole(mean(goodput)), fmt.Sprintf("%.2f", mean(ofBound)), whole(mean(func(r Row) float64 { return r.P50 })), whole(mean(func(r Row) float64 { return r.P99 })),
				whole(mean(meanAge)), whole(mean(worstAge)), fmt.Sprintf("%.2f", mean(share)), fmt.Sprintf("%.3f", mean(func(r Row) float64 { return r.Jain })),
				known("%.1f", mean(func(r Row) float64 { return r.Batch })), known("%.2f", mean(func(r Row) float64 { return r.Predicted / r.Capacity })), n,
			})
		}
		t.AppendSeparator()
	}
	return t.Render() + "\n"
}

// known prints a number that is 0 where nobody knows it.
func known(format string, x float64) string {
	if x == 0 {
		return ""
	}
	return fmt.Sprintf(format, x)
}

func whole(x float64) string { return fmt.Sprintf("%.0f", x) }

// judged prints the goals.
func judged(verdicts []verdict) string {
	t := newTable("Goals: the mean less two standard deviations (plus, where the bound is the most) must meet the bound", "", "regime", "what", "bound", "mean", "σ", "seeds", "")
	for _, v := range verdicts {
		relation, said := "≥", "met"
		if v.atMost {
			relation = "≤"
		}
		switch {
		case v.seeds == 0:
			said = "NOT SHOWN"
		case !v.met:
			said = "MISSED"
		}
		t.AppendRow(table.Row{v.name, v.regime, v.what, fmt.Sprintf("%s %g", relation, v.bound), fmt.Sprintf("%.3f", v.mean), fmt.Sprintf("%.3f", v.deviation), v.seeds, said})
	}
	return t.Render()
}
