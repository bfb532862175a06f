package observe

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/sluice-dev/sluice/deploy/e2e/stack"
)

// columns is the width of Grafana's grid.
const columns = 24

func dashboards(t *testing.T) []Dashboard {
	t.Helper()
	all, err := Dashboards(stack.Root(t))
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 3 {
		t.Fatalf("%d dashboards", len(all))
	}
	return all
}

// TestDashboards checks what Grafana would take without a word and show wrongly.
func TestDashboards(t *testing.T) {
	t.Parallel()
	taken := map[string]string{}
	for _, d := range dashboards(t) {
		for _, name := range []string{d.UID, d.Title} {
			if other, double := taken[name]; double || name == "" {
				t.Errorf("%s and %s are both called %q", d.File, other, name)
			}
			taken[name] = d.File
		}
		choices := []string{}
		for _, v := range d.Templating.List {
			choices = append(choices, v.Name)
			if v.Type == "query" && v.AllValue != ".*" {
				t.Errorf("%s: choosing all of %s leaves out what came after the page was opened", d.File, v.Name)
			}
		}
		if !slices.Contains(choices, "datasource") {
			t.Errorf("%s: the data source cannot be chosen", d.File)
		}
		ids := map[int]string{}
		for _, p := range d.Panels {
			if other, double := ids[p.ID]; double {
				t.Errorf("%s: %q and %q have the id %d", d.File, p.Title, other, p.ID)
			}
			ids[p.ID] = p.Title
			for _, trouble := range troubles(p, choices) {
				t.Errorf("%s: %s: %s", d.File, p.Title, trouble)
			}
		}
		for i, p := range d.Panels {
			for _, q := range d.Panels[:i] {
				if overlap(p, q) {
					t.Errorf("%s: %q lies on %q", d.File, p.Title, q.Title)
				}
			}
		}
	}
}

// troubles says what is wrong with a panel whose dashboard has these choices.
func troubles(p Panel, choices []string) (all []string) {
	complain := func(format string, a ...any) { all = append(all, fmt.Sprintf(format, a...)) }
	if g := p.GridPos; g.W < 1 || g.H < 1 || g.X < 0 || g.Y < 0 || g.X+g.W > columns {
		complain("at %+v", g)
	}
	if p.Type == "row" {
		return all
	}
	if p.Type != "stat" && p.Type != "timeseries" {
		complain("of type %q", p.Type)
	}
	if p.Title == "" || p.Description == "" || p.FieldConfig.Defaults.Unit == "" {
		complain("no title, description or unit")
	}
	if len(p.Targets) == 0 {
		complain("asks for nothing")
	}
	refs := map[string]bool{}
	for _, target := range p.Targets {
		if refs[target.RefID] || target.Expr == "" || target.LegendFormat == "" {
			complain("query %q: named twice, empty or without a legend", target.RefID)
		}
		refs[target.RefID] = true
		if target.Datasource.UID != "${datasource}" || target.Datasource.Type != "prometheus" {
			complain("query %q goes to %+v", target.RefID, target.Datasource)
		}
		for _, name := range Variables(target.Expr) {
			if !slices.Contains(choices, name) {
				complain("query %q depends on $%s, which cannot be chosen", target.RefID, name)
			}
		}
	}
	return all
}

func overlap(p, q Panel) bool {
	a, b := p.GridPos, q.GridPos
	return a.X < b.X+b.W && b.X < a.X+a.W && a.Y < b.Y+b.H && b.Y < a.Y+a.H
}

