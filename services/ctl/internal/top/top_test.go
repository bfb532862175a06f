package top

import (
	"bytes"
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	tea "charm.land/bubbletea/v2"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	sluicev1 "github.com/sluice-dev/sluice/proto/gen/sluice/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func sessions() *sluicev1.ListSessionsResponse {
	return &sluicev1.ListSessionsResponse{Sessions: []*sluicev1.Session{
		{
			Session: new("older"), State: new("connected"), StartTime: timestamppb.New(time.Unix(1000, 0)),
			Streams: []*sluicev1.StreamCounts{{Stream: new("camera"), Models: []*sluicev1.ModelCounts{
				{Model: new("faces"), InFlight: new(uint32(2))}, {Model: new("poses")},
			}}},
			Activity: []*sluicev1.StreamActivity{{Stream: new("camera"), UnitRate: new(30.0), Models: []*sluicev1.ModelActivity{{
				Model: new("faces"), ResultRate: new(14.5), DropRate: new(0.5), ErrorRate: new(0.0), ResultAge: new(0.2), LatencyP50: new(0.021), LatencyP95: new(0.043),
			}}}},
		},
		{
			Session: new("younger"), State: new("connected"), StartTime: timestamppb.New(time.Unix(1060, 0)),
			Streams: []*sluicev1.StreamCounts{{Stream: new("screen"), Models: []*sluicev1.ModelCounts{{Model: new("faces")}}}, {Stream: new("silent")}},
			Activity: []*sluicev1.StreamActivity{{Stream: new("screen"), UnitRate: new(5.0), Models: []*sluicev1.ModelActivity{{
				Model: new("faces"), ResultRate: new(2.0), DropRate: new(3.0), ErrorRate: new(1.0), ResultAge: new(4.0), LatencyP50: new(0.2), LatencyP95: new(0.3),
			}}}, {Stream: new("silent")}},
		},
		{Session: new("new"), State: new("connecting"), StartTime: timestamppb.New(time.Unix(1100, 0))},
	}}
}

func TestRowsAndOrder(t *testing.T) {
	t.Parallel()
	rows := rowsOf(sessions(), time.Unix(1120, 0))
	if len(rows) != 5 || rows[0].age != 2*time.Minute || rows[0].flying != 2 || rows[1].p50 != nil || rows[3].model != "" || rows[4].stream != "" {
		t.Fatalf("rows %+v", rows)
	}
	for _, c := range []struct {
		sort     string
		reversed bool
		first    string
	}{
		{"", false, "older"}, {"results", false, "older"}, {"drops", false, "younger"}, {"errors", false, "younger"}, {"p95", false, "younger"},
		{"age", true, "new"}, {"state", true, "new"}, {"state", false, "older"}, {"last", false, "younger"}, {"flying", false, "older"}, {"session", false, "new"},
	} {
		by, err := columnNamed(c.sort)
		if err != nil {
			t.Fatal(err)
		}
		text := render(rowsOf(sessions(), time.Unix(1120, 0)), order{by: by, reversed: c.reversed}, 0)
		lines := strings.Split(text, "\n")
		if !strings.HasPrefix(lines[0], "3 sessions, 3 streams: 35.0 units, 16.5 results, 3.5 drops, 1.0 errors a second") {
			t.Errorf("summary %q", lines[0])
		}
		body := lines[len(lines)-5:]
		if !strings.HasPrefix(strings.TrimSpace(body[0]), c.first) {
			t.Errorf("sorted by %q (reversed %t) the first row is %q, want %s", c.sort, c.reversed, body[0], c.first)
		}
	}
	if _, err := columnNamed("nonsense"); err == nil || !strings.Contains(err.Error(), "p95") {
		t.Errorf("an unknown column: %v, want the known ones", err)
	}
	if text := render(rowsOf(sessions(), time.Unix(1120, 0)), order{by: unsorted}, 2); !strings.HasSuffix(text, "… and 3 more") {
		t.Errorf("two rows of five:\n%s", text)
	}
}

// served is an edge's inspection that answers with the sessions.
type served struct {
	sluicev1.UnimplementedInspectServiceServer
}

