package inspect

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	"github.com/sluice-dev/sluice/pkg/media"
	sluicev1 "github.com/sluice-dev/sluice/proto/gen/sluice/v1"
	"github.com/sluice-dev/sluice/services/router/internal/intake"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type still struct{}

func (still) Sessions() []intake.Session {
	return []intake.Session{
		{ID: "first", Started: time.Unix(1, 0), Streams: []media.StreamCounts{{Stream: "camera", Received: 3, Accepted: 3}}},
		{ID: "second", Started: time.Unix(2, 0), Draining: true},
	}
}

func (still) Models() []media.Model {
	return []media.Model{{Name: "faces", InputID: 1, Deadline: time.Second, Ready: true}, {Name: "pose", InputID: 1, Deadline: time.Second}}
}

func (still) Inputs() []media.Input {
	return []media.Input{{ID: 1, Form: media.PictureForm(media.PictureInput{Width: 4, Height: 2, Fit: media.Crop, Color: media.BGR})}}
}

func (still) Totals() []media.ModelCounts {
	return []media.ModelCounts{{Model: "faces", Accepted: 9, Results: 9}}
}

// serve runs the service in process; the connection ends with the returned function.
func serve(t *testing.T, feed *Feed) (sluicev1.InspectServiceClient, func()) {
	t.Helper()
	l, server := bufconn.Listen(1<<16), grpc.NewServer()
	sluicev1.RegisterInspectServiceServer(server, New(still{}, still{}, feed))
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(l) })
	conn, err := grpc.NewClient("passthrough:///router", grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithIdleTimeout(0),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return l.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	return sluicev1.NewInspectServiceClient(conn), func() {
		_ = conn.Close()
		server.Stop()
		serving.Wait()
	}
}

func TestLists(t *testing.T) {
	t.Parallel()
	client, stop := serve(t, NewFeed())
	defer stop()
	sessions, err := client.ListSessions(t.Context(), &sluicev1.ListSessionsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	first, second := sessions.GetSessions()[0], sessions.GetSessions()[1]
	if first.GetSession() != "first" || first.GetState() != "open" || first.GetStreams()[0].GetReceived() != 3 || first.GetStartTime().GetSeconds() != 1 ||
		second.GetState() != "draining" || sessions.GetTotals()[0].GetResults() != 9 {
		t.Errorf("sessions %v", sessions)
	}
	models, err := client.ListModels(t.Context(), &sluicev1.ListModelsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if m := models.GetModels(); len(m) != 2 || !m[0].GetReady() || m[1].GetReady() || models.GetInputs()[0].GetPicture().GetWidth() != 4 {
		t.Errorf("models %v", models)
	}
	if _, err := client.Explain(t.Context(), &sluicev1.ExplainRequest{}); status.Code(err) != codes.Unimplemented {
		t.Errorf("explain: %v, want UNIMPLEMENTED", err)
	}
}

func outcome(session, stream, model string, sequence uint32) media.Outcome {
	return media.Outcome{Session: session, Stream: stream, Model: model, Sequence: sequence, Drop: media.Expired}
}

func TestWatchSelects(t *testing.T) {
	t.Parallel()
	all := []media.Outcome{outcome("a", "camera", "faces", 1), outcome("b", "camera", "faces", 2), outcome("a", "screen", "faces", 3), outcome("a", "camera", "pose", 4)}
	for name, c := range map[string]struct {
		request *sluicev1.WatchOutcomesRequest
		want    string
	}{
		"all":     {&sluicev1.WatchOutcomesRequest{}, "1 2 3 4"},
		"session": {&sluicev1.WatchOutcomesRequest{Session: new("a")}, "1 3 4"},
		"stream":  {&sluicev1.WatchOutcomesRequest{Stream: new("camera")}, "1 2 4"},
		"model":   {&sluicev1.WatchOutcomesRequest{Model: new("faces")}, "1 2 3"},
		"limit":   {&sluicev1.WatchOutcomesRequest{Limit: new(uint32(2))}, "1 2"},
		"none":    {&sluicev1.WatchOutcomesRequest{Limit: new(uint32(0))}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			feed := NewFeed()
			client, stop := serve(t, feed)
			defer stop()
			stream, err := client.WatchOutcomes(t.Context(), c.request)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := stream.Header(); err != nil { // from here on nothing is missed
				t.Fatal(err)
			}
			for _, o := range all {
				feed.Publish(o)
			}
			feed.Close()
			var got []string
			for {
				m, err := stream.Recv()
				if errors.Is(err, io.EOF) {
					break
				}
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, fmt.Sprint(m.GetOutcome().GetSequence()))
			}
			if strings.Join(got, " ") != c.want {
				t.Errorf("watched %v, want %s", got, c.want)
			}
		})
	}
}

