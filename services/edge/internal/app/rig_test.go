package app

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"image"
	"image/jpeg"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/pion/webrtc/v4"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	shared "github.com/sluice-dev/sluice/pkg/config"
	"github.com/sluice-dev/sluice/pkg/serve"
	sluicev1 "github.com/sluice-dev/sluice/proto/gen/sluice/v1"
	"github.com/sluice-dev/sluice/services/edge/internal/config"
)

// soon is how long a test waits for what must happen at once, on a machine that is busy.
const soon = 20 * time.Second

// fakeRouter knows one model, faces, and answers each frame at once with a detection.
type fakeRouter struct {
	sluicev1.UnimplementedRouterServiceServer
	sluicev1.UnimplementedInspectServiceServer
}

func facesModel() ([]*sluicev1.Model, []*sluicev1.Input) {
	model := &sluicev1.Model{
		Name: new("faces"), InputId: new(uint32(1)), Rate: new(0.0), Deadline: new(5.0), Result: new("detections"), Ready: new(true), MaxBatch: new(uint32(1)),
	}
	input := &sluicev1.Input{Id: new(uint32(1)), Kind: &sluicev1.Input_Picture{Picture: &sluicev1.PictureInput{
		Width: new(uint32(32)), Height: new(uint32(32)), Fit: sluicev1.PictureInput_LETTERBOX.Enum(), Color: sluicev1.PictureInput_RGB.Enum(),
	}}}
	return []*sluicev1.Model{model}, []*sluicev1.Input{input}
}

func (fakeRouter) ListModels(context.Context, *sluicev1.ListModelsRequest) (*sluicev1.ListModelsResponse, error) {
	models, inputs := facesModel()
	return &sluicev1.ListModelsResponse{Models: models, Inputs: inputs}, nil
}

func (fakeRouter) Stream(s sluicev1.RouterService_StreamServer) error {
	for {
		request, err := s.Recv()
		if err == io.EOF { //nolint:errorlint // gRPC documents the bare value
			return nil
		}
		if err != nil {
			return err
		}
		for _, response := range answers(request) {
			if err := s.Send(response); err != nil {
				return err
			}
		}
	}
}

func answers(request *sluicev1.StreamRequest) []*sluicev1.StreamResponse {
	frame := request.GetFrame()
	if frame == nil {
		models, inputs := facesModel()
		opened := &sluicev1.Opened{Models: models, Inputs: inputs, Window: new(uint32(4)), Router: new("fake")}
		return []*sluicev1.StreamResponse{{Body: &sluicev1.StreamResponse_Opened{Opened: opened}}}
	}
	found := &sluicev1.Detection{Label: new("face"), Score: new(1.0), Box: &sluicev1.Box{X: new(0.0), Y: new(0.0), Width: new(1.0), Height: new(1.0)}}
	outcome := &sluicev1.Outcome{
		Stream: frame.Stream, Sequence: frame.Sequence, Model: new("faces"), BatchSize: new(uint32(1)), //nolint:protogetter // presence is kept
		End: &sluicev1.Outcome_Result{Result: &sluicev1.Result{Detections: []*sluicev1.Detection{found}}},
	}
	credit := &sluicev1.Credit{Stream: frame.Stream, InputId: frame.InputId, Frames: new(uint32(1))} //nolint:protogetter // as above
	return []*sluicev1.StreamResponse{{Body: &sluicev1.StreamResponse_Outcome{Outcome: outcome}}, {Body: &sluicev1.StreamResponse_Credit{Credit: credit}}}
}

