package oip_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/pkg/tensor"
	"github.com/sluice-dev/sluice/proto/gen/inference"
	"github.com/sluice-dev/sluice/services/router/internal/backend"
	"github.com/sluice-dev/sluice/services/router/internal/backend/backendtest"
	"github.com/sluice-dev/sluice/services/router/internal/backend/oip"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t *testing.T, config oip.Config) backend.Driver {
	t.Helper()
	driver, err := oip.Open(config)
	if err != nil {
		t.Fatal(err)
	}
	return driver
}

// TestConformance runs the suite through a server in front of the embedded model, which answers with raw bytes.
func TestConformance(t *testing.T) {
	t.Parallel()
	backendtest.Conform(t, backendtest.Harness{
		Open: func(t *testing.T) backend.Driver {
			t.Helper()
			model := backendtest.OpenFaces(t, 1)
			t.Cleanup(func() { _ = model.Close() })
			address := backendtest.Serve(t, &backendtest.Server{Model: "faces", Driver: model})
			return open(t, oip.Config{Target: "dns:///" + address, Model: "faces"})
		},
		Config: backendtest.FacesConfig(t, 3),
		// The network halves its maps five times, rounding up, and adds them again on the way back: 220 rows do not meet.
		Unfit: func(input *media.RawTensor) {
			input.Data = input.Data[:len(input.Data)/input.Shape[2]*(input.Shape[2]-4)]
			input.Shape[2] -= 4
		},
	})
}

// TestConformanceOfARecurrentModel runs the suite through a server in front of the embedded speech detector, whose state goes there and back.
func TestConformanceOfARecurrentModel(t *testing.T) {
	t.Parallel()
	backendtest.Conform(t, backendtest.Harness{
		Open: func(t *testing.T) backend.Driver {
			t.Helper()
			model := backendtest.OpenSpeech(t, 1)
			t.Cleanup(func() { _ = model.Close() })
			address := backendtest.Serve(t, &backendtest.Server{Model: "speech", Driver: model})
			return open(t, oip.Config{Target: "dns:///" + address, Model: "speech"})
		},
		Config: backendtest.SpeechConfig(t, 3),
		Unfit:  func(input *media.RawTensor) { input.Shape, input.Data = []int{1, 100}, input.Data[:400] },
	})
}

// TestConformanceOfTheOtherForms runs the suite with typed answers, and with bytes as input.
func TestConformanceOfTheOtherForms(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name     string
		datatype media.Datatype
		typed    bool
	}{
		{"typed answers", media.FP32, true},
		{"bytes as input", media.Uint8, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			config := small()
			config.Input = picture(c.datatype)
			backendtest.Conform(t, backendtest.Harness{
				Open: func(t *testing.T) backend.Driver {
					t.Helper()
					fake := backendtest.NewFake("fake", config)
					return open(t, oip.Config{
						Target: backendtest.Serve(t, &backendtest.Server{Model: "fake", Driver: fake, Typed: c.typed}),
						Model:  "fake",
					})
				},
				Config: config,
				Unfit:  func(input *media.RawTensor) { input.Shape = input.Shape[:2] },
			})
		})
	}
}

// small is the configuration of a model whose pictures are four pixels.
func small() backend.Config {
	return backend.Config{
		Name:     "small",
		Input:    picture(media.FP32),
		MaxBatch: 2,
	}
}

func picture(datatype media.Datatype) tensor.Picture {
	return tensor.Picture{Width: 2, Height: 2, Layout: tensor.NHWC, Datatype: datatype, Scale: [3]float64{1, 1, 1}}
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	for name, config := range map[string]oip.Config{
		"no target":              {Model: "faces"},
		"no model":               {Target: "dns:///triton:8001"},
		"a target of no form":    {Target: "\x7f://", Model: "faces"},
		"a negative answer size": {Target: "dns:///triton:8001", Model: "faces", MaxReply: -1},
	} {
		if driver, err := oip.Open(config); err == nil {
			_ = driver.Close()
			t.Errorf("%s: Open succeeded", name)
		}
	}
}

