package watch

import (
	"bytes"
	"net"
	"strings"
	"testing"

	"google.golang.org/grpc"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/pkg/wire"
	sluicev1 "github.com/sluice-dev/sluice/proto/gen/sluice/v1"
)

// inspected answers with one of each outcome and keeps the request.
type inspected struct {
	sluicev1.UnimplementedInspectServiceServer
	request chan *sluicev1.WatchOutcomesRequest
}

func (i inspected) WatchOutcomes(r *sluicev1.WatchOutcomesRequest, s grpc.ServerStreamingServer[sluicev1.WatchOutcomesResponse]) error {
	i.request <- r
	base := media.Outcome{Session: "abc", Stream: "camera", Sequence: 7, Model: "faces"}
	drop, failed, result := base, base, base
	drop.Drop, failed.Error = media.Superseded, media.BackendTimeout
	result.Result, result.BatchSize = &media.Result{Detections: []media.Detection{{Label: "face", Score: 0.97}}}, 3
	for n, o := range []media.Outcome{drop, failed, result} {
		m := &sluicev1.WatchOutcomesResponse{Outcome: wire.OutcomeToProto(o)}
		if n == 2 {
			m.Skipped = new(uint32(12))
		}
		if err := s.Send(m); err != nil {
			return err
		}
	}
	return nil
}

func TestRun(t *testing.T) {
	t.Parallel()
	service := inspected{request: make(chan *sluicev1.WatchOutcomesRequest, 2)}
	server := grpc.NewServer()
	sluicev1.RegisterInspectServiceServer(server, service)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	defer func() {
		server.Stop()
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
	}()

	var lines bytes.Buffer
	if err := Run(t.Context(), Config{Address: l.Addr().String(), Session: "abc", Limit: 3, Out: &lines}); err != nil {
		t.Fatal(err)
	}
	if r := <-service.request; r.GetSession() != "abc" || r.GetLimit() != 3 || r.Stream != nil || r.Model != nil {
		t.Errorf("asked for %v", r)
	}
	for _, want := range []string{"drop   SUPERSEDED", "error  BACKEND_TIMEOUT", "12 outcomes lost", "batch 3, 1 found, best face 0.97", "#7"} {
		if !strings.Contains(lines.String(), want) {
			t.Errorf("the lines lack %q:\n%s", want, lines.String())
		}
	}
	lines.Reset()
	if err := Run(t.Context(), Config{Address: l.Addr().String(), JSON: true, Out: &lines}); err != nil {
		t.Fatal(err)
	}
	if text := lines.String(); strings.Count(text, "\n") != 3 || !strings.Contains(strings.ReplaceAll(text, " ", ""), `"drop":{"reason":"SUPERSEDED"}`) {
		t.Errorf("JSON lines:\n%s", text)
	}
}

func TestRunExplainsSilence(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	_ = l.Close()
	if err := Run(t.Context(), Config{Address: address, Out: &bytes.Buffer{}}); err == nil || !strings.Contains(err.Error(), "is the service running") {
		t.Errorf("nobody listening: %v", err)
	}
}
