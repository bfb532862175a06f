// Package triton runs a real Triton Inference Server with models that sleep instead of computing, one for each way of batching.
package triton

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/sluice-dev/sluice/deploy/e2e/bench/internal/proc"
)

// The names of the models' tensors: UINT8 [batch, bytes] and UINT8 [batch, 8], each answer its frame's first bytes.
const (
	Input  = "INPUT"
	Output = "OUTPUT"
)

// installLimit bounds the first start on a machine, which downloads the server.
const installLimit = 10 * time.Minute

// Batching is how Triton batches the requests for a model, in the words of its model configuration (docs/user_guide/batcher.md and model_configuration.md).
type Batching struct {
	// Dynamic is false for no batcher at all: each request runs as it came.
	Dynamic bool
	// Max is max_batch_size.
	Max int
	// Delay is max_queue_delay_microseconds: how long a request may wait for others. The default, 0, is not at all.
	Delay time.Duration
	// Timeout is default_timeout_microseconds with the timeout_action REJECT. The default, 0, is none.
	Timeout time.Duration
}

// String says how it differs from the defaults.
func (b Batching) String() string {
	if !b.Dynamic {
		return "no batcher"
	}
	text := "dynamic_batching {}"
	if b.Delay > 0 || b.Timeout > 0 {
		text = fmt.Sprintf("delay %s, timeout %s", b.Delay, b.Timeout)
	}
	return fmt.Sprintf("%s, at most %d", text, b.Max)
}

// config writes the model configuration.
func (b Batching) config(width int) string {
	batcher := ""
	if b.Dynamic {
		policy := ""
		if b.Timeout > 0 {
			policy = fmt.Sprintf(" default_queue_policy { timeout_action: REJECT default_timeout_microseconds: %d }", b.Timeout.Microseconds())
		}
		batcher = fmt.Sprintf("dynamic_batching { max_queue_delay_microseconds: %d%s }", b.Delay.Microseconds(), policy)
		if b.Delay == 0 && b.Timeout == 0 {
			batcher = "dynamic_batching { }"
		}
	}
	return fmt.Sprintf(`backend: "python"
max_batch_size: %d
input [{ name: %q, data_type: TYPE_UINT8, dims: [%d] }]
output [{ name: %q, data_type: TYPE_UINT8, dims: [8] }]
instance_group [{ kind: KIND_CPU, count: 1 }]
%s
`, b.Max, Input, width, Output, batcher)
}

// Config says what a server has.
type Config struct {
	// Root is that of Sluice's repository.
	Root string
	// Alpha and Beta are what a batch of b frames takes: Alpha + Beta·b.
	Alpha, Beta time.Duration
	// Width is the bytes of a frame, at least 8.
	Width  int
	Models []Model
}

// Model is a model of one instance.
type Model struct {
	Name string
	Batching
}

// Server is a running Triton.
type Server struct {
	*proc.Process
	// Address is for gRPC.
	Address string

	repository string
}

// Start installs Triton if need be, writes a model repository and serves it. It must be stopped.
func Start(ctx context.Context, c Config) (_ *Server, err error) {
	s := &Server{}
	if s.repository, err = os.MkdirTemp("", "sluice-triton-"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Stop())
		}
	}()
	folder := filepath.Join(c.Root, "deploy", "e2e", "triton")
	for _, m := range c.Models {
		if err := add(filepath.Join(s.repository, m.Name), filepath.Join(folder, "sleep_model.py"), m.config(c.Width)); err != nil {
			return nil, fmt.Errorf("model %s: %w", m.Name, err)
		}
	}
	ports, err := proc.FreePorts(net.IPv4(127, 0, 0, 1), 2)
	if err != nil {
		return nil, err
	}
	s.Address = fmt.Sprintf("127.0.0.1:%d", ports[0])
	if s.Process, err = proc.Start(proc.Options{
		Path: filepath.Join(folder, "start.sh"), Arguments: []string{s.repository, strconv.Itoa(int(ports[0])), strconv.Itoa(int(ports[1]))},
		Environment: []string{"ECHO_ALPHA=" + seconds(c.Alpha), "ECHO_BETA=" + seconds(c.Beta)},
	}); err != nil {
		return nil, err
	}
	ready := fmt.Sprintf("http://127.0.0.1:%d/v2/health/ready", ports[1])
	return s, s.Await(ctx, installLimit, func(ctx context.Context) error { return proc.Get(ctx, ready, nil) })
}

// add adds a model to a repository.
func add(model, program, config string) error {
	if err := os.MkdirAll(filepath.Join(model, "1"), 0o700); err != nil {
		return err
	}
	if err := os.Symlink(program, filepath.Join(model, "1", "model.py")); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(model, "config.pbtxt"), []byte(strings.TrimRight(config, "\n")+"\n"), 0o600)
}

func seconds(d time.Duration) string { return strconv.FormatFloat(d.Seconds(), 'f', -1, 64) }

// Stop ends the server and removes its models.
func (s *Server) Stop() error {
	var err error
	if s.Process != nil {
		err = s.Process.Stop()
	}
	return errors.Join(err, os.RemoveAll(s.repository))
}
