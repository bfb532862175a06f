package cpu

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
)

// report is what a run came to.
type report struct {
	cfg     Config
	cells   cells
	missing map[string]string
	// most is the largest number of fluent streams, by system; empty when it was not searched for.
	most     map[string]int
	overload overloaded
	profile  []string
}

// goal is one of the goals.
type goal struct {
	what     string
	measured float64
	unit     string
	// bound is the most, or the least when atLeast is set.
	bound   float64
	atLeast bool
	// known is false when what it compares with could not be measured.
	known bool
}

func (g goal) met() bool {
	if g.atLeast {
		return g.measured >= g.bound
	}
	return g.measured <= g.bound
}

func (r *report) missed() (n int) {
	for _, g := range r.goals() {
		if g.known && !g.met() {
			n++
		}
	}
	return n
}

// goals holds the measurements against the goals.
func (r *report) goals() (goals []goal) {
	for _, codec := range r.cfg.Codecs {
		for _, against := range []struct {
			system  string
			streams int
			bound   float64
		}{
			{limitName, r.cfg.Few, 1.5}, {aiortcName, r.cfg.Few, 0.45}, {gstreamerName, r.cfg.Few, 0.60}, {limitName, r.cfg.Many, 1.35},
		} {
			ratio, known := r.ratio(against.system, codec, against.streams)
			what := fmt.Sprintf("edge at %d streams of %s, of %s", against.streams, codec, against.system)
			goals = append(goals, goal{what: what, measured: ratio, unit: "×", bound: against.bound, known: known})
		}
		memory := medianOf(r.cells[cell{edgeName, codec, r.cfg.Many}], func(m reading) float64 { return float64(m.memory) / float64(r.cfg.Many) / (1 << 20) })
		goals = append(goals, goal{what: "edge's memory (PSS) a session, " + codec, measured: memory, unit: " MiB", bound: 24, known: memory > 0})
	}
	if len(r.most) > 0 {
		others := r.most[aiortcName]
		goals = append(goals, goal{
			what: "streams of the edge, of aiortc's", measured: float64(r.most[edgeName]) / float64(max(others, 1)), unit: "×", bound: 3, atLeast: true, known: others > 0,
		})
	}
	if r.overload.streams == 0 {
		return goals
	}
	worst := max(quantile(r.overload.early, 0.99), quantile(r.overload.late, 0.99))
	return append(goals, goal{
		what: fmt.Sprintf("lag at %d streams, 99 of 100 pictures", r.overload.streams), measured: millis(worst), unit: " ms", bound: 250, known: len(r.overload.late) > 0,
	})
}

// ratio is the edge's cost of another system's: the median over the rounds, in each of which the two were measured within a minute.
func (r *report) ratio(system, codec string, streams int) (ratio float64, known bool) {
	ours, theirs := r.cells[cell{edgeName, codec, streams}], r.cells[cell{system, codec, streams}]
	var ratios []float64
	for i := range min(len(ours), len(theirs)) {
		ratios = append(ratios, float64(ours[i].cost)/float64(theirs[i].cost))
	}
	return median(ratios), len(ratios) > 0
}

func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	slices.Sort(values)
	return (values[(len(values)-1)/2] + values[len(values)/2]) / 2
}

func medianOf(readings []reading, of func(reading) float64) float64 {
	var values []float64
	for _, m := range readings {
		values = append(values, of(m))
	}
	return median(values)
}

func (r *report) render() string {
	parts := []string{r.costs(), r.verdicts()}
	if r.overload.streams > 0 {
		parts = append(parts, fmt.Sprintf("With %d streams the lag is %s in the first third and %s in the last, of which within the edge %s; the slowest stream has %.1f fps, the mean %.1f. Not results: %s.",
			r.overload.streams, lagText(r.overload.early), lagText(r.overload.late), lagText(r.overload.edge), r.overload.slowest, r.overload.mean, reasons(r.overload.drops)))
	}
	for _, name := range slices.Sorted(maps.Keys(r.missing)) {
		parts = append(parts, fmt.Sprintf("%s: %s", name, r.missing[name]))
	}
	return strings.Join(append(parts, "Where the time goes: "+strings.Join(r.profile, " ")), "\n")
}

