//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/sluice-dev/sluice/deploy/e2e/stack"
	"github.com/sluice-dev/sluice/pkg/client"
	sluicev1 "github.com/sluice-dev/sluice/proto/gen/sluice/v1"
)

// unit names a frame and a model.
type unit struct {
	Stream, Model string
	Sequence      uint32
}

func unitOf(o *sluicev1.Outcome) unit {
	return unit{o.GetStream(), o.GetModel(), o.GetSequence()}
}

// TestBackends follows a session's outcomes in every way that a back end has: the Go package, and the examples in Python, for curl and for grpcurl. Those of the session itself see every
// outcome once, the resuming ones over connections that are cut every second; those that watch the service see what it finalises.
func TestBackends(t *testing.T) {
	beside(t, 0.3)
	examples := filepath.Join(stack.Root(t), "deploy", "examples", "outcomes")
	python := filepath.Join(strings.TrimSpace(stack.Command(t, "", 10*time.Minute, filepath.Join(stack.Root(t), "deploy", "e2e", "venv.sh"), "outcomes")), "bin", "python")
	s := stack.Start(t, stack.Options{})
	const limit = 40 // outcomes that are watched: the session has some hundred
	program := func(name string, arguments ...string) func() ([]unit, error) {
		return func() ([]unit, error) {
			out, err := stack.TryCommand(t, "", time.Minute, name, arguments...)
			return units(out), err
		}
	}
	watchers := start(map[string]func() ([]unit, error){
		"Go, Watch":       func() ([]unit, error) { return watchByGo(t.Context(), s.EdgeGRPC, limit) },
		"watch.py":        program(python, filepath.Join(examples, "watch.py"), "--service", s.EdgeGRPC, "--limit", fmt.Sprint(limit)),
		"watch.sh":        program(filepath.Join(examples, "watch.sh"), s.EdgeGRPC, fmt.Sprint(limit)),
		"watch.py router": program(python, filepath.Join(examples, "watch.py"), "--service", s.RouterGRPC, "--limit", fmt.Sprint(limit), "--model", "faces"),
	})
	done := make(chan published, 1)
	go func() {
		p, _ := publish(t, "", s.HTTP, 8*time.Second, stack.Clip(t, "faces-720p30.ivf"), "--model", "faces")
		done <- p
	}()
	session := onlySession(t, s, "")
	cut, cuts := cutting(t, s.HTTP, time.Second)
	followers := start(map[string]func() ([]unit, error){
		"Go, Follow": func() ([]unit, error) { return followByGo(t.Context(), cut, session) },
		"follow.py":  program(python, filepath.Join(examples, "follow.py"), session, "--edge", cut),
		"follow.sh":  program(filepath.Join(examples, "follow.sh"), session, s.HTTP),
	})
	p := <-done
	checkAccount(t, p)
	all := p.Streams[0].Outcomes + p.Streams[0].Skipped
	followed := map[unit]bool{}
	for name, follower := range followers {
		r := <-follower
		seen := checkUnits(t, name, r)
		if len(seen) != all {
			t.Errorf("%s saw %d outcomes, want all %d", name, len(seen), all)
		}
		for u := range seen {
			followed[u] = true
		}
	}
	for name, watcher := range watchers {
		r := <-watcher
		seen := checkUnits(t, name, r)
		if len(seen) != limit {
			t.Errorf("%s saw %d outcomes, want %d", name, len(seen), limit)
		}
		for u := range seen {
			if !followed[u] {
				t.Errorf("%s saw %+v, which the session knows nothing of", name, u)
			}
		}
	}
	if n := cuts.Load(); n < 6 {
		t.Errorf("only %d connections were cut", n)
	}
}

// seeing is what one back end saw.
type seeing struct {
	units []unit
	err   error
}

// start runs each function in a goroutine of its own, which ends with the function: each gives one value.
func start(back map[string]func() ([]unit, error)) map[string]chan seeing {
	all := map[string]chan seeing{}
	for name, run := range back {
		result := make(chan seeing, 1)
		all[name] = result
		go func() {
			units, err := run()
			result <- seeing{units, err}
		}()
	}
	return all
}

// checkUnits fails for a back end that failed or saw a unit twice.
func checkUnits(t *testing.T, name string, r seeing) map[unit]bool {
	t.Helper()
	if r.err != nil {
		t.Errorf("%s: %v", name, r.err)
	}
	seen := map[unit]bool{}
	for _, u := range r.units {
		if seen[u] {
			t.Errorf("%s saw %+v twice", name, u)
		}
		seen[u] = true
	}
	return seen
}

// units reads outcomes as the examples print them: a JSON object after the other, bare or as grpcurl's {"outcome": …}.
func units(out string) (all []unit) {
	decoder := json.NewDecoder(strings.NewReader(out))
	for {
		var printed struct {
			unit
			Outcome *unit
		}
		if decoder.Decode(&printed) != nil {
			return all
		}
		if printed.Outcome != nil {
			printed.unit = *printed.Outcome
		}
		all = append(all, printed.unit)
	}
}

func followByGo(ctx context.Context, edge, session string) (all []unit, err error) {
	e := client.Edge{URL: edge}
	for event, err := range e.Follow(ctx, session, client.FromStart) {
		if err != nil {
			return all, err
		}
		if o := event.Message.GetOutcome(); o != nil {
			all = append(all, unitOf(o))
		}
	}
	return all, nil
}

func watchByGo(ctx context.Context, service string, limit int) (all []unit, err error) {
	conn, err := grpc.NewClient(service, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }()
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for watched, err := range client.Watch(ctx, conn, client.Selection{Model: "faces"}) {
		if err != nil {
			return all, err
		}
		all = append(all, unitOf(watched.Outcome))
		if len(all) == limit {
			break
		}
	}
	return all, nil
}

// onlySession waits for a session at the edge, which is in a network namespace if one is named, and gives its id.
func onlySession(t *testing.T, s *stack.Stack, namespace string) (id string) {
	t.Helper()
	stack.Eventually(t, 20*time.Second, "there is a session", func() error {
		var list struct {
			Sessions []struct{ Session string }
		}
		out := stack.Command(t, namespace, 30*time.Second, stack.Tool(t, "grpcurl"), "-plaintext", s.EdgeGRPC, "sluice.v1.InspectService/ListSessions")
		if err := json.Unmarshal([]byte(out), &list); err != nil {
			return err
		}
		if len(list.Sessions) != 1 {
			return fmt.Errorf("there are %d", len(list.Sessions))
		}
		id = list.Sessions[0].Session
		return nil
	})
	return id
}

// cutting serves an edge's HTTP on another address and cuts every answer that takes longer than after. It counts those.
func cutting(t *testing.T, edge string, after time.Duration) (address string, cuts *atomic.Int32) {
	t.Helper()
	to, err := url.Parse(edge)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(to)
	proxy.FlushInterval = -1
	proxy.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	cuts = &atomic.Int32{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), after)
		defer cancel()
		defer func() {
			if ctx.Err() != nil {
				cuts.Add(1)
			}
		}()
		proxy.ServeHTTP(w, r.WithContext(ctx))
	}))
	t.Cleanup(server.Close)
	return server.URL, cuts
}
