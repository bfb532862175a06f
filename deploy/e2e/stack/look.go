package stack

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

func (s *Stack) fetch(t testing.TB, url string) ([]byte, error) {
	t.Helper()
	// Inside a namespace the test process has no way in; curl does.
	if s.options.Namespace != "" {
		out, err := TryCommand(t, s.options.Namespace, 10*time.Second, "curl", "-sSf", "--max-time", "5", url)
		return []byte(out), err
	}
	client := &http.Client{Timeout: 5 * time.Second}
	response, err := client.Get(url)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("GET %s: %s: %s", url, response.Status, body)
	}
	return body, err
}

// Metric gives the sum of a metric over all its series whose labels include those given as name=value.
func (s *Stack) Metric(t testing.TB, admin, name string, labels ...string) float64 {
	t.Helper()
	body, err := s.fetch(t, "http://"+admin+"/metrics")
	if err != nil {
		t.Fatal(err)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(string(body)))
	if err != nil {
		t.Fatal(err)
	}
	family := families[name]
	if family == nil {
		return 0
	}
	total := 0.0
	for _, m := range family.GetMetric() {
		if matches(m, labels) {
			total += m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return total
}

func matches(m *dto.Metric, labels []string) bool {
	has := map[string]bool{}
	for _, l := range m.GetLabel() {
		has[l.GetName()+"="+l.GetValue()] = true
	}
	for _, l := range labels {
		if !has[l] {
			return false
		}
	}
	return true
}

// Children gives the ids of the processes that the process started and that still run.
func (p *Process) Children(t testing.TB) []int {
	t.Helper()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	var children []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			continue // It ended meanwhile.
		}
		// The second field, in parentheses, may hold anything; the fourth is the parent.
		after := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
		if len(after) > 1 && after[1] == strconv.Itoa(p.PID()) && after[0] != "Z" {
			children = append(children, pid)
		}
	}
	return children
}

// Command runs a program to its end, in a network namespace if one is named, and gives its standard output. It fails the test unless it ends with status 0 within limit.
func Command(t testing.TB, namespace string, limit time.Duration, binary string, arguments ...string) string {
	t.Helper()
	out, err := TryCommand(t, namespace, limit, binary, arguments...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TryCommand is Command for programs that may fail; the error holds what the program complained about.
func TryCommand(t testing.TB, namespace string, limit time.Duration, binary string, arguments ...string) (string, error) {
	t.Helper()
	// Clean-up runs commands too, when the test's own context has ended.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), limit)
	defer cancel()
	binary, arguments = Inside(namespace, binary, arguments)
	command := exec.CommandContext(ctx, binary, arguments...)
	command.Cancel = func() error { return command.Process.Signal(os.Interrupt) }
	command.WaitDelay = 5 * time.Second
	var complaints strings.Builder
	command.Stderr = &complaints
	out, err := command.Output()
	if err != nil {
		return string(out), fmt.Errorf("%s: %w: %s", strings.Join(command.Args, " "), err, complaints.String())
	}
	return string(out), nil
}

// Lines parses lines of JSON, each into one T.
func Lines[T any](t testing.TB, text string) []T {
	t.Helper()
	var all []T
	decoder := json.NewDecoder(strings.NewReader(text))
	for {
		var v T
		if err := decoder.Decode(&v); err == io.EOF {
			return all
		} else if err != nil {
			t.Fatalf("line %d is no JSON: %v", len(all)+1, err)
		}
		all = append(all, v)
	}
}

// Tool gives the path of a tool that `make tools` built.
func Tool(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("%s is not in PATH: run the tests by `make e2e`, which builds it and puts it there", name)
	}
	return path
}
