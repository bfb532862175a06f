//go:build e2e

package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluice-dev/sluice/deploy/e2e/observe"
	"github.com/sluice-dev/sluice/deploy/e2e/stack"
)

const (
	// manySessions come and go, or as many as SESSIONS says, and mostSeries is how many time series an edge and a router may have in all after that.
	manySessions, mostSeries = 10_000, 2_000
	// signalled is the number of clients that open and end sessions at once. The edge allows more, for an ended session takes a moment to be gone.
	signalled = 16
	// watched is how long everything may take to be seen by Prometheus, on a busy machine.
	watched = time.Minute
	// over is what rates are taken over: a few scrapes.
	over = "15s"
)

// prometheus is Debian's Prometheus, which scrapes a stack every second.
type prometheus struct {
	process *stack.Process
	base    string
}

// startPrometheus runs it as the documentation says, with the project's own configuration and rules, but for the ports and for how often it looks.
func startPrometheus(t *testing.T, s *stack.Stack) *prometheus {
	t.Helper()
	directory, port := t.TempDir(), stack.FreePort(t)
	shipped := filepath.Join("deploy", "observe", "prometheus.yml")
	text, err := os.ReadFile(filepath.Join(stack.Root(t), shipped))
	if err != nil {
		t.Fatal(err)
	}
	config := strings.NewReplacer("127.0.0.1:8081", s.EdgeAdmin, "127.0.0.1:8082", s.RouterAdmin, "_interval: 10s", "_interval: 1s",
		"rules/*.yml", filepath.Join(stack.Root(t), "deploy", "observe", "rules", "*.yml")).Replace(string(text))
	file := filepath.Join(directory, "prometheus.yml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	example := documented(t)[0].Text
	command := strings.Fields(strings.NewReplacer(shipped, file, "/tmp/sluice-prometheus", filepath.Join(directory, "data")).Replace(example))
	p := &prometheus{base: fmt.Sprintf("http://127.0.0.1:%d", port)}
	p.process = stack.Run(t, "", command[0], append(command[1:], "--web.listen-address", fmt.Sprintf("127.0.0.1:%d", port), "--log.level", "warn")...)
	p.process.Foreign = true
	stack.Eventually(t, watched, "Prometheus is ready", func() error {
		if p.process.Ended() {
			t.Fatalf("Prometheus has ended:\n%s", p.process.Log())
		}
		response, err := http.Get(p.base + "/-/ready")
		if err != nil {
			return err
		}
		_ = response.Body.Close()
		if response.StatusCode != http.StatusOK {
			return errors.New(response.Status)
		}
		return nil
	})
	return p
}

// get asks Prometheus's API and fills what it answers with into data.
func (p *prometheus) get(path string, query url.Values, data any) error {
	response, err := http.Get(p.base + "/api/v1/" + path + "?" + query.Encode())
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	var answer struct {
		Status, Error string
		Data          json.RawMessage
	}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		return err
	}
	if answer.Status != "success" {
		return fmt.Errorf("%s: %s", answer.Status, answer.Error)
	}
	return json.Unmarshal(answer.Data, data)
}

// query gives the values of an expression now.
func (p *prometheus) query(expr string) ([]float64, error) {
	var data struct {
		Result []struct{ Value [2]any }
	}
	if err := p.get("query", url.Values{"query": {expr}}, &data); err != nil {
		return nil, err
	}
	values := make([]float64, 0, len(data.Result))
	for _, r := range data.Result {
		text, _ := r.Value[1].(string)
		v, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return nil, fmt.Errorf("value %q: %w", text, err)
		}
		values = append(values, v)
	}
	return values, nil
}

