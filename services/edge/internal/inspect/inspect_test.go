package inspect

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	"github.com/sluice-dev/sluice/pkg/ledger"
	"github.com/sluice-dev/sluice/pkg/media"
	sluicev1 "github.com/sluice-dev/sluice/proto/gen/sluice/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type fixed struct{ start time.Time }

func (f fixed) Sessions() []Session {
	return []Session{
		{ID: "younger", Start: f.start.Add(time.Second), State: "connecting"},
		{ID: "older", Start: f.start, State: "connected", Streams: []media.StreamCounts{{
			Stream: "camera", Received: 3, NotDue: 1, Accepted: 2,
			Models: []media.ModelCounts{{Model: "faces", NotSampled: 1, Accepted: 2, Results: 2}},
		}}},
	}
}

func (fixed) Totals() []media.ModelCounts {
	return []media.ModelCounts{{Model: "speech", Accepted: 1, InFlight: 1}, {Model: "faces", Accepted: 12, Results: 12}}
}

func (fixed) Models() ([]media.Model, []media.Input) {
	form := media.PictureInput{Width: 320, Height: 240, Fit: media.Letterbox, Color: media.RGB}
	return []media.Model{{Name: "faces", InputID: 1, Rate: 15, Deadline: time.Second / 4, Ready: true}}, []media.Input{{ID: 1, Form: media.PictureForm(form)}}
}

func (f fixed) Explain(session, stream string, sequence uint32) (ledger.Life, bool) {
	return ledger.Life{
		Unit:     ledger.Unit{Arrival: f.start},
		Outcomes: []media.Outcome{{Session: session, Stream: stream, Sequence: sequence, Model: "faces", Drop: media.Expired}},
		InFlight: []string{"poses"},
		Ways:     []ledger.Way{{Model: "faces", Deadline: time.Second / 4}, {Model: "poses", Deadline: time.Second / 4}},
	}, session == "older" && sequence == 7
}