// startRouter serves a fake router on listener until the test ends.
func startRouter(t *testing.T, listener net.Listener) {
	t.Helper()
	server := grpc.NewServer()
	sluicev1.RegisterRouterServiceServer(server, fakeRouter{})
	sluicev1.RegisterInspectServiceServer(server, fakeRouter{})
	healthpb.RegisterHealthServer(server, health.NewServer())
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	t.Cleanup(func() {
		server.Stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
}

// rig is an edge on free ports.
type rig struct {
	t      *testing.T
	edge   *edge
	base   string // of the public side
	drain  context.CancelFunc
	served chan error
}

func testConfig(router string) config.Config {
	c := config.Default()
	c.HTTP.Listen, c.GRPC.Listen, c.Admin.Listen = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"
	c.ICE.UDP, c.ICE.TCP, c.ICE.Loopback = "127.0.0.1:0", "", true
	c.Router.Target = "passthrough:///" + router
	c.Decoder.Path = shared.Program(decoderProgram)
	c.Drain = shared.Duration(soon)
	return c
}

// startEdge runs an edge; the test ends it with stop.
func startEdge(t *testing.T, cfg config.Config) *rig {
	t.Helper()
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	e := &edge{cfg: cfg, logger: slog.New(slog.DiscardHandler), registry: serve.NewRegistry()}
	if err := e.open(); err != nil {
		t.Fatal(errorsOf(err, e.close()))
	}
	ctx, drain := context.WithCancel(context.Background())
	r := &rig{t: t, edge: e, base: "http://" + e.http.Addr().String(), drain: drain, served: make(chan error, 1)}
	go func() { r.served <- e.serve(ctx) }()
	return r
}

func errorsOf(errs ...error) string { return fmt.Sprint(errs) }

// stop drains the edge and waits for its end.
func (r *rig) stop() {
	r.t.Helper()
	r.drain()
	select {
	case err := <-r.served:
		if err != nil {
			r.t.Errorf("serve: %v", err)
		}
	case <-time.After(soon):
		r.t.Fatal("the edge does not end")
	}
	if err := r.edge.close(); err != nil {
		r.t.Errorf("close: %v", err)
	}
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
}

// get gives status and body of an address of the edge.
func (r *rig) get(address string) (int, string) {
	r.t.Helper()
	request, err := http.NewRequestWithContext(r.t.Context(), http.MethodGet, address, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		r.t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return response.StatusCode, string(body)
}

func (r *rig) admin(path string) (int, string) {
	return r.get("http://" + r.edge.admin.Addr().String() + path)
}

// eventually waits until the condition holds.
func (r *rig) eventually(what string, condition func() bool) {
	r.t.Helper()
	deadline := time.NewTimer(soon)
	defer deadline.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-deadline.C:
			r.t.Fatalf("not in time: %s", what)
		case <-tick.C:
		}
	}
}

// client is a page that sends pictures over a data channel.
type client struct {
	location, results string
	messages          chan string // what came on the channel
	opened            chan struct{}
	connection        *webrtc.PeerConnection
	channel           *webrtc.DataChannel
}

// publish connects a client by WHIP.
func (r *rig) publish() *client {
	r.t.Helper()
	connection, err := webrtc.NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		r.t.Fatal(err)
	}
	c := &client{messages: make(chan string, 1000), opened: make(chan struct{}), connection: connection}
	if c.channel, err = connection.CreateDataChannel("pictures", nil); err != nil {
		r.t.Fatal(err)
	}
	c.channel.OnOpen(func() { close(c.opened) })
	c.channel.OnMessage(func(m webrtc.DataChannelMessage) { c.messages <- string(m.Data) })
	offer, err := connection.CreateOffer(nil)
	if err != nil {
		r.t.Fatal(err)
	}
	if err := connection.SetLocalDescription(offer); err != nil {
		r.t.Fatal(err)
	}
	response := r.post(offer.SDP)
	defer func() { _ = response.Body.Close() }()
	answer, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusCreated {
		r.t.Fatalf("WHIP: %d, %v: %s", response.StatusCode, err, answer)
	}
	if err := connection.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: string(answer)}); err != nil {
		r.t.Fatal(err)
	}
	c.location = response.Header.Get("Location")
	for _, link := range response.Header.Values("Link") {
		if target, ok := strings.CutSuffix(link, `>; rel="urn:ietf:params:whip:ext:sluice:results"`); ok {
			c.results = strings.TrimPrefix(target, "<")
		}
	}
	select {
	case <-c.opened:
	case <-time.After(soon):
		r.t.Fatal("the data channel does not open")
	}
	return c
}

func (r *rig) post(offer string) *http.Response {
	r.t.Helper()
	request, err := http.NewRequestWithContext(r.t.Context(), http.MethodPost, r.base+"/whip?model=faces", strings.NewReader(offer))
	if err != nil {
		r.t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/sdp")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		r.t.Fatal(err)
	}
	return response
}

// next gives the next message of the client's channel.
func (r *rig) next(c *client) map[string]json.RawMessage {
	r.t.Helper()
	select {
	case text := <-c.messages:
		var message map[string]json.RawMessage
		if err := json.Unmarshal([]byte(text), &message); err != nil {
			r.t.Fatalf("%v: %s", err, text)
		}
		return message
	case <-time.After(soon):
		r.t.Fatal("no message")
		return nil
	}
}

func picture(t *testing.T) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := jpeg.Encode(&b, image.NewRGBA(image.Rect(0, 0, 64, 48)), nil); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// testLogger writes to the test's own log.
func testLogger(t *testing.T) *slog.Logger {
	t.Helper()
	return slog.New(slog.NewTextHandler(t.Output(), nil))
}