// TestSlowWatcher never receives while thousands of outcomes pass, and then learns how many it lost.
func TestSlowWatcher(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const published = 20_000
		feed := NewFeed()
		client, stop := serve(t, feed)
		defer stop()
		stream, err := client.WatchOutcomes(t.Context(), &sluicev1.WatchOutcomesRequest{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := stream.Header(); err != nil {
			t.Fatal(err)
		}
		for i := range uint32(published) {
			feed.Publish(outcome("a", "camera", "faces", i+1))
			if i%512 == 0 {
				synctest.Wait()
			}
		}
		feed.Close()
		last, got, lost := uint32(0), 0, 0
		for {
			m, err := stream.Recv()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if m.GetOutcome().GetSequence() != last+1+m.GetSkipped() {
				t.Fatalf("outcome %d after %d with %d skipped", m.GetOutcome().GetSequence(), last, m.GetSkipped())
			}
			last, got, lost = m.GetOutcome().GetSequence(), got+1, lost+int(m.GetSkipped())
		}
		if got+lost != published || last != published || lost == 0 {
			t.Errorf("%d got, %d lost, last %d of %d", got, lost, last, published)
		}
	})
}

func TestFeedIsBounded(t *testing.T) {
	t.Parallel()
	feed := NewFeed()
	w, err := feed.watch(func(*media.Outcome) bool { return true })
	if err != nil {
		t.Fatal(err)
	}
	large := outcome("a", "camera", "faces", 1)
	large.Result = &media.Result{
		Tensors: []media.Tensor{{Values: make([]float64, keptBytes/32)}}, Detections: []media.Detection{{}}, Classes: []media.Classification{{}}, JSON: []string{"{}"},
	}
	for range 10 {
		feed.Publish(large)
	}
	if len(w.waiting) != 3 || w.skipped != 7 || w.bytes > keptBytes {
		t.Errorf("%d large outcomes wait, %d bytes, %d skipped; want 3 within %d bytes", len(w.waiting), w.bytes, w.skipped, keptBytes)
	}
	for range maxWatchers - 1 {
		if _, err := feed.watch(nil); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := feed.watch(nil); !errors.Is(err, errTooMany) {
		t.Errorf("watcher %d: %v, want a refusal", maxWatchers+1, err)
	}
	feed.leave(w)
	if _, err := feed.watch(nil); err != nil {
		t.Errorf("after one left: %v", err)
	}
	feed.Close()
	if _, err := feed.watch(nil); !errors.Is(err, errClosed) {
		t.Errorf("after close: %v", err)
	}
}

func TestWatchRefuses(t *testing.T) {
	t.Parallel()
	feed := NewFeed()
	client, stop := serve(t, feed)
	defer stop()
	feed.Close()
	feed.Close()
	stream, err := client.WatchOutcomes(t.Context(), &sluicev1.WatchOutcomesRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); status.Code(err) != codes.Unavailable {
		t.Errorf("watching a router that shuts down: %v, want UNAVAILABLE", err)
	}
}
