package onnx_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sluice-dev/sluice/services/router/internal/backend"
	"github.com/sluice-dev/sluice/services/router/internal/backend/backendtest"
	"github.com/sluice-dev/sluice/services/router/internal/backend/onnx"
)

func openModel(tb testing.TB, maxBatch, threads int) *backend.Model {
	tb.Helper()
	m, err := backend.New(backendtest.FacesConfig(tb, maxBatch), backendtest.OpenFaces(tb, threads))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := m.Close(); err != nil {
			tb.Errorf("Close: %v", err)
		}
	})
	if err := m.Check(tb.Context()); err != nil {
		tb.Fatal(err)
	}
	return m
}

// TestFindsTheFace shows the embedded model a portrait, alone and between pictures without a face, and wants the face where it is.
func TestFindsTheFace(t *testing.T) {
	t.Parallel()
	m := openModel(t, 4, 1)
	decoder := backendtest.FacesDecoder(t)
	portrait, placement := backendtest.Astronaut(t, backendtest.FacesInput())
	black := make([]byte, len(portrait))
	for _, batch := range [][][]byte{{portrait}, {black, portrait, black, black}, {portrait, portrait, black, portrait}} {
		reply, err := m.Infer(t.Context(), 0, backendtest.Frames(batch...))
		if err != nil {
			t.Fatal(err)
		}
		for i := range batch {
			result, err := decoder.Decode(reply.Frame(i), placement)
			if err != nil {
				t.Fatal(err)
			}
			if &batch[i][0] == &black[0] {
				if len(result.Detections) != 0 {
					t.Errorf("a face in a black picture: %+v", result.Detections)
				}
				continue
			}
			if len(result.Detections) != 1 {
				t.Fatalf("frame %d of %d: %d faces, want 1", i, len(batch), len(result.Detections))
			}
			face := result.Detections[0]
			if overlap := backendtest.IoU(face.Box, backendtest.AstronautFace()); overlap < 0.75 || face.Score < 0.8 {
				t.Errorf("frame %d of %d: face %+v overlaps the true one by %.2f", i, len(batch), face, overlap)
			}
			leftEye, rightEye, mouth := face.Landmarks[0], face.Landmarks[1], face.Landmarks[3]
			if leftEye.X >= rightEye.X || mouth.Y <= leftEye.Y {
				t.Errorf("landmarks do not make a face: %+v", face.Landmarks)
			}
		}
		reply.Release()
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	broken := filepath.Join(t.TempDir(), "broken.onnx")
	if err := os.WriteFile(broken, []byte("no model"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		config onnx.Config
		want   string
	}{
		{"no such file", onnx.Config{Path: "/nowhere/faces.onnx"}, "stat /nowhere/faces.onnx: no such file"},
		{"no model in the file", onnx.Config{Path: broken}, broken},
		{"negative threads", onnx.Config{Path: broken, Threads: -1}, "-1 threads"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if _, err := backendtest.Runtime(t).Open(c.config); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("Open = %v, want an error with %q", err, c.want)
			}
		})
	}
}

func TestOneRuntimeInAProcess(t *testing.T) {
	t.Parallel()
	if backendtest.Runtime(t).Version() == "" {
		t.Error("the runtime has no version")
	}
	if _, err := onnx.Load("libonnxruntime.so"); err == nil {
		t.Error("a second runtime was loaded")
	}
}

// BenchmarkFaces tells what a picture costs in batches of several sizes, packing and checking included.
func BenchmarkFaces(b *testing.B) {
	for _, threads := range []int{1, 2} {
		for _, frames := range []int{1, 2, 4, 8} {
			b.Run(fmt.Sprintf("threads=%d/batch=%d", threads, frames), func(b *testing.B) {
				m := openModel(b, 8, threads)
				portrait, _ := backendtest.Astronaut(b, backendtest.FacesInput())
				batch := backendtest.Frames(slices.Repeat([][]byte{portrait}, frames)...)
				for b.Loop() {
					reply, err := m.Infer(b.Context(), 0, batch)
					if err != nil {
						b.Fatal(err)
					}
					reply.Release()
				}
				b.ReportMetric(b.Elapsed().Seconds()*1e3/float64(b.N*frames), "ms/picture")
			})
		}
	}
}
