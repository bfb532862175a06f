package top

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"

	sluicev1 "github.com/sluice-dev/sluice/proto/gen/sluice/v1"
)

// row is what one stream gets of one model.
type row struct {
	session, state, stream, model  string
	age                            time.Duration // of the session
	units, results, drops, errored float64       // a second
	flying                         uint32
	last, p50, p95                 *float64 // seconds; nil for none
}

// rowsOf gives a row for each model of each stream, one for a stream without models, and one for a session without streams, oldest sessions first.
func rowsOf(m *sluicev1.ListSessionsResponse, now time.Time) (rows []row) {
	for _, s := range m.GetSessions() {
		r := row{session: s.GetSession(), state: s.GetState(), age: now.Sub(s.GetStartTime().AsTime())}
		if len(s.GetStreams()) == 0 {
			rows = append(rows, r)
		}
		for i, counts := range s.GetStreams() {
			var activity *sluicev1.StreamActivity
			if i < len(s.GetActivity()) { // a service of an older version tells none
				activity = s.GetActivity()[i]
			}
			rows = append(rows, streamRows(r, counts, activity)...)
		}
	}
	return rows
}

// streamRows gives the rows of one stream.
func streamRows(r row, counts *sluicev1.StreamCounts, activity *sluicev1.StreamActivity) (rows []row) {
	r.stream, r.units = counts.GetStream(), activity.GetUnitRate()
	if len(counts.GetModels()) == 0 {
		return []row{r}
	}
	for _, model := range counts.GetModels() {
		one := r
		one.model, one.flying = model.GetModel(), model.GetInFlight()
		for _, a := range activity.GetModels() {
			if a.GetModel() == model.GetModel() {
				one.results, one.drops, one.errored = a.GetResultRate(), a.GetDropRate(), a.GetErrorRate()
				one.last, one.p50, one.p95 = a.ResultAge, a.LatencyP50, a.LatencyP95
			}
		}
		rows = append(rows, one)
	}
	return rows
}

// column is one that rows can be sorted by.
type column struct {
	name, title string
	key         string // that is pressed for it
	// compare puts first what an operator looks for.
	compare func(a, b *row) int
	show    func(r *row) string
	isText  bool
}

// columns gives the columns in the order of showing.
func columns() []column {
	words := func(name, title, key string, of func(*row) string) column {
		return column{name, title, key, func(a, b *row) int { return strings.Compare(of(a), of(b)) }, of, true}
	}
	rate := func(name, title, key string, of func(*row) float64) column {
		return column{name, title, key, func(a, b *row) int { return cmp.Compare(of(b), of(a)) }, func(r *row) string { return fmt.Sprintf("%.1f", of(r)) }, false}
	}
	span := func(name, title, key string, of func(*row) *float64, write func(float64) string) column {
		known := func(r *row) float64 {
			if v := of(r); v != nil {
				return *v
			}
			return -1
		}
		return column{name, title, key, func(a, b *row) int { return cmp.Compare(known(b), known(a)) }, func(r *row) string {
			if v := of(r); v != nil {
				return write(*v)
			}
			return "–"
		}, false}
	}
	thousandths := func(s float64) string { return fmt.Sprintf("%.1f", s*1000) }
	age := func(r *row) *float64 { return new(r.age.Seconds()) }
	return []column{
		words("session", "session", "s", func(r *row) string { return r.session }),
		words("state", "state", "t", func(r *row) string { return r.state }),
		span("age", "age", "a", age, func(s float64) string { return (time.Duration(s) * time.Second).String() }),
		words("stream", "stream", "n", func(r *row) string { return r.stream }),
		rate("units", "units/s", "u", func(r *row) float64 { return r.units }),
		words("model", "model", "m", func(r *row) string { return r.model }),
		rate("results", "results/s", "r", func(r *row) float64 { return r.results }),
		rate("drops", "drops/s", "d", func(r *row) float64 { return r.drops }),
		rate("errors", "errors/s", "e", func(r *row) float64 { return r.errored }),
		span("flying", "in flight", "f", func(r *row) *float64 { return new(float64(r.flying)) }, func(n float64) string { return fmt.Sprint(n) }),
		span("last", "last result s", "l", func(r *row) *float64 { return r.last }, func(s float64) string { return fmt.Sprintf("%.1f", s) }),
		span("p50", "p50 ms", "5", func(r *row) *float64 { return r.p50 }, thousandths),
		span("p95", "p95 ms", "9", func(r *row) *float64 { return r.p95 }, thousandths),
	}
}

// Columns gives the names of the columns that rows can be sorted by.
func Columns() []string {
	var names []string
	for _, c := range columns() {
		names = append(names, c.name)
	}
	return names
}

// columnNamed finds a column; without a name rows stay as they come, oldest session first.
func columnNamed(name string) (int, error) {
	if name == "" {
		return unsorted, nil
	}
	i := slices.Index(Columns(), name)
	if i < 0 {
		return 0, fmt.Errorf("--sort %q: there is no such column; there are: %s", name, strings.Join(Columns(), ", "))
	}
	return i, nil
}

// unsorted, in place of a column, leaves rows as they come.
const unsorted = -1

// order is how rows are sorted.
type order struct {
	by       int // a column, or unsorted
	reversed bool
}

// render draws the rows, of which at most limit are shown unless that is 0.
func render(rows []row, by order, limit int) string {
	all := columns()
	if by.by != unsorted {
		slices.SortStableFunc(rows, func(a, b row) int {
			if by.reversed {
				a, b = b, a
			}
			return all[by.by].compare(&a, &b)
		})
	}
	t := table.NewWriter()
	t.SetStyle(table.StyleLight)
	t.Style().Options = table.OptionsNoBordersAndSeparators
	t.Style().Format.Header = text.FormatDefault
	var header table.Row
	var aligned []table.ColumnConfig
	for i, c := range all {
		if !c.isText {
			aligned = append(aligned, table.ColumnConfig{Number: i + 1, Align: text.AlignRight, AlignHeader: text.AlignRight})
		}
		title := c.title
		if i == by.by {
			title += map[bool]string{false: "▾", true: "▴"}[by.reversed]
		}
		header = append(header, title)
	}
	t.AppendHeader(header)
	t.SetColumnConfigs(aligned)
	hidden := 0
	for i := range rows {
		if limit > 0 && i >= limit {
			hidden++
			continue
		}
		var cells table.Row
		for _, c := range all {
			cells = append(cells, c.show(&rows[i]))
		}
		t.AppendRow(cells)
	}
	drawn := summary(rows) + "\n\n" + t.Render()
	if hidden > 0 {
		drawn += fmt.Sprintf("\n… and %d more", hidden)
	}
	return drawn
}

// summary adds the rows up. A stream's units are counted once, whatever number of models it feeds.
func summary(rows []row) string {
	sessions, streams := map[string]bool{}, map[[2]string]bool{}
	var units, results, drops, errored float64
	for _, r := range rows {
		sessions[r.session] = true
		if at := [2]string{r.session, r.stream}; r.stream != "" && !streams[at] {
			streams[at] = true
			units += r.units
		}
		results, drops, errored = results+r.results, drops+r.drops, errored+r.errored
	}
	return fmt.Sprintf("%d sessions, %d streams: %.1f units, %.1f results, %.1f drops, %.1f errors a second",
		len(sessions), len(streams), units, results, drops, errored)
}