// serve runs the service in memory and gives a client of it and its feed.
func serve(t *testing.T) (sluicev1.InspectServiceClient, *Feed) {
	t.Helper()
	listener, feed, server := bufconn.Listen(1<<16), NewFeed(), grpc.NewServer()
	Register(server, fixed{time.Unix(1000, 0)}, feed)
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	conn, err := grpc.NewClient("passthrough:///edge", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
		server.Stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return sluicev1.NewInspectServiceClient(conn), feed
}

func TestListSessions(t *testing.T) {
	t.Parallel()
	client, _ := serve(t)
	resp, err := client.ListSessions(t.Context(), &sluicev1.ListSessionsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	sessions, totals := resp.GetSessions(), resp.GetTotals()
	if len(sessions) != 2 || sessions[0].GetSession() != "older" || sessions[0].GetState() != "connected" ||
		sessions[0].GetStreams()[0].GetModels()[0].GetResults() != 2 || sessions[1].GetSession() != "younger" {
		t.Errorf("sessions %v, want older (2 results) before younger", sessions)
	}
	if len(totals) != 2 || totals[0].GetModel() != "faces" || totals[0].GetResults() != 12 {
		t.Errorf("totals %v, want faces first, with 12 results", totals)
	}
}

func TestListModels(t *testing.T) {
	t.Parallel()
	client, _ := serve(t)
	resp, err := client.ListModels(t.Context(), &sluicev1.ListModelsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if len(resp.GetModels()) != 1 || !resp.GetModels()[0].GetReady() || resp.GetInputs()[0].GetPicture().GetWidth() != 320 {
		t.Errorf("got %v, want faces, ready, 320 pixels wide", resp)
	}
}

func TestExplain(t *testing.T) {
	t.Parallel()
	client, _ := serve(t)
	req := &sluicev1.ExplainRequest{Session: new("older"), Stream: new("camera"), Sequence: new(uint32(7))}
	resp, err := client.Explain(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	if resp.GetOutcomes()[0].GetDrop().GetReason() != sluicev1.Drop_EXPIRED || resp.GetInFlight()[0] != "poses" ||
		resp.GetArrivalTime().AsTime().Unix() != 1000 || resp.NotSampled == nil {
		t.Errorf("got %v", resp)
	}
	req.Sequence = new(uint32(8))
	if _, err := client.Explain(t.Context(), req); status.Code(err) != codes.NotFound || !strings.Contains(err.Error(), "512") {
		t.Errorf("a unit that is not kept: %v, want NOT_FOUND and why", err)
	}
}

// watch opens a call that sees every outcome published after watch has returned.
func watch(t *testing.T, client sluicev1.InspectServiceClient, req *sluicev1.WatchOutcomesRequest) grpc.ServerStreamingClient[sluicev1.WatchOutcomesResponse] {
	t.Helper()
	stream, err := client.WatchOutcomes(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Header(); err != nil {
		t.Fatal(err)
	}
	return stream
}

func TestWatchOutcomes(t *testing.T) {
	t.Parallel()
	outcomes := []media.Outcome{
		{Session: "a", Stream: "camera", Sequence: 1, Model: "faces", Result: &media.Result{}},
		{Session: "a", Stream: "screen", Sequence: 2, Model: "faces", Drop: media.Superseded},
		{Session: "b", Stream: "camera", Sequence: 3, Model: "faces", Error: media.BackendTimeout},
		{Session: "a", Stream: "camera", Sequence: 4, Model: "poses", Result: &media.Result{}},
	}
	for _, c := range []struct {
		name string
		req  *sluicev1.WatchOutcomesRequest
		want []uint32
	}{
		{"all", &sluicev1.WatchOutcomesRequest{}, []uint32{1, 2, 3, 4}},
		{"a session", &sluicev1.WatchOutcomesRequest{Session: new("a")}, []uint32{1, 2, 4}},
		{"a stream", &sluicev1.WatchOutcomesRequest{Stream: new("camera")}, []uint32{1, 3, 4}},
		{"a model", &sluicev1.WatchOutcomesRequest{Model: new("poses")}, []uint32{4}},
		{"all three", &sluicev1.WatchOutcomesRequest{Session: new("a"), Stream: new("camera"), Model: new("faces")}, []uint32{1}},
		{"two and no more", &sluicev1.WatchOutcomesRequest{Limit: new(uint32(2))}, []uint32{1, 2}},
		{"none at all", &sluicev1.WatchOutcomesRequest{Limit: new(uint32(0))}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			client, feed := serve(t)
			feed.Publish(media.Outcome{Session: "a", Stream: "camera", Sequence: 99, Model: "faces"}) // before: nobody sees it
			stream := watch(t, client, c.req)
			for _, o := range outcomes {
				feed.Publish(o)
			}
			feed.Close()
			var got []uint32
			for {
				resp, err := stream.Recv()
				if errors.Is(err, io.EOF) {
					break
				}
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, resp.GetOutcome().GetSequence())
			}
			if fmt.Sprint(got) != fmt.Sprint(c.want) {
				t.Errorf("saw %v, want %v", got, c.want)
			}
		})
	}
}

func TestSlowWatcher(t *testing.T) {
	t.Parallel()
	client, feed := serve(t)
	stream := watch(t, client, &sluicev1.WatchOutcomesRequest{})
	// Far more than fits into the ring and gRPC's buffers together, while nobody reads.
	const published = 40 * keptOutcomes
	for i := range uint32(published) {
		feed.Publish(media.Outcome{Session: "a", Stream: "camera", Sequence: i + 1, Model: "faces", Drop: media.Expired})
	}
	feed.Close()
	total, skipped, last := uint32(0), uint32(0), uint32(0)
	for {
		resp, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		total += 1 + resp.GetSkipped()
		skipped += resp.GetSkipped()
		last = resp.GetOutcome().GetSequence()
	}
	if total != published || skipped == 0 || last != published {
		t.Errorf("seen and skipped %d (skipped %d, newest %d), want %d, some skipped, the newest seen", total, skipped, last, published)
	}
}

func TestWatchersAreLimited(t *testing.T) {
	t.Parallel()
	client, feed := serve(t)
	for range maxWatchers {
		watch(t, client, &sluicev1.WatchOutcomesRequest{})
	}
	stream, err := client.WatchOutcomes(t.Context(), &sluicev1.WatchOutcomesRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("watcher %d: %v, want RESOURCE_EXHAUSTED", maxWatchers+1, err)
	}
	feed.Close()
}

func TestLargeResultsAreNotHoarded(t *testing.T) {
	t.Parallel()
	big := media.Outcome{Result: &media.Result{Tensors: []media.Tensor{{Values: make([]float64, 1<<20)}}}}
	if n := sizeOf(big); n < 8<<20 {
		t.Errorf("a result of 8 MiB counts as %d bytes", n)
	}
}