// Show 5: Prometheus scrapes an edge and a router under load. Every query of every dashboard has data, all rules are taken and no alert fires; and ten thousand sessions leave no
// series behind.
func TestPrometheusSeesAll(t *testing.T) {
	s := stack.Start(t, stack.Options{})
	p := startPrometheus(t, s)
	load := stack.Run(t, "", stack.Binary(t, "sluicectl"), "publish", stack.Clip(t, "faces-720p30.ivf"), stack.Clip(t, "voice.ogg"), "--edge", s.HTTP, "--duration", "5m", "--streams", "2", "--loss", "3%")
	load.Foreign = true // it is ended in the middle of its work
	t.Run("dashboards", func(t *testing.T) { everyQueryHasData(t, s, p) })
	t.Run("rules", func(t *testing.T) { rulesAreTaken(t, p) })
	load.Stop(t)
	t.Run("series", func(t *testing.T) { sessionsLeaveNoSeries(t, s, p) })
}

// everyQueryHasData asks every query again and again until it has had data once. Clients come and go meanwhile, for some ask about that.
func everyQueryHasData(t *testing.T, s *stack.Stack, p *prometheus) {
	t.Helper()
	dashboards, err := observe.Dashboards(stack.Root(t))
	if err != nil {
		t.Fatal(err)
	}
	var coming sync.WaitGroup
	var seen atomic.Bool
	defer coming.Wait()
	defer seen.Store(true)
	coming.Go(func() {
		for !seen.Load() {
			if _, err := stack.TryCommand(t, "", watched, stack.Binary(t, "sluicectl"), "publish", stack.Clip(t, "faces-720p30.ivf"), "--edge", s.HTTP, "--duration", "2s"); err != nil {
				t.Error(err)
				return
			}
		}
	})
	missing := map[string]string{} // queries, by where they stand
	for _, d := range dashboards {
		for _, panel := range d.Panels {
			for _, target := range panel.Targets {
				missing[fmt.Sprintf("%s: %s: %s", d.Title, panel.Title, observe.PromQL(target.Expr, over))] = observe.PromQL(target.Expr, over)
			}
		}
	}
	queries := len(missing)
	stack.Eventually(t, watched, "every query has data", func() error {
		var errs []error
		for where, expr := range missing {
			values, err := p.query(expr)
			if err == nil && slices.ContainsFunc(values, func(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }) {
				delete(missing, where)
				continue
			}
			errs = append(errs, errors.Join(fmt.Errorf("%s has %v", where, values), err))
		}
		return errors.Join(errs...)
	})
	t.Logf("%d queries of %d dashboards have data", queries, len(dashboards))
}

func rulesAreTaken(t *testing.T, p *prometheus) {
	t.Helper()
	files, err := observe.Rules(stack.Root(t))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]bool{}
	for _, text := range files {
		for _, name := range append(observe.Alerts(text), observe.Records(text)...) {
			want[name] = true
		}
	}
	var data struct {
		Groups []struct {
			Rules []struct{ Name, Health, LastError, State string }
		}
	}
	stack.Eventually(t, watched, "all rules have been evaluated", func() error {
		if err := p.get("rules", nil, &data); err != nil {
			return err
		}
		taken := 0
		for _, g := range data.Groups {
			for _, r := range g.Rules {
				if !want[r.Name] || r.Health != "ok" {
					return fmt.Errorf("%s is %s: %s", r.Name, r.Health, r.LastError)
				}
				if r.State == "firing" {
					t.Fatalf("%s fires, though all is well", r.Name)
				}
				taken++
			}
		}
		if taken != len(want) {
			return fmt.Errorf("%d of %d rules", taken, len(want))
		}
		return nil
	})
}