func (served) ListSessions(context.Context, *sluicev1.ListSessionsRequest) (*sluicev1.ListSessionsResponse, error) {
	return sessions(), nil
}

func serve(t *testing.T) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	sluicev1.RegisterInspectServiceServer(server, served{})
	done := make(chan error, 1)
	go func() { done <- server.Serve(l) }()
	t.Cleanup(func() {
		server.Stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return l.Addr().String()
}

func TestOnceAndJSON(t *testing.T) {
	t.Parallel()
	address := serve(t)
	var out bytes.Buffer
	if err := Run(t.Context(), Config{Address: address, Every: time.Second, Once: true, Sort: "results", Out: &out}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"3 sessions", "older", "camera", "14.5", "43.0", "results/s▾"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the table lacks %q:\n%s", want, out.String())
		}
	}
	out.Reset()
	if err := Run(t.Context(), Config{Address: address, Every: time.Second, Once: true, JSON: true, Out: &out}); err != nil {
		t.Fatal(err)
	}
	if text := strings.ReplaceAll(out.String(), " ", ""); strings.Count(text, "\n") != 1 || !strings.Contains(text, `"unitRate":30`) {
		t.Errorf("JSON: %s", out.String())
	}
	if err := Run(t.Context(), Config{Address: address, Every: time.Second, Out: &out}); !errors.Is(err, errNoTerminal) {
		t.Errorf("without a terminal: %v", err)
	}
	if err := Run(t.Context(), Config{Address: address, Every: time.Millisecond, Once: true, Out: &out}); err == nil {
		t.Error("a look each millisecond was accepted")
	}
}

// TestJSONEndsWithItsContext reads a few lines of a look each second, and then stops.
func TestJSONEndsWithItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 3500*time.Millisecond)
		defer cancel()
		var out bytes.Buffer
		look := func(context.Context) (*sluicev1.ListSessionsResponse, error) { return sessions(), nil }
		if err := lines(ctx, Config{Every: time.Second, Out: &out}, look); err != nil || strings.Count(out.String(), "\n") != 4 {
			t.Errorf("%d lines in 3.5 s, error %v", strings.Count(out.String(), "\n"), err)
		}
	})
}

func press(t *testing.T, s screen, key rune) (screen, tea.Cmd) {
	t.Helper()
	next, command := s.Update(tea.KeyPressMsg{Code: key, Text: string(key)})
	after, ok := next.(screen)
	if !ok {
		t.Fatalf("%T", next)
	}
	return after, command
}

func TestKeys(t *testing.T) {
	t.Parallel()
	s := screen{order: order{by: unsorted}}
	next, _ := s.Update(looked{sessions: sessions(), at: time.Unix(1120, 0)})
	next, _ = next.Update(tea.WindowSizeMsg{Width: 200, Height: 40})
	s, _ = next.(screen)
	for _, c := range []struct {
		key  rune
		want string
	}{{'r', "results/s▾"}, {'r', "results/s▴"}, {'r', "results/s▾"}, {'9', "p95 ms▾"}, {'x', "p95 ms▾"}} {
		s, _ = press(t, s, c.key)
		if text := s.View().Content; !strings.Contains(text, c.want) || !strings.Contains(text, "older") {
			t.Errorf("after %c the screen lacks %q:\n%s", c.key, c.want, text)
		}
	}
	next, _ = s.Update(looked{err: errors.New("no answer at edge")})
	s, _ = next.(screen)
	if text := s.View().Content; !strings.Contains(text, "no answer at edge") || !strings.Contains(text, "older") {
		t.Errorf("after a failed look, the error and the rows of before are wanted:\n%s", text)
	}
	_, command := press(t, s, 'q')
	if command == nil {
		t.Fatal("q does nothing")
	}
	if _, quits := command().(tea.QuitMsg); !quits {
		t.Error("q does not quit")
	}
}

// TestLive runs the whole program at a terminal that is none, and quits by a key.
func TestLive(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	cfg := Config{Address: serve(t), Every: time.Second, Out: &out, Terminal: true, In: strings.NewReader("q")}
	if err := Run(t.Context(), cfg); err != nil {
		t.Error(err)
	}
}
