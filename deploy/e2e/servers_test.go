//go:build e2e

package e2e

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/sluice-dev/sluice/deploy/e2e/stack"
	"github.com/sluice-dev/sluice/deploy/e2e/uplink"
	sluicev1 "github.com/sluice-dev/sluice/proto/gen/sluice/v1"
)

// modelServer is a kind of model server. All of them serve models/echo.py, as the model echo, and nothing else.
type modelServer struct {
	name string
	// install fetches what it needs, once for each machine.
	install func(t *testing.T)
	// start starts one that listens on a port.
	start func(t *testing.T, port int) *stack.Process
	// backend gives a router's configuration of a model that servers on these ports have.
	backend func(model string, ports ...int) string
}

// modelServers are the servers that every case below runs against.
func modelServers() []modelServer {
	return []modelServer{
		pythonServer("Triton", "triton", tritonRepository),
		pythonServer("MLServer", "mlserver", func(*testing.T) string { return "echo" }),
		pythonServer("KServe", "kserve", nil),
		exampleServer(),
	}
}

// exampleServer is the server of deploy/examples/websocket.
func exampleServer() modelServer {
	server := pythonServer("WebSocket", "websocket", nil)
	server.backend = func(model string, ports ...int) string {
		addresses := make([]string, len(ports))
		for i, port := range ports {
			addresses[i] = fmt.Sprintf("%q", fmt.Sprintf("ws://127.0.0.1:%d/infer", port))
		}
		return fmt.Sprintf("{websocket: {urls: [%s], model: %s}}", strings.Join(addresses, ", "), model)
	}
	server.start = func(t *testing.T, port int) *stack.Process {
		t.Helper()
		return serve(t, server.name, filepath.Join(stack.Root(t), "deploy", "e2e", "websocket", "start.sh"), "serve_echo.py", fmt.Sprint(port))
	}
	return server
}

// tritonRepository makes a model repository for Triton. Its folders are not the sources', for Triton's Python writes there.
func tritonRepository(t *testing.T) string {
	t.Helper()
	sources, repository := filepath.Join(stack.Root(t), "deploy", "e2e", "triton"), t.TempDir()
	if err := os.MkdirAll(filepath.Join(repository, "echo", "1"), 0o700); err != nil {
		t.Fatal(err)
	}
	for source, name := range map[string]string{"echo.pbtxt": "config.pbtxt", "echo_model.py": "1/model.py"} {
		if err := os.Symlink(filepath.Join(sources, source), filepath.Join(repository, "echo", name)); err != nil {
			t.Fatal(err)
		}
	}
	return repository
}

// pythonServer is a server of the Open Inference Protocol from PyPI, which a folder's requirements.txt installs and its start.sh starts, with an argument of its own
// if model gives one, a gRPC and an HTTP port.
func pythonServer(name, folder string, model func(*testing.T) string) modelServer {
	path := func(t *testing.T, elements ...string) string {
		t.Helper()
		return filepath.Join(append([]string{stack.Root(t), "deploy", "e2e"}, elements...)...)
	}
	return modelServer{
		name: name,
		install: func(t *testing.T) {
			t.Helper()
			stack.Command(t, "", 10*time.Minute, path(t, "venv.sh"), folder)
		},
		start: func(t *testing.T, port int) *stack.Process {
			t.Helper()
			var arguments []string
			if model != nil {
				arguments = append(arguments, model(t))
			}
			arguments = append(arguments, fmt.Sprint(port), fmt.Sprint(stack.FreePort(t)))
			return serve(t, name, path(t, folder, "start.sh"), arguments...)
		},
		backend: func(model string, ports ...int) string {
			targets := make([]string, len(ports))
			for i, port := range ports {
				targets[i] = fmt.Sprintf("%q", fmt.Sprintf("dns:///127.0.0.1:%d", port))
			}
			return fmt.Sprintf("{oip: {targets: [%s], model: %s}}", strings.Join(targets, ", "), model)
		},
	}
}

// serve starts a model server whose batches of b frames take 10 + b ms.
func serve(t *testing.T, name, script string, arguments ...string) *stack.Process {
	t.Helper()
	server := stack.Run(t, "", "env", append([]string{"ECHO_ALPHA=0.01", "ECHO_BETA=0.001", script}, arguments...)...)
	server.Name, server.Foreign = name, true
	return server
}

const (
	echoWidth = 16
	maxBatch  = 8
	inFlight  = 2
	// within is the models' deadline: long enough for a frame that one server has lost to be run by the other on a busy machine.
	within = 5 * time.Second
)

// serverBed is two servers of a kind with a router in front.
type serverBed struct {
	kind    modelServer
	ports   [2]int
	servers [2]*stack.Process
	router  string
	inspect sluicev1.InspectServiceClient
}

