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

// batchOptions are the command line of the part batch.
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
	flags.IntVar(&o.seeds, "seeds", 0, "batch: seeds; 0 means 3")
	flags.Float64Var(&o.dilation, "dilation", 4, "batch: `factor` by which all times are stretched")
	flags.DurationVar(&o.length, "run", 20*time.Second, "batch: length of a run, of which the first fifth does not count")
	flags.StringVar(&o.part, "part", "1/1", "batch: run one `part of several`, such as 2/7, for machines that are quiet for a while only")
	flags.StringVar(&o.only, "only", "", "batch: leave out runs whose \"setting, regime, policy, seed n\" does not match this `pattern`, a regular expression")
	flags.StringVar(&o.merge, "merge", "", "batch: run nothing, report on the runs of the CSV files that match a `pattern`")
}

// warmUp is the part of a run that does not count.
const warmUp = 0.2

func runBatch(ctx context.Context, root string, o options) (missed int, err error) {
	files := filepath.Join(root, ".build", "bench")
	if err := os.MkdirAll(files, 0o750); err != nil {
		return 0, err
	}
	cfg := contest.Config{Root: root, Files: files, Extent: contest.Issue, Dilation: o.batch.dilation, Length: o.batch.length, Progress: os.Stderr}
	seeds := 3
	switch {
	case o.quick:
		cfg.Extent, cfg.Dilation, cfg.Length, seeds = contest.Smoke, 2, 10*time.Second, 1
	case o.batch.grid:
		cfg.Extent, seeds = contest.Grid, 5
	}
	if o.batch.seeds > 0 {
		seeds = o.batch.seeds
	}
	for i := range seeds {
		cfg.Seeds = append(cfg.Seeds, uint64(i+1))
	}
	if n, err := fmt.Sscanf(o.batch.part, "%d/%d", &cfg.Part, &cfg.Parts); n != 2 || err != nil {
		return 0, fmt.Errorf("-part: %q is not like 2/7", o.batch.part)
	}
	if cfg.Length < time.Second || cfg.Length > 10*time.Minute {
		return 0, errors.New("-run: between 1s and 10m")
	}
	if cfg.Only, err = regexp.Compile(o.batch.only); err != nil {
		return 0, fmt.Errorf("-only: %w", err)
	}
	cfg.WarmUp = time.Duration(warmUp * float64(cfg.Length))
	name := "batch.txt"
	if cfg.Parts > 1 && o.batch.merge == "" {
		name = fmt.Sprintf("batch-%dof%d.txt", cfg.Part, cfg.Parts)
	}
	return reported(files, name, func(to io.Writer) (int, error) {
		if o.batch.merge != "" {
			matches, err := filepath.Glob(o.batch.merge)
			if err != nil || len(matches) == 0 {
				return 0, fmt.Errorf("-merge: no file matches %q", o.batch.merge)
			}
			return contest.Merge(matches, cfg.Extent, to)
		}
		cfg.Report = to
		return contest.Run(ctx, cfg)
	})
}
