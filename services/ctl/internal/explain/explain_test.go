package explain

import (
	"bytes"
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	sluicev1 "github.com/sluice-dev/sluice/proto/gen/sluice/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// edge knows one unit.
type edge struct {
	sluicev1.UnimplementedInspectServiceServer
}

func step(stage sluicev1.Life_Stage, begin, duration float64, estimated bool) *sluicev1.Step {
	s := &sluicev1.Step{Stage: stage.Enum(), Begin: &begin, Duration: &duration}
	if estimated {
		s.Estimated = new(true)
	}
	return s
}

func (edge) Explain(_ context.Context, r *sluicev1.ExplainRequest) (*sluicev1.ExplainResponse, error) {
	if r.GetSequence() != 7 {
		return nil, status.Error(codes.NotFound, "unit 8 is not kept")
	}
	return &sluicev1.ExplainResponse{
		ArrivalTime: timestamppb.New(time.Unix(1000, 0)),
		Outcomes:    []*sluicev1.Outcome{{Model: new("faces"), BatchSize: new(uint32(3))}},
		Lives: []*sluicev1.Life{
			{
				Model: new("faces"), Deadline: new(0.25), Settled: new(0.1), Verdict: new("RESULT"), Router: new("r1"), Why: new("The model answered."),
				Steps: []*sluicev1.Step{
					step(sluicev1.Life_RECEIVE, 0, 0.05, false), step(sluicev1.Life_DECODE, 0.05, 0.0001, false), step(sluicev1.Life_INFER, 0.06, 0.04, true),
				},
				Deliveries: []*sluicev1.Delivery{{Sink: new("WebSocket"), At: new(0.11)}},
			},
			{Model: new("poses"), Deadline: new(0.25), Steps: []*sluicev1.Step{{Stage: sluicev1.Life_OUTWARD.Enum(), Begin: new(0.06)}}},
		},
	}, nil
}

func serve(t *testing.T, service sluicev1.InspectServiceServer) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	sluicev1.RegisterInspectServiceServer(server, service)
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

func TestDrawing(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	cfg := Config{Address: serve(t, edge{}), Session: "abc", Stream: "camera", Sequence: 7, Out: &out}
	if err := Run(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"unit 7 of stream camera in session abc, arrived ",
		"faces: RESULT after 100.0 ms of 250.0 ms, router r1, batch of 3\n",
		"  receive  │" + strings.Repeat("█", 24) + strings.Repeat(" ", 24) + "    50.0 ms",
		"  decode   │" + strings.Repeat(" ", 24) + "█" + strings.Repeat(" ", 23) + "     0.1 ms",
		"  infer    │" + strings.Repeat(" ", 29) + strings.Repeat("█", 19) + "    40.0 ms ~",
		"  why: The model answered.\n", "  handed to WebSocket after 110.0 ms\n", "~ where it lies is estimated",
		"poses: no outcome yet, due after 250.0 ms\n", "goes on",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the drawing lacks %q:\n%s", want, out.String())
		}
	}
	out.Reset()
	cfg.JSON = true
	if err := Run(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	if text := strings.ReplaceAll(out.String(), " ", ""); !strings.Contains(text, `"verdict":"RESULT"`) {
		t.Errorf("JSON: %s", text)
	}
}

func TestAUnitThatWasNotDue(t *testing.T) {
	t.Parallel()
	text := draw(Config{Session: "abc", Stream: "camera", Sequence: 8}, &sluicev1.ExplainResponse{
		NotSampled: new(true), Why: new("It was due for no model."), Advice: new("Raise its rate."),
	})
	if want := "unit 8 of stream camera in session abc\n  why: It was due for no model.\n  what to do: Raise its rate.\n"; text != want {
		t.Errorf("got %q\nwant %q", text, want)
	}
}

func TestWhatCannotBeTold(t *testing.T) {
	t.Parallel()
	cfg := Config{Address: serve(t, edge{}), Session: "abc", Stream: "camera", Sequence: 8, Out: &bytes.Buffer{}}
	if err := Run(t.Context(), cfg); err == nil || !strings.HasSuffix(err.Error(), ": unit 8 is not kept") {
		t.Errorf("a unit that is gone: %v", err)
	}
	cfg.Address = serve(t, sluicev1.UnimplementedInspectServiceServer{})
	if err := Run(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "ask an edge") {
		t.Errorf("a router: %v", err)
	}
}
