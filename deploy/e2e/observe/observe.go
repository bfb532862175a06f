// Package observe reads what deploy/observe holds, for the tests that try it: the dashboards with their queries, the alerts, and the pages that explain them.
package observe

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// Dashboard is what Grafana's JSON says, as far as the project uses it.
type Dashboard struct {
	File        string `json:"-"`
	UID         string
	Title       string
	Description string
	Panels      []Panel
	Templating  struct{ List []Variable }
}

// Variable is a choice at the top of a dashboard. Query is a text for a data source, and an object for anything else.
type Variable struct {
	Name, Label, Type, Definition, AllValue string
	Query                                   json.RawMessage
}

// Panel is one picture of a dashboard, or a heading (of type row).
type Panel struct {
	ID                       int
	Type, Title, Description string
	GridPos                  struct{ X, Y, W, H int }
	Datasource               Datasource
	FieldConfig              struct{ Defaults struct{ Unit string } }
	Targets                  []Target
}

// Datasource names where a query goes.
type Datasource struct{ Type, UID string }

// Target is one query of a panel.
type Target struct {
	RefID, Expr, LegendFormat string
	Datasource                Datasource
}

// Dashboards reads all dashboards. root is the repository's.
func Dashboards(root string) ([]Dashboard, error) {
	files, err := filepath.Glob(filepath.Join(root, "deploy", "observe", "dashboards", "*.json"))
	if err != nil {
		return nil, err
	}
	all := make([]Dashboard, 0, len(files))
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		d := Dashboard{File: filepath.Base(file)}
		if err := json.Unmarshal(text, &d); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		all = append(all, d)
	}
	return all, nil
}

// PromQL gives a query as Grafana sends it when every choice is All: rates over so much time, as Prometheus writes it ("10s").
func PromQL(expr, over string) string {
	expr = strings.ReplaceAll(expr, "$__rate_interval", over)
	return variable.ReplaceAllString(expr, ".*")
}

var variable = regexp.MustCompile(`\$[a-z]+`)

// Variables gives the names of the choices that a query depends on; Grafana's own are left out.
func Variables(expr string) []string {
	var names []string
	for _, name := range variable.FindAllString(strings.ReplaceAll(expr, "$__rate_interval", ""), -1) {
		names = append(names, name[1:])
	}
	return names
}

// Rules gives the texts of the files of rules, by their names.
func Rules(root string) (map[string]string, error) {
	return read(filepath.Join(root, "deploy", "observe", "rules", "*.yml"))
}

// RuleTests gives the texts of the tests of the rules, by the names of their files.
func RuleTests(root string) (map[string]string, error) {
	return read(filepath.Join(root, "deploy", "observe", "rules", "tests", "*.yml"))
}

// Runbooks gives the texts of the pages about alerts, by the alerts' names.
func Runbooks(root string) (map[string]string, error) {
	files, err := read(filepath.Join(root, "deploy", "observe", "runbooks", "*.md"))
	pages := make(map[string]string, len(files))
	for name, text := range files {
		pages[strings.TrimSuffix(name, ".md")] = text
	}
	return pages, err
}

func read(pattern string) (map[string]string, error) {
	files, err := filepath.Glob(pattern)
	if err != nil {
		return nil, err
	}
	texts := make(map[string]string, len(files))
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		texts[filepath.Base(file)] = string(text)
	}
	return texts, nil
}

// Alerts gives the names of the alerts in a file of rules, in their order.
func Alerts(rules string) []string { return names(rules, `- alert: (\S+)`) }

// Records gives the names of the recording rules in a file of rules, in their order.
func Records(rules string) []string { return names(rules, `- record: (\S+)`) }

func names(text, pattern string) []string {
	var all []string
	for _, match := range regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1) {
		all = append(all, match[1])
	}
	return all
}