// scripted is a server whose answers are given; what is nil is answered as it should be.
type scripted struct {
	backendtest.Server

	ready    func() (*inference.ModelReadyResponse, error)
	metadata func() (*inference.ModelMetadataResponse, error)
	infer    func(ctx context.Context, good *inference.ModelInferResponse) (*inference.ModelInferResponse, error)
}

func (s *scripted) ModelReady(ctx context.Context, r *inference.ModelReadyRequest) (*inference.ModelReadyResponse, error) {
	if s.ready != nil {
		return s.ready()
	}
	return s.Server.ModelReady(ctx, r)
}

func (s *scripted) ModelMetadata(ctx context.Context, r *inference.ModelMetadataRequest) (*inference.ModelMetadataResponse, error) {
	if s.metadata != nil {
		return s.metadata()
	}
	return s.Server.ModelMetadata(ctx, r)
}

func (s *scripted) ModelInfer(ctx context.Context, r *inference.ModelInferRequest) (*inference.ModelInferResponse, error) {
	good, err := s.Server.ModelInfer(ctx, r)
	if err != nil || s.infer == nil {
		return good, err
	}
	return s.infer(ctx, good)
}

// secret stands for what a server says and no client may see.
const secret = "shm_region 0x7f3a /srv/models"

// serve starts a scripted server of the small model and gives a driver for it.
func serve(t *testing.T, s *scripted) backend.Driver {
	t.Helper()
	s.Model, s.Driver = "small", backendtest.NewFake("fake", small())
	return open(t, oip.Config{Target: backendtest.Serve(t, s), Model: "small"})
}

// batchOf makes a request of black pictures that wants outputs of the small model.
func batchOf(t *testing.T, frames int, outputs ...string) backend.Request {
	t.Helper()
	request := backend.Request{
		Inputs: []media.RawTensor{{Name: "pictures", Datatype: media.FP32, Shape: []int{frames, 2, 2, 3}, Data: make([]byte, frames*48)}},
		Frames: backendtest.Frames(make([][]byte, frames)...),
	}
	for _, name := range outputs {
		request.Outputs = append(request.Outputs, tensor.Declared{TensorSpec: media.TensorSpec{Name: name, Datatype: media.FP32, Shape: []int{-1, 1}}})
	}
	return request
}

// expect checks an error's code, and that the server's words are where they belong.
func expect(t *testing.T, err error, code media.ErrorCode) {
	t.Helper()
	var e *backend.Error
	if !errors.As(err, &e) || e.Code != code {
		t.Fatalf("error = %v, want %s", err, code)
	}
	if strings.Contains(e.Error(), "shm_region") {
		t.Errorf("the server's words are in the error's own text: %v", e)
	}
	if len(e.Remote) > 256 || strings.ContainsFunc(e.Remote, func(r rune) bool { return r < ' ' }) {
		t.Errorf("the server's words are not bounded or printable: %q", e.Remote)
	}
}

func TestStatuses(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		status codes.Code
		want   media.ErrorCode
	}{
		{codes.InvalidArgument, media.BackendRejected},
		{codes.Internal, media.BackendRejected},
		{codes.Unknown, media.BackendRejected},
		{codes.NotFound, media.BackendRejected},
		{codes.ResourceExhausted, media.BackendRejected},
		{codes.Canceled, media.BackendRejected},
		{codes.Unimplemented, media.BackendRejected},
		{codes.PermissionDenied, media.BackendRejected},
		{codes.Code(99), media.BackendRejected},
		{codes.Unavailable, media.BackendUnavailable},
		{codes.DeadlineExceeded, media.BackendTimeout},
	} {
		t.Run(c.status.String(), func(t *testing.T) {
			t.Parallel()
			refusal := status.Error(c.status, strings.Repeat(secret+"\n\x1b[31m", 100))
			driver := serve(t, &scripted{
				ready:    func() (*inference.ModelReadyResponse, error) { return nil, refusal },
				metadata: func() (*inference.ModelMetadataResponse, error) { return nil, refusal },
				infer: func(context.Context, *inference.ModelInferResponse) (*inference.ModelInferResponse, error) {
					return nil, refusal
				},
			})
			defer driver.Close()
			expect(t, driver.Ready(t.Context()), c.want)
			_, err := driver.Describe(t.Context())
			expect(t, err, c.want)
			_, err = driver.Infer(t.Context(), batchOf(t, 1, "first"))
			expect(t, err, c.want)
			var e *backend.Error
			if errors.As(err, &e) && !strings.Contains(e.Remote, "shm_region") {
				t.Errorf("the server's words are lost for the log: %+v", e)
			}
		})
	}
}