// startServers starts a bed. The router comes first, so that it has to wait for the servers: it says that it is not ready, and is once they are.
func startServers(t *testing.T, kind modelServer) *serverBed {
	t.Helper()
	kind.install(t)
	b := &serverBed{kind: kind, ports: [2]int{stack.FreePort(t), stack.FreePort(t)}, router: fmt.Sprintf("127.0.0.1:%d", stack.FreePort(t))}
	config := fmt.Sprintf("models:\n%s%s", modelYAML("echo", kind.backend("echo", b.ports[:]...), echoWidth), modelYAML("absent", kind.backend("absent", b.ports[0]), echoWidth))
	router := stack.Run(t, "", stack.Binary(t, "sluice-router"), "--config", written(t, config), "--listen", b.router, "--admin.listen", local(t))
	conn, err := grpc.NewClient(b.router, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	b.inspect = sluicev1.NewInspectServiceClient(conn)
	stack.Eventually(t, 30*time.Second, "the router answers", func() error {
		if router.Ended() {
			t.Fatalf("the router ended:\n%s", router.Log())
		}
		_, err := b.inspect.ListModels(t.Context(), &sluicev1.ListModelsRequest{})
		return err
	})
	if b.model(t, "echo").GetReady() {
		t.Error("echo is ready before any server is")
	}
	begin := time.Now()
	for i, port := range b.ports {
		b.servers[i] = kind.start(t, port)
	}
	stack.Eventually(t, 90*time.Second, "echo is ready", func() error {
		for _, server := range b.servers {
			if server.Ended() {
				t.Fatalf("%s ended:\n%s", kind.name, server.Log())
			}
		}
		if !b.model(t, "echo").GetReady() {
			return fmt.Errorf("the router says: %s", router.Log())
		}
		return nil
	})
	t.Logf("ready %.1f s after the first server was started", time.Since(begin).Seconds())
	return b
}

// modelYAML writes a model's configuration for servers of the echo model, whose frames are vectors of this width.
func modelYAML(name, backend string, width int) string {
	return fmt.Sprintf(`
  - name: %s
    backend: %s
    input: {kind: tensor, name: frames, dtype: FP32, shape: [%d]}
    output: {decoder: tensors}
    batch: {max: %d, in_flight: %d}
    deadline: %s
`, name, backend, width, maxBatch, inFlight, within)
}

func written(t *testing.T, config string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "router.yaml")
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func local(t *testing.T) string {
	t.Helper()
	return fmt.Sprintf("127.0.0.1:%d", stack.FreePort(t))
}

// model gives what the router says of a model.
func (b *serverBed) model(t *testing.T, name string) *sluicev1.Model {
	t.Helper()
	list, err := b.inspect.ListModels(t.Context(), &sluicev1.ListModelsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range list.GetModels() {
		if m.GetName() == name {
			return m
		}
	}
	t.Fatalf("the router has no model %s: %v", name, list)
	return nil
}

// open opens a session that ends with the test.
func (b *serverBed) open(t *testing.T) *uplink.Session {
	t.Helper()
	s, err := uplink.Open(context.WithoutCancel(t.Context()), b.router, "servers") // its end is sent when the test's context has ended
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("the session ended with %v", err)
		}
	})
	return s
}

func send(t *testing.T, s *uplink.Session, stream string, sequence uint32, model string, frame []byte) {
	t.Helper()
	sent, err := s.Send(stream, sequence, model, within, frame)
	if err != nil || !sent {
		t.Fatalf("frame %d of %s cannot be sent: there is room for it: %t, error: %v", sequence, stream, sent, err)
	}
}

// wait waits for the outcomes of all frames so far, which the router owes by their deadlines.
func wait(t *testing.T, s *uplink.Session) []uplink.Fate {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within+10*time.Second)
	defer cancel()
	fates, err := s.Wait(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return fates
}

// vector makes a frame that no other stream or sequence has.
func vector(stream, sequence int) []byte {
	frame := make([]byte, 0, 4*echoWidth)
	for i := range echoWidth {
		frame = binary.LittleEndian.AppendUint32(frame, math.Float32bits(float32(math.Sin(float64(1+stream*1009+sequence*31+i)))))
	}
	return frame
}

// echoed is the model's answer to one frame; see models/echo.py.
type echoed struct {
	echo, score    []float64
	batch, process int
}

// readEcho reads a result, and fails the test if it is not one of the echo model for that frame.
func readEcho(t *testing.T, o *sluicev1.Outcome, frame []byte) echoed {
	t.Helper()
	tensors := o.GetResult().GetTensors()
	want := []struct {
		name, datatype string
		values         int
	}{{"echo", "FP32", echoWidth}, {"score", "FP32", 4}, {"batch", "INT32", 1}, {"process", "INT32", 1}}
	if len(tensors) != len(want) {
		t.Fatalf("%v, want a result of %d tensors", o, len(want))
	}
	for i, w := range want {
		if g := tensors[i]; g.GetName() != w.name || g.GetDatatype() != w.datatype || len(g.GetValues()) != w.values {
			t.Fatalf("tensor %d is %v, want %s %s of %d values", i, g, w.name, w.datatype, w.values)
		}
	}
	a := echoed{
		echo: tensors[0].GetValues(), score: tensors[1].GetValues(),
		batch: int(tensors[2].GetValues()[0]), process: int(tensors[3].GetValues()[0]),
	}
	for i, got := range a.echo {
		if sent := float64(math.Float32frombits(binary.LittleEndian.Uint32(frame[4*i:]))); got != sent {
			t.Fatalf("frame %d of %s: element %d came back as %g, and %g was sent: another frame's answer?", o.GetSequence(), o.GetStream(), i, got, sent)
		}
	}
	return a
}
