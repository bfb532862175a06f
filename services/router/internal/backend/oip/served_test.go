//go:build e2e

package oip_test

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/services/router/internal/backend"
	"github.com/sluice-dev/sluice/services/router/internal/backend/backendtest"
	"github.com/sluice-dev/sluice/services/router/internal/backend/oip"
)

// TestServedEqualsEmbedded runs the same file behind a model server and in this process: batches of one and of four must have the same faces. The
// server is MLServer, unless SLUICE_OIP_TARGET names another that serves it as `faces`.
func TestServedEqualsEmbedded(t *testing.T) {
	const maxBatch = 4
	target := os.Getenv("SLUICE_OIP_TARGET")
	if target == "" {
		target = startMLServer(t)
	}
	served, err := backend.New(backendtest.FacesConfig(t, maxBatch), open(t, oip.Config{Target: target, Model: "faces", Correlate: true}))
	if err != nil {
		t.Fatal(err)
	}
	defer served.Close()
	await(t, served)
	embedded, err := backend.New(backendtest.FacesConfig(t, maxBatch), backendtest.OpenFaces(t, 1))
	if err != nil {
		t.Fatal(err)
	}
	defer embedded.Close()
	if err := embedded.Check(t.Context()); err != nil {
		t.Fatal(err)
	}

	portrait, placement := backendtest.Astronaut(t, backendtest.FacesInput())
	darker := make([]byte, len(portrait))
	for i, v := range portrait {
		darker[i] = v / 2
	}
	for _, batch := range [][][]byte{{portrait}, {darker, portrait, make([]byte, len(portrait)), portrait}} {
		here, there := decode(t, embedded, batch, placement), decode(t, served, batch, placement)
		for i := range batch {
			if len(here[i].Detections) != len(there[i].Detections) {
				t.Fatalf("frame %d: %d faces embedded and %d served", i, len(here[i].Detections), len(there[i].Detections))
			}
			for k, a := range here[i].Detections {
				b := there[i].Detections[k]
				overlap := backendtest.IoU(a.Box, b.Box)
				t.Logf("batch of %d, frame %d: IoU %.6f, scores %.6f and %.6f", len(batch), i, overlap, a.Score, b.Score)
				if overlap < 0.98 {
					t.Errorf("frame %d: boxes %+v and %+v overlap by %.3f", i, a.Box, b.Box, overlap)
				}
			}
		}
		if len(here[len(here)-1].Detections) != 1 {
			t.Errorf("%d faces in the portrait", len(here[len(here)-1].Detections))
		}
	}

	// The server's own refusal: a model that it does not have.
	stranger := open(t, oip.Config{Target: target, Model: "nobody"})
	defer stranger.Close()
	_, err = stranger.Describe(t.Context())
	expect(t, err, media.BackendRejected)
}

func decode(t *testing.T, m *backend.Model, batch [][]byte, placement media.Placement) []*media.Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	start := time.Now()
	frames := backendtest.Frames(batch...)
	for i := range frames { // A server that knows nothing of whose frames they are takes them all the same.
		frames[i].Session, frames[i].Stream, frames[i].Sequence = "session", "camera", uint32(i+1)
	}
	reply, err := m.Infer(ctx, 0, frames)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("batch of %d took %v", len(batch), time.Since(start).Round(time.Millisecond))
	defer reply.Release()
	decoder := backendtest.FacesDecoder(t)
	results := make([]*media.Result, len(batch))
	for i := range batch {
		if results[i], err = decoder.Decode(reply.Frame(i), placement); err != nil {
			t.Fatal(err)
		}
	}
	return results
}

// await checks a model until it is ready.
func await(t *testing.T, m *backend.Model) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	ticker := time.NewTicker(200 * time.Millisecond)
	defer ticker.Stop()
	for {
		err := m.Check(ctx)
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("the model server did not become ready: %v", err)
		case <-ticker.C:
		}
	}
}

// startMLServer starts deploy/e2e/mlserver and gives its gRPC address. The first start installs it.
func startMLServer(t *testing.T) string {
	t.Helper()
	root := filepath.Dir(filepath.Dir(filepath.Dir(backendtest.Fetched(t, "models/faces.onnx"))))
	grpcPort, httpPort := freePort(t), freePort(t)
	server := exec.Command(filepath.Join(root, "deploy", "e2e", "mlserver", "start.sh"), strconv.Itoa(grpcPort), strconv.Itoa(httpPort))
	log, err := os.Create(filepath.Join(t.TempDir(), "mlserver.log"))
	if err != nil {
		t.Fatal(err)
	}
	server.Stdout, server.Stderr = log, log
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = server.Process.Signal(syscall.SIGTERM)
		_ = server.Wait()
		if text, err := os.ReadFile(log.Name()); err == nil && t.Failed() {
			t.Logf("the model server said:\n%s", text)
		}
	})
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(grpcPort))
}

func freePort(t *testing.T) int {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port
}