func TestNotReady(t *testing.T) {
	t.Parallel()
	driver := serve(t, &scripted{ready: func() (*inference.ModelReadyResponse, error) { return &inference.ModelReadyResponse{}, nil }})
	defer driver.Close()
	expect(t, driver.Ready(t.Context()), media.BackendUnavailable)
}

func TestNobodyListens(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	driver := open(t, oip.Config{Target: address, Model: "small"})
	defer driver.Close()
	expect(t, driver.Ready(t.Context()), media.BackendUnavailable)
	_, err = driver.Infer(t.Context(), batchOf(t, 1, "first"))
	expect(t, err, media.BackendUnavailable)
}

// TestCancelledBatch gives up on a server that never answers, which is told so.
func TestCancelledBatch(t *testing.T) {
	t.Parallel()
	asked, told := make(chan struct{}), make(chan error, 1)
	driver := serve(t, &scripted{
		infer: func(ctx context.Context, _ *inference.ModelInferResponse) (*inference.ModelInferResponse, error) {
			close(asked)
			<-ctx.Done()
			told <- ctx.Err()
			return nil, ctx.Err()
		},
	})
	defer driver.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		<-asked
		cancel()
	}()
	_, err := driver.Infer(ctx, batchOf(t, 1, "first"))
	expect(t, err, media.BackendUnavailable) // given up by the caller
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error = %v, want the context's", err)
	}
	if err := <-told; !errors.Is(err, context.Canceled) {
		t.Errorf("the server's call ended with %v, want it to be cancelled", err)
	}
}

// TestServerKnowsTheDeadline reads what a server is told of the time that is left: that of the batch, as the router has it.
func TestServerKnowsTheDeadline(t *testing.T) {
	t.Parallel()
	const left = 30 * time.Second
	told := make(chan time.Duration, 3)
	tell := func(ctx context.Context) {
		if deadline, ok := ctx.Deadline(); ok {
			told <- time.Until(deadline)
		} else {
			told <- -1
		}
	}
	s := &scripted{}
	s.Model, s.Driver = "small", backendtest.NewFake("fake", small())
	driver := open(t, oip.Config{Model: "small", Target: backendtest.Serve(t, s, grpc.UnaryInterceptor(
		func(ctx context.Context, request any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
			tell(ctx)
			return handler(ctx, request)
		}))})
	defer driver.Close()
	ctx, cancel := context.WithTimeout(t.Context(), left)
	defer cancel()
	_, described := driver.Describe(ctx)
	_, inferred := driver.Infer(ctx, batchOf(t, 1, "first"))
	if err := errors.Join(driver.Ready(ctx), described, inferred); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if got := <-told; got <= 0 || got > left {
			t.Errorf("the server is told of %v, want what is left of %v", got, left)
		}
	}
}

func TestSlowServer(t *testing.T) {
	t.Parallel()
	driver := serve(t, &scripted{
		infer: func(ctx context.Context, _ *inference.ModelInferResponse) (*inference.ModelInferResponse, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		},
	})
	defer driver.Close()
	if err := driver.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 1)
	defer cancel()
	_, err := driver.Infer(ctx, batchOf(t, 1, "first"))
	expect(t, err, media.BackendTimeout)
}
