//go:build e2e

package e2e

import (
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sluice-dev/sluice/deploy/e2e/stack"
)

// twoModels has the embedded detector twice: in the router's own process, and behind MLServer. Both take the same input, so every frame goes to both.
const twoModels = `
onnx: {library: "@CACHE@/onnxruntime/libonnxruntime.so"}
models:
  - name: faces
    backend: {onnx: {path: "@CACHE@/models/faces.onnx", threads: 1}}
    input: &input {width: 384, height: 224, fit: letterbox, color: RGB, layout: NCHW, dtype: FP32, mean: [0, 0, 0], scale: [1, 1, 1]}
    output: &output {decoder: centerface, threshold: 0.5}
    batch: {max: 1}
    rate: 5
    deadline: 2s
  - name: served
    backend: {oip: {targets: ["dns:///127.0.0.1:@PORT@"], model: faces}}
    input: *input
    output: *output
    batch: {max: 1}
    rate: 5
    deadline: 2s
`

// Show 7: the same model behind MLServer gives the same boxes.
func TestMLServerGivesTheSameBoxes(t *testing.T) {
	beside(t, 0.4)
	folder := filepath.Join(stack.Root(t), "deploy", "e2e", "mlserver")
	stack.Command(t, "", 10*time.Minute, filepath.Join(folder, "..", "venv.sh"), "mlserver")
	grpc, rest := stack.FreePort(t), stack.FreePort(t)
	server := stack.Run(t, "", filepath.Join(folder, "start.sh"), "faces", fmt.Sprint(grpc), fmt.Sprint(rest))
	server.Foreign = true
	stack.Eventually(t, 90*time.Second, "MLServer is ready", func() error {
		if server.Ended() {
			t.Fatalf("MLServer ended:\n%s", server.Log())
		}
		response, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/v2/models/faces/ready", rest))
		if err != nil {
			return err
		}
		_ = response.Body.Close()
		if response.StatusCode != http.StatusOK {
			return fmt.Errorf("%s", response.Status)
		}
		return nil
	})

	s := stack.Start(t, stack.Options{Router: strings.ReplaceAll(twoModels, "@PORT@", fmt.Sprint(grpc))})
	p, lines := publish(t, "", s.HTTP, 10*time.Second, stack.Clip(t, "faces-720p30.ivf"))
	checkAccount(t, p)
	type box struct{ X, Y, Width, Height float64 }
	boxes := map[string]map[int]box{"faces": {}, "served": {}}
	for _, l := range lines {
		if r := l.Outcome.Result; r != nil && len(r.Detections) > 0 {
			boxes[l.Outcome.Model][l.Outcome.Sequence] = box(r.Detections[0].Box)
		}
	}
	both, worst := 0, 1.0
	for sequence, a := range boxes["faces"] {
		b, ok := boxes["served"][sequence]
		if !ok {
			continue
		}
		both++
		w := min(a.X+a.Width, b.X+b.Width) - max(a.X, b.X)
		h := min(a.Y+a.Height, b.Y+b.Height) - max(a.Y, b.Y)
		overlap := max(0, w) * max(0, h)
		worst = min(worst, overlap/(a.Width*a.Height+b.Width*b.Height-overlap))
	}
	t.Logf("boxes by both: %d, worst IoU %.6f", both, worst)
	if both < 30 || worst < 0.98 {
		t.Errorf("%d frames with boxes of both, worst IoU %.4f; want 30 and 0.98", both, worst)
	}
}