// TestTroubles breaks a good panel in one way at a time.
func TestTroubles(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		break_ func(*Panel)
		want   int
	}{
		"nothing":       {func(*Panel) {}, 0},
		"too wide":      {func(p *Panel) { p.GridPos.X = 20 }, 1},
		"no unit":       {func(p *Panel) { p.FieldConfig.Defaults.Unit = "" }, 1},
		"no query":      {func(p *Panel) { p.Targets = nil }, 1},
		"a strange one": {func(p *Panel) { p.Type = "piechart" }, 1},
		"a heading":     {func(p *Panel) { p.Type, p.Targets, p.Description = "row", nil, "" }, 0},
		"twice":         {func(p *Panel) { p.Targets = append(p.Targets, p.Targets[0]) }, 1},
		"elsewhere":     {func(p *Panel) { p.Targets[0].Datasource.UID = "abc" }, 1},
		"no choice":     {func(p *Panel) { p.Targets[0].Expr = `up{instance=~"$edge"}` }, 1},
	} {
		p := Panel{ID: 1, Type: "stat", Title: "t", Description: "d", Targets: []Target{{"A", `rate(up{model=~"$model"}[$__rate_interval])`, "l", Datasource{"prometheus", "${datasource}"}}}}
		p.GridPos.W, p.GridPos.H, p.FieldConfig.Defaults.Unit = 8, 8, "s"
		c.break_(&p)
		if got := troubles(p, []string{"datasource", "model"}); len(got) != c.want {
			t.Errorf("%s: %q, want %d", name, got, c.want)
		}
	}
	if got, want := PromQL(`rate(up{model=~"$model"}[$__rate_interval])`, "9s"), `rate(up{model=~".*"}[9s])`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// TestAlertsAreExplained wants for every alert a page that says what it means and what to do, a link to it, and a test in which it fires; and no page too many.
func TestAlertsAreExplained(t *testing.T) {
	t.Parallel()
	root := stack.Root(t)
	rules, err := Rules(root)
	if err != nil {
		t.Fatal(err)
	}
	tests, err := RuleTests(root)
	if err != nil {
		t.Fatal(err)
	}
	pages, err := Runbooks(root)
	if err != nil {
		t.Fatal(err)
	}
	tested := strings.Join(slices.Collect(maps.Values(tests)), "\n")
	alerts := map[string]bool{}
	for file, text := range rules {
		for _, name := range Alerts(text) {
			alerts[name] = true
			if !strings.Contains(text, "/deploy/observe/runbooks/"+name+".md\n") {
				t.Errorf("%s: %s does not link to its page", file, name)
			}
			if !regexp.MustCompile(`- alertname: ` + name + `\n.*\n +exp_alerts:\n`).MatchString(tested) {
				t.Errorf("%s: no test has %s fire", file, name)
			}
			for _, heading := range []string{"# " + name + "\n", "\n## What it means\n", "\n## What to look at\n", "\n## What to do\n"} {
				if !strings.Contains(pages[name], heading) {
					t.Errorf("the page of %s has no %q", name, strings.TrimSpace(heading))
				}
			}
		}
		for _, name := range Records(text) {
			if !strings.Contains(tested, "- expr: "+name) {
				t.Errorf("%s: %s has no test", file, name)
			}
		}
	}
	for name, text := range pages {
		if !alerts[name] {
			t.Errorf("there is a page for %s, but no such alert", name)
		}
		for _, link := range names(text, `\]\((\w+)\.md\)`) {
			if _, there := pages[link]; !there {
				t.Errorf("the page of %s links to %s, which is not there", name, link)
			}
		}
	}
}

// metricNames finds the project's own metrics in a text, histograms without their parts. What a recording rule makes has a colon in its name.
func metricNames(text string) []string {
	found := regexp.MustCompile(`\bsluice_[a-z0-9_]+\b`).FindAllString(text, -1)
	for i, name := range found {
		found[i] = regexp.MustCompile(`_(bucket|count|sum)$`).ReplaceAllString(name, "")
	}
	return found
}

// TestRulesAskForWhatDashboardsShow catches alerts about metrics that no dashboard shows: whoever is woken by one looks there first.
func TestRulesAskForWhatDashboardsShow(t *testing.T) {
	t.Parallel()
	shown := map[string]bool{}
	for _, d := range dashboards(t) {
		for _, p := range d.Panels {
			for _, target := range p.Targets {
				for _, name := range metricNames(target.Expr) {
					shown[name] = true
				}
			}
		}
	}
	rules, err := Rules(stack.Root(t))
	if err != nil {
		t.Fatal(err)
	}
	for file, text := range rules {
		for _, name := range metricNames(text) {
			if !shown[name] {
				t.Errorf("%s asks for %s, which no dashboard shows", file, name)
			}
		}
	}
}
