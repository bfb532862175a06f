// Package transport compares what a frame costs on its way from the edge's uplink through the router to the model server, with payloads that are copied by the plain codec for
// protobuf and by gRPC as it comes, and with the codecs and connections in use. It runs the two benchmarks BenchmarkTransport, of the edge and of the router, which measure their own process and have their peers in
// others.
package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
)

// goal is the largest share of the plain codec's processor time.
const goal = 0.65

// Config says what to run.
type Config struct {
	// Root is the repository's root; Files is where what is built goes.
	Root, Files string
	// Rounds is how often each measurement is taken, in turns with all others; Frames is of how many frames.
	Rounds, Frames int
	// Report takes the table, Progress a line for each measurement.
	Report, Progress io.Writer
}

// stage is a process to measure.
type stage struct{ name, pkg string }

var errNothing = errors.New("the benchmark printed nothing")

// Run measures and reports, and tells how many goals were missed.
func Run(ctx context.Context, cfg Config) (missed int, err error) {
	stages := []stage{{"edge", "./services/edge/internal/uplink"}, {"router", "./services/router/internal/bench"}}
	taken := figures{}
	for _, s := range stages {
		build := exec.CommandContext(ctx, "go", "test", "-c", "-o", cfg.binary(s), s.pkg)
		build.Dir = cfg.Root
		if out, err := build.CombinedOutput(); err != nil {
			return 0, fmt.Errorf("build %s: %w\n%s", s.pkg, err, out)
		}
	}
	for round := range cfg.Rounds {
		for _, s := range stages {
			run := exec.CommandContext(ctx, cfg.binary(s), "-test.run", "^$", "-test.bench", "^BenchmarkTransport$", "-test.benchtime", strconv.Itoa(cfg.Frames)+"x")
			run.Dir = filepath.Join(cfg.Root, s.pkg)
			run.Stderr = os.Stderr
			out, err := run.Output()
			if err != nil {
				return 0, fmt.Errorf("run %s: %w\n%s", s.pkg, err, out)
			}
			if err := taken.add(s.name, string(out)); err != nil {
				return 0, fmt.Errorf("run %s: %w\n%s", s.pkg, err, out)
			}
		}
		_, _ = fmt.Fprintf(cfg.Progress, "transport: round %d of %d\n", round+1, cfg.Rounds)
	}
	return report(cfg.Report, taken), nil
}

func (c Config) binary(s stage) string { return filepath.Join(c.Files, "transport-"+s.name+".test") }

// figures are the measurements by benchmark and unit: "edge/copied", "router/UINT8/shared".
type figures map[string]map[string][]float64

var line = regexp.MustCompile(`(?m)^BenchmarkTransport/(\S+?)(?:-\d+)?\s+\d+\s+(.*)$`)

// add takes what a benchmark printed.
func (f figures) add(stage, out string) error {
	found := line.FindAllStringSubmatch(out, -1)
	if found == nil {
		return errNothing
	}
	for _, m := range found {
		name, fields := stage+"/"+m[1], strings.Fields(m[2])
		if f[name] == nil {
			f[name] = map[string][]float64{}
		}
		for i := 0; i+1 < len(fields); i += 2 {
			v, err := strconv.ParseFloat(fields[i], 64)
			if err != nil {
				return fmt.Errorf("%s: %q is no number", name, fields[i])
			}
			f[name][fields[i+1]] = append(f[name][fields[i+1]], v)
		}
	}
	return nil
}

func (f figures) median(name, unit string) float64 {
	values := slices.Sorted(slices.Values(f[name][unit]))
	if len(values) == 0 {
		return 0
	}
	return (values[(len(values)-1)/2] + values[len(values)/2]) / 2
}

// report prints the medians, and of those of edge and router together the share that is left.
func report(to io.Writer, f figures) (missed int) {
	const cpu = "cpu-ms/1000-frames"
	t := table.NewWriter()
	t.SetOutputMirror(to)
	t.SetTitle("Frames of 640×360 RGB: processor time, ms for 1,000 frames; memory taken for each frame")
	t.AppendHeader(table.Row{"", "copied", "shared", "share", "copied, bytes", "shared, bytes", "copied, allocations", "shared, allocations"})
	row := func(label string, copied, shared float64, memory ...any) {
		t.AppendRow(append(table.Row{label, fmt.Sprintf("%.0f", copied), fmt.Sprintf("%.0f", shared), fmt.Sprintf("%.2f", shared/copied)}, memory...))
	}
	measured := func(label, name string) (copied, shared float64) {
		copied, shared = f.median(name+"copied", cpu), f.median(name+"shared", cpu)
		var memory []any
		for _, unit := range []string{"B/op", "allocs/op"} {
			memory = append(memory, fmt.Sprintf("%.0f", f.median(name+"copied", unit)), fmt.Sprintf("%.0f", f.median(name+"shared", unit)))
		}
		row(label, copied, shared, memory...)
		return copied, shared
	}
	inputs := []string{"NHWC-UINT8", "NCHW-UINT8", "NCHW-FP32"}
	copiedEdge, sharedEdge := measured("edge", "edge/")
	for _, input := range inputs {
		copied, shared := measured("router, "+input, "router/"+input+"/")
		row("edge and router, "+input, copied+copiedEdge, shared+sharedEdge)
		if shared+sharedEdge > goal*(copied+copiedEdge) {
			missed++
		}
	}
	t.Render()
	_, _ = fmt.Fprintf(to, "Goal: a share of at most %.2f for edge and router. Missed by %d of %d.\n", goal, missed, len(inputs))
	return missed
}