func reasons(drops map[string]int) string {
	if len(drops) == 0 {
		return "none"
	}
	var parts []string
	for _, reason := range slices.Sorted(maps.Keys(drops)) {
		parts = append(parts, fmt.Sprintf("%d %s", drops[reason], reason))
	}
	return strings.Join(parts, ", ")
}

// costs is the table of what a stream costs.
func (r *report) costs() string {
	t := newTable(fmt.Sprintf("Processor time: 720p30 at 1.6 Mbit/s, every frame decoded, 10 a second to RGB 640×360; median of %d rounds of %s", r.cfg.Rounds, r.cfg.Window))
	t.AppendHeader(table.Row{"codec", "streams", "system", "ms a stream-second", "least–most", "of the limit", "slowest fps", "PSS a stream", "most streams"})
	t.SetColumnConfigs([]table.ColumnConfig{
		{Number: 4, Align: text.AlignRight}, {Number: 5, Align: text.AlignRight}, {Number: 6, Align: text.AlignRight},
		{Number: 7, Align: text.AlignRight}, {Number: 8, Align: text.AlignRight}, {Number: 9, Align: text.AlignRight},
	})
	for _, codec := range r.cfg.Codecs {
		for _, streams := range []int{r.cfg.Few, r.cfg.Many} {
			for _, system := range []string{limitName, edgeName, aiortcName, gstreamerName} {
				if readings := r.cells[cell{system, codec, streams}]; len(readings) > 0 {
					t.AppendRow(r.row(cell{system, codec, streams}, readings))
				}
			}
			t.AppendSeparator()
		}
	}
	return t.Render()
}

func (r *report) row(c cell, readings []reading) table.Row {
	cost := func(m reading) float64 { return millis(m.cost) }
	least, most := time.Duration(1<<62), time.Duration(0)
	slowest := readings[0].slowest
	for _, m := range readings {
		least, most, slowest = min(least, m.cost), max(most, m.cost), min(slowest, m.slowest)
	}
	limit := medianOf(r.cells[cell{limitName, c.codec, c.streams}], cost)
	streams := ""
	if n := r.most[c.system]; n > 0 && c.streams == r.cfg.Few && c.codec == r.cfg.Codecs[0] {
		streams = fmt.Sprint(n)
	}
	memory := medianOf(readings, func(m reading) float64 { return float64(m.memory) / float64(c.streams) / (1 << 20) })
	return table.Row{
		c.codec, c.streams, c.system, fmt.Sprintf("%.1f", medianOf(readings, cost)), fmt.Sprintf("%.1f–%.1f", millis(least), millis(most)),
		fmt.Sprintf("%.2f", medianOf(readings, cost)/limit), fmt.Sprintf("%.1f", slowest), fmt.Sprintf("%.1f MiB", memory), streams,
	}
}

// verdicts is the table of the goals.
func (r *report) verdicts() string {
	t := newTable("Goals")
	t.AppendHeader(table.Row{"", "measured", "goal", ""})
	t.SetColumnConfigs([]table.ColumnConfig{{Number: 2, Align: text.AlignRight}, {Number: 3, Align: text.AlignRight}})
	for _, g := range r.goals() {
		sign, verdict := "≤", "met"
		if g.atLeast {
			sign = "≥"
		}
		measured := fmt.Sprintf("%.2f%s", g.measured, g.unit)
		switch {
		case !g.known:
			measured, verdict = "–", "not measured"
		case !g.met():
			verdict = "MISSED"
		}
		t.AppendRow(table.Row{g.what, measured, fmt.Sprintf("%s %g%s", sign, g.bound, g.unit), verdict})
	}
	return t.Render()
}

func newTable(title string) table.Writer {
	t := table.NewWriter()
	t.SetStyle(table.StyleLight)
	t.Style().Format.Header = text.FormatDefault
	t.SetTitle("%s", title)
	return t
}
