//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"math"
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/sluice-dev/sluice/deploy/e2e/stack"
	sluicev1 "github.com/sluice-dev/sluice/proto/gen/sluice/v1"
)

// TestExampleServer runs the example server's own tests.
func TestExampleServer(t *testing.T) {
	beside(t, 0.5)
	examples := filepath.Join(stack.Root(t), "deploy", "examples", "websocket")
	stack.Command(t, "", 10*time.Minute, filepath.Join(stack.Root(t), "deploy", "e2e", "venv.sh"), "websocket")
	stack.Command(t, "", 2*time.Minute, filepath.Join(stack.Root(t), "deploy", "e2e", "websocket", "test.sh"), examples)
}

// TestSmallestServer runs the smallest of the examples, which says nothing of what it takes and gives, behind the router: JSON of the model's own comes back for each frame.
func TestSmallestServer(t *testing.T) {
	beside(t, 0.5)
	port := stack.FreePort(t)
	stack.Command(t, "", 10*time.Minute, filepath.Join(stack.Root(t), "deploy", "e2e", "venv.sh"), "websocket")
	server := stack.Run(t, "", filepath.Join(stack.Root(t), "deploy", "e2e", "websocket", "start.sh"), "smallest.py", fmt.Sprint(port))
	server.Name, server.Foreign = "smallest.py", true
	b := &serverBed{router: local(t)}
	stack.Run(t, "", stack.Binary(t, "sluice-router"), "--listen", b.router, "--admin.listen", local(t), "--config", written(t, fmt.Sprintf(`
models:
  - name: brightness
    backend: {websocket: {url: "ws://127.0.0.1:%d"}}
    input: {kind: tensor, dtype: UINT8, shape: [2, 4, 3]}
    output: {decoder: json}
    batch: {max: 4}
    deadline: %s
`, port, within)))
	conn, err := grpc.NewClient(b.router, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	b.inspect = sluicev1.NewInspectServiceClient(conn)
	stack.Eventually(t, time.Minute, "brightness is ready", func() error {
		list, err := b.inspect.ListModels(t.Context(), &sluicev1.ListModelsRequest{})
		if err == nil && !list.GetModels()[0].GetReady() {
			err = fmt.Errorf("it is not; the server says: %s", server.Log())
		}
		return err
	})
	s := b.open(t)
	const frames, size = 4, 4 * 2 * 3
	for i := range frames {
		picture := make([]byte, size)
		for at := range picture {
			picture[at] = byte(60 * i)
		}
		send(t, s, fmt.Sprint("camera", i), 1, "brightness", picture)
	}
	for i, f := range wait(t, s) {
		texts := f.Outcome.GetResult().GetJson()
		var answer struct{ Brightness float64 }
		if len(texts) != 1 || json.Unmarshal([]byte(texts[0]), &answer) != nil || math.Abs(answer.Brightness-60*float64(i)/255) > 1e-6 {
			t.Errorf("frame %d: %v", i, f.Outcome)
		}
	}
}
