// Command bench measures Sluice against the goals with real binaries, real codecs and in real time. `make bench` builds what it needs and runs it; see the README beside.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/sluice-dev/sluice/deploy/e2e/bench/internal/cpu"
	"github.com/sluice-dev/sluice/deploy/e2e/bench/internal/loss"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	missed, err := run(ctx, os.Args[1:])
	stop()
	switch {
	case err != nil:
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	case missed > 0:
		fmt.Fprintln(os.Stderr, "bench: goals are missed")
		os.Exit(missedStatus)
	}
}

// missedStatus is how the program ends when goals are missed, so that a part that runs as a process of its own can say so.
const missedStatus = 3

// options are the command line.
type options struct {
	codecs, losses, trips string
	systems               string
	cell, window          time.Duration
	together, rounds      int
	few, many, most       int
	overload              int
	inside, quick         bool
	batch                 batchOptions
}

func run(ctx context.Context, arguments []string) (missed int, err error) {
	var o options
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.StringVar(&o.codecs, "codecs", "vp8,h264,vp9,av1", "loss: `codecs`")
	flags.StringVar(&o.losses, "loss", "0,1,5,10,20", "loss: `percentages` of datagrams lost")
	flags.StringVar(&o.trips, "rtt", "20ms,100ms", "loss: round-trip `times`")
	flags.DurationVar(&o.cell, "cell", 12*time.Second, "loss: length of a cell's stream")
	flags.IntVar(&o.together, "together", 4, "loss: cells played at once")
	flags.StringVar(&o.systems, "systems", "limit,edge,aiortc,GStreamer", "cpu: `systems`")
	flags.IntVar(&o.rounds, "rounds", 3, "cpu: rounds")
	flags.DurationVar(&o.window, "window", 6*time.Second, "cpu: length of a measurement")
	flags.IntVar(&o.few, "few", 4, "cpu: streams that every system can take")
	flags.IntVar(&o.many, "many", 16, "cpu: streams that a machine is to take")
	flags.IntVar(&o.most, "most", 96, "cpu: bound of the search for the largest number of streams; 0 leaves it out")
	flags.IntVar(&o.overload, "overload", 0, "cpu: only the overload, with so many `streams`")
	flags.BoolVar(&o.quick, "quick", false, "a part of the cells, one short round, no search: to see that all works")
	o.batch.bind(flags)
	flags.BoolVar(&o.inside, "inside", false, "the program is in its network namespace; it sets this itself")
	flags.Usage = func() {
		_, _ = fmt.Fprintln(flags.Output(), "usage: bench [FLAG…] loss|cpu|batch|triton|transport…")
		flags.PrintDefaults()
	}
	if err := flags.Parse(arguments); err != nil {
		return 0, err
	}
	if o.quick {
		o.losses, o.trips, o.cell, o.rounds, o.window, o.most = "0,10", "100ms", 4*time.Second, 1, 2*time.Second, 0
	}
	root, err := findRoot()
	if err != nil {
		return 0, err
	}
	for _, part := range flags.Args() {
		var n int
		switch part {
		case "loss":
			n, err = runLoss(ctx, root, o)
		case "cpu":
			n, err = runCPU(ctx, root, o, arguments[:len(arguments)-flags.NArg()])
		case "transport":
			n, err = runTransport(ctx, root, o)
		case "batch":
			n, err = runBatch(ctx, root, o)
		case "triton":
			n, err = runTriton(ctx, root, o)
		default:
			err = fmt.Errorf("no part %q: there are loss, cpu, batch, triton and transport", part)
		}
		missed += n
		if err != nil {
			return missed, err
		}
	}
	return missed, nil
}

func runLoss(ctx context.Context, root string, o options) (missed int, err error) {
	cfg := loss.Config{
		Root: root, Native: filepath.Join(root, ".build", "bench"), Codecs: strings.Split(o.codecs, ","), Length: o.cell, Together: o.together,
		Progress: os.Stderr,
	}
	for text := range strings.SplitSeq(o.losses, ",") {
		percent, err := strconv.ParseFloat(text, 64)
		if err != nil || percent < 0 || percent >= 100 {
			return 0, fmt.Errorf("-loss: %q is no percentage", text)
		}
		cfg.Losses = append(cfg.Losses, percent/100)
	}
	for text := range strings.SplitSeq(o.trips, ",") {
		trip, err := time.ParseDuration(text)
		if err != nil || trip < 0 {
			return 0, fmt.Errorf("-rtt: %q is no duration such as 20ms", text)
		}
		cfg.Trips = append(cfg.Trips, trip)
	}
	if most := 15 * time.Second; cfg.Length > most || cfg.Length < time.Second {
		return 0, fmt.Errorf("-cell: %s is not between 1s and %s", cfg.Length, most)
	}
	slices.Sort(cfg.Losses)
	return reported(cfg.Native, "loss.txt", func(to io.Writer) (int, error) {
		cfg.Report = to
		return loss.Run(ctx, cfg)
	})
}

// reported runs a part whose tables go to standard output and to a file of a folder.
func reported(dir, name string, part func(to io.Writer) (missed int, err error)) (missed int, err error) {
	f, err := os.Create(filepath.Join(dir, name))
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return part(io.MultiWriter(os.Stdout, f))
}

func runCPU(ctx context.Context, root string, o options, flags []string) (missed int, err error) {
	if !o.inside {
		err := cpu.Inside(ctx, append(slices.Clone(flags), "-inside", "cpu")...)
		var exit *exec.ExitError
		if errors.As(err, &exit) && exit.ExitCode() == missedStatus {
			return 1, nil
		}
		return 0, err
	}
	if o.rounds < 1 || o.few < 1 || o.many < 1 || o.window < time.Second {
		return 0, errors.New("-rounds, -few and -many are at least 1, -window at least 1s")
	}
	cfg := cpu.Config{
		Root: root, Native: filepath.Join(root, ".build", "bench"), Codecs: []string{"vp8", "h264"}, Systems: strings.Split(o.systems, ","),
		Few: o.few, Many: o.many, Rounds: o.rounds, Window: o.window, Most: o.most, Overload: o.overload, Progress: os.Stderr,
	}
	return reported(cfg.Native, "cpu.txt", func(to io.Writer) (int, error) {
		cfg.Report = to
		return cpu.Run(ctx, cfg)
	})
}

// findRoot gives the repository's root.
func findRoot() (string, error) {
	dir, err := os.Getwd()
	for ; err == nil && dir != "/"; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.work")); err == nil {
			return dir, nil
		}
	}
	return "", errors.Join(errors.New("run it inside of the repository"), err)
}
