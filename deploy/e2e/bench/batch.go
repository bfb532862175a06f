package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"github.com/sluice-dev/sluice/deploy/e2e/bench/internal/contest"
)

// batchOptions are the command line of the parts batch and triton.
type batchOptions struct {
	grid     bool
	seeds    int
	dilation float64
	length   time.Duration
	part     string
	merge    string
	only     string
}

func (o *batchOptions) bind(flags *flag.FlagSet) {
	flags.BoolVar(&o.grid, "grid", false, "batch: all profiles, one and four instances, all shapes of arrivals, 5 seeds unless -seeds says otherwise")
	flags.IntVar(&o.seeds, "seeds", 0, "batch, triton: seeds; 0 means 3")
	flags.Float64Var(&o.dilation, "dilation", 4, "batch, triton: `factor` by which all times are stretched")
	flags.DurationVar(&o.length, "run", 20*time.Second, "batch, triton: length of a run, of which the first fifth does not count")
	flags.StringVar(&o.part, "part", "1/1", "batch, triton: run one `part of several`, such as 2/7, for machines that are quiet for a while only; triton has two")
	flags.StringVar(&o.only, "only", "", "batch: leave out runs whose \"setting, regime, policy, seed n\" does not match this `pattern`, a regular expression")
	flags.StringVar(&o.merge, "merge", "", "batch, triton: run nothing, report on the runs of the CSV files that match a `pattern`")
}

// warmUp is the part of a run that does not count.
const warmUp = 0.2

// contest gives what the parts batch and triton have in common.
func (o *batchOptions) contest(root string, quick bool) (cfg contest.Config, err error) {
	cfg = contest.Config{Root: root, Files: filepath.Join(root, ".build", "bench"), Extent: contest.Issue, Dilation: o.dilation, Length: o.length, Progress: os.Stderr}
	seeds := 3
	switch {
	case quick:
		cfg.Extent, cfg.Dilation, cfg.Length, seeds = contest.Smoke, 2, 10*time.Second, 1
	case o.grid:
		cfg.Extent, seeds = contest.Grid, 5
	}
	if o.seeds > 0 {
		seeds = o.seeds
	}
	for i := range seeds {
		cfg.Seeds = append(cfg.Seeds, uint64(i+1))
	}
	if n, err := fmt.Sscanf(o.part, "%d/%d", &cfg.Part, &cfg.Parts); n != 2 || err != nil {
		return cfg, fmt.Errorf("-part: %q is not like 2/7", o.part)
	}
	if cfg.Length < time.Second || cfg.Length > 10*time.Minute {
		return cfg, errors.New("-run: between 1s and 10m")
	}
	if cfg.Only, err = regexp.Compile(o.only); err != nil {
		return cfg, fmt.Errorf("-only: %w", err)
	}
	cfg.WarmUp = time.Duration(warmUp * float64(cfg.Length))
	return cfg, os.MkdirAll(cfg.Files, 0o750)
}

// runContest runs a part of the benchmark, or reports on runs that were.
func runContest(ctx context.Context, root, name string, o options, run func(context.Context, contest.Config) (int, error), merge func([]string, contest.Config) (int, error)) (missed int, err error) {
	cfg, err := o.batch.contest(root, o.quick)
	if err != nil {
		return 0, err
	}
	if cfg.Parts > 1 && o.batch.merge == "" {
		name = fmt.Sprintf("%s-%dof%d", name, cfg.Part, cfg.Parts)
	}
	return reported(cfg.Files, name+".txt", func(to io.Writer) (int, error) {
		cfg.Report = to
		if o.batch.merge == "" {
			return run(ctx, cfg)
		}
		matches, err := filepath.Glob(o.batch.merge)
		if err != nil || len(matches) == 0 {
			return 0, fmt.Errorf("-merge: no file matches %q", o.batch.merge)
		}
		return merge(matches, cfg)
	})
}

func runBatch(ctx context.Context, root string, o options) (missed int, err error) {
	return runContest(ctx, root, "batch", o, contest.Run, func(files []string, cfg contest.Config) (int, error) {
		return contest.Merge(files, cfg.Extent, cfg.Report)
	})
}

func runTriton(ctx context.Context, root string, o options) (missed int, err error) {
	return runContest(ctx, root, "triton", o, contest.RunTriton, func(files []string, cfg contest.Config) (int, error) {
		return contest.MergeTriton(files, cfg.Extent, cfg.Report)
	})
}
