// Command bench measures Sluice against the goals with real binaries, real codecs and in real time. `make bench` builds what it needs and runs it; see the README beside.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/sluice-dev/sluice/deploy/e2e/bench/internal/loss"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	missed, err := run(ctx, os.Args[1:])
	stop()
	if err == nil && missed > 0 {
		err = fmt.Errorf("goals missed: %d", missed)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// options are the command line.
type options struct {
	codecs, losses, trips string
	cell                  time.Duration
	together              int
}

func run(ctx context.Context, arguments []string) (missed int, err error) {
	var o options
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.StringVar(&o.codecs, "codecs", "vp8,h264,vp9,av1", "loss: `codecs`")
	flags.StringVar(&o.losses, "loss", "0,1,5,10,20", "loss: `percentages` of datagrams lost")
	flags.StringVar(&o.trips, "rtt", "20ms,100ms", "loss: round-trip `times`")
	flags.DurationVar(&o.cell, "cell", 12*time.Second, "loss: length of a cell's stream")
	flags.IntVar(&o.together, "together", 4, "loss: cells played at once")
	flags.Usage = func() {
		_, _ = fmt.Fprintln(flags.Output(), "usage: bench [FLAG…] loss|cpu…")
		flags.PrintDefaults()
	}
	if err := flags.Parse(arguments); err != nil {
		return 0, err
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
		default:
			err = fmt.Errorf("no part %q: there are loss and cpu", part)
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
		Progress: os.Stderr, Report: os.Stdout,
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
	return loss.Run(ctx, cfg)
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