// sessionsLeaveNoSeries opens and ends sessions, asks for what is not there in every way that a stranger might, and counts what Prometheus is given then.
func sessionsLeaveNoSeries(t *testing.T, s *stack.Stack, p *prometheus) {
	t.Helper()
	many := manySessions
	if text := os.Getenv("SESSIONS"); text != "" {
		var err error
		if many, err = strconv.Atoi(text); err != nil {
			t.Fatalf("SESSIONS: %v", err)
		}
	}
	_, _, sdp := offer(t, defaultEngine(t), "messages", func([]byte) {})
	client := &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: signalled}}
	defer client.CloseIdleConnections()
	before := series(t, p)
	begin := time.Now()
	var left atomic.Int64
	left.Store(int64(many))
	var clients sync.WaitGroup
	for range signalled {
		clients.Go(func() {
			for left.Add(-1) >= 0 && !t.Failed() {
				if err := session(client, s.HTTP, sdp); err != nil {
					t.Error(err)
				}
			}
		})
	}
	clients.Wait()
	if t.Failed() {
		return
	}
	t.Logf("%d sessions in %s", many, time.Since(begin).Round(time.Second))
	strange(t, client, s.HTTP, 100)
	stack.Eventually(t, watched, "Prometheus has seen the sessions", func() error {
		seen, err := p.query(fmt.Sprintf("sluice_edge_sessions_started_total >= %d", many))
		if err != nil || len(seen) != 1 {
			return fmt.Errorf("%v, %w", seen, err)
		}
		return nil
	})
	after := series(t, p)
	t.Logf("%.0f series before, %.0f after", before, after)
	if after > mostSeries {
		t.Errorf("%.0f series after %d sessions, more than %d", after, many, mostSeries)
	}
	// What strangers ask for may show in a few statuses that were not there before.
	if more := after - before; more > 40 {
		t.Errorf("%d sessions left %.0f series behind", many, more)
	}
}

// series counts what the last scrapes of edge and router gave.
func series(t *testing.T, p *prometheus) float64 {
	t.Helper()
	count := 0.0
	stack.Eventually(t, watched, "both services are scraped", func() error {
		samples, err := p.query("scrape_samples_scraped")
		if err != nil || len(samples) != 2 || samples[0] == 0 || samples[1] == 0 {
			return fmt.Errorf("%v, %w", samples, err)
		}
		count = samples[0] + samples[1]
		return nil
	})
	return count
}

// session opens a session by WHIP and ends it. The edge and the router hold all of it meanwhile; only media never come.
func session(client *http.Client, edge, sdp string) error {
	response, err := client.Post(edge+"/whip?model=faces", "application/sdp", strings.NewReader(sdp))
	if err != nil {
		return err
	}
	body, _ := io.ReadAll(response.Body)
	_ = response.Body.Close()
	if response.StatusCode != http.StatusCreated {
		return fmt.Errorf("POST /whip: %s: %s", response.Status, body)
	}
	request, err := http.NewRequest(http.MethodDelete, response.Header.Get("Location"), nil)
	if err != nil {
		return err
	}
	if response, err = client.Do(request); err != nil {
		return err
	}
	_ = response.Body.Close()
	if response.StatusCode/100 != 2 {
		return fmt.Errorf("DELETE: %s", response.Status)
	}
	return nil
}

// strange asks for what does not exist, each time for something else.
func strange(t *testing.T, client *http.Client, edge string, times int) {
	t.Helper()
	for i := range times {
		for _, r := range []struct{ method, path, body string }{
			{fmt.Sprint("STRANGE", i), "/whip", ""},
			{http.MethodGet, fmt.Sprint("/no/such/page/", i), ""},
			{http.MethodGet, fmt.Sprintf("/sessions/none%d/results", i), ""},
			{http.MethodDelete, fmt.Sprint("/whip/secret", i), ""},
			{http.MethodPost, fmt.Sprint("/whip?model=none", i), "v=0"},
		} {
			request, err := http.NewRequest(r.method, edge+r.path, bytes.NewReader([]byte(r.body)))
			if err != nil {
				t.Fatal(err)
			}
			request.Header.Set("Content-Type", "application/sdp")
			response, err := client.Do(request)
			if err != nil {
				t.Fatal(err)
			}
			_ = response.Body.Close()
			if response.StatusCode/100 != 4 {
				t.Errorf("%s %s: %s", r.method, r.path, response.Status)
			}
		}
	}
}
