package contest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/common/expfmt"
	prometheus "github.com/prometheus/common/model"

	"github.com/sluice-dev/sluice/deploy/e2e/bench/internal/proc"
	"github.com/sluice-dev/sluice/deploy/e2e/bench/internal/stub"
)

// readyLimit bounds how long a program may take to be ready. The router warms the model up first.
const readyLimit = 60 * time.Second

// modelServer is a running oipstub.
type modelServer struct {
	*proc.Process
	// address is for gRPC, control for its remote control.
	address, control string
}

// startServer runs an oipstub. It must be stopped.
func startServer(ctx context.Context, root string, flags ...string) (*modelServer, error) {
	var said firstLine
	p, err := proc.Start(proc.Options{Path: filepath.Join(root, ".build", "oipstub"), Arguments: flags, Stdout: &said})
	if err != nil {
		return nil, err
	}
	s := &modelServer{Process: p}
	if err := p.Await(ctx, readyLimit, func(context.Context) error {
		var at struct{ GRPC, Control string }
		if err := json.Unmarshal(said.text(), &at); err != nil {
			return err
		}
		s.address, s.control = at.GRPC, at.Control
		return nil
	}); err != nil {
		return nil, errors.Join(err, p.Stop())
	}
	return s, nil
}

// journal asks what the server has done.
func (s *modelServer) journal(ctx context.Context) (j stub.Journal, err error) {
	var body bytes.Buffer
	if err := proc.Get(ctx, s.control+"/journal", &body); err != nil {
		return j, err
	}
	return j, json.Unmarshal(body.Bytes(), &j)
}

// forget lets the server forget what it has done.
func (s *modelServer) forget(ctx context.Context) error { return proc.Post(ctx, s.control+"/forget") }

// firstLine keeps what a program says, which is little. It is safe for concurrent use.
type firstLine struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *firstLine) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *firstLine) text() []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	line, _, whole := bytes.Cut(l.b.Bytes(), []byte("\n"))
	if !whole {
		return nil
	}
	return bytes.Clone(line)
}

// router is a running sluice-router.
type router struct {
	*proc.Process
	address, admin string
	dir            string
}

// routerConfig is all that a user would write for such a model.
const routerConfig = `
models:
  - name: stub
    backend: {oip: {targets: [%q], instances: %d}}
    input: {kind: tensor, dtype: UINT8, shape: [%d]}
    output: {decoder: tensors}
    batch: {max: %d}
    deadline: %dms
`

// startRouter runs the router in front of a model server. It must be stopped.
func startRouter(ctx context.Context, root string, p Profile, instances int, server string) (_ *router, err error) {
	dir, err := os.MkdirTemp("", "sluice-bench-")
	if err != nil {
		return nil, err
	}
	r := &router{dir: dir}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.stop())
		}
	}()
	ports, err := proc.FreePorts(net.IPv4(127, 0, 0, 1), 2)
	if err != nil {
		return nil, err
	}
	r.address, r.admin = fmt.Sprintf("127.0.0.1:%d", ports[0]), fmt.Sprintf("127.0.0.1:%d", ports[1])
	file := filepath.Join(dir, "router.yaml")
	text := fmt.Sprintf(routerConfig, server, instances, width, p.Max, p.SLO.Milliseconds())
	if err := os.WriteFile(file, []byte(strings.TrimPrefix(text, "\n")), 0o600); err != nil {
		return nil, err
	}
	if r.Process, err = proc.Start(proc.Options{
		Path: filepath.Join(root, "bin", "sluice-router"), Arguments: []string{"--config", file, "--listen", r.address, "--admin.listen", r.admin, "--drain", "1s", "--log.level", "warn"},
	}); err != nil {
		return nil, err
	}
	return r, r.Await(ctx, readyLimit, func(ctx context.Context) error { return proc.Get(ctx, "http://"+r.admin+"/readyz", nil) })
}

// capacity asks what the router thinks that the model can do, in frames a second.
func (r *router) capacity(ctx context.Context) (float64, error) {
	var body bytes.Buffer
	if err := proc.Get(ctx, "http://"+r.admin+"/metrics", &body); err != nil {
		return 0, err
	}
	parser := expfmt.NewTextParser(prometheus.UTF8Validation)
	families, err := parser.TextToMetricFamilies(&body)
	if err != nil {
		return 0, err
	}
	metrics := families["sluice_router_capacity_frames"].GetMetric()
	if len(metrics) != 1 {
		return 0, fmt.Errorf("the router has its capacity for %d models, want one", len(metrics))
	}
	return metrics[0].GetGauge().GetValue(), nil
}

func (r *router) stop() error {
	var err error
	if r.Process != nil {
		err = r.Stop()
	}
	return errors.Join(err, os.RemoveAll(r.dir))
}
