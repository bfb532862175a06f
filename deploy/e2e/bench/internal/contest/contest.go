// Package contest measures sluice-router's scheduler beside the rules of others, in real time, in front of a model server that sleeps: regimes × policies × seeds, held against the goals of the
// study.
package contest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/sluice-dev/sluice/deploy/e2e/bench/internal/batch"
	"github.com/sluice-dev/sluice/deploy/e2e/bench/internal/stub"
)

// Config says what to measure.
type Config struct {
	// Root is the repository's; Files is where the CSV files go.
	Root, Files string
	Extent      Extent
	// Seeds are the traces' and the noise's.
	Seeds []uint64
	// Dilation stretches all times, so that a small machine can play the traffic.
	Dilation float64
	// Length is how long a run takes, without the SLO at its end, and WarmUp the part at its beginning that does not count.
	Length, WarmUp time.Duration
	// Part and Parts take one of several parts of the runs, from 1, each with all policies of a regime and seed; of 1 part the first is all.
	Part, Parts int
	// Only is matched against "setting, regime, policy, seed n" of each run; those that do not match are left out. nil leaves none out.
	Only *regexp.Regexp
	// Report takes the tables, Progress a line for each run.
	Report, Progress io.Writer
}

func (cfg *Config) check() error {
	if cfg.Dilation < 1 || len(cfg.Seeds) == 0 || cfg.WarmUp <= 0 || cfg.Length <= cfg.WarmUp || cfg.Part < 1 || cfg.Part > cfg.Parts {
		return errors.New("a contest needs a dilation of at least 1, seeds, more than the warm-up, and a part that there is")
	}
	return nil
}

// calibrations is how often every size of batch is run to learn what the model can do.
const calibrations = 3

// Run measures, writes the runs to a CSV file, and reports. It gives the number of goals that were missed. Of a part it holds against the goals what the part shows.
func Run(ctx context.Context, cfg Config) (missed int, err error) {
	if err := cfg.check(); err != nil {
		return 0, err
	}
	var rows []Row
	bounds := make(map[stub.Profile]Profile)
	turn := 0
	for _, seed := range cfg.Seeds {
		for _, r := range regimes(cfg.Extent) {
			if turn++; (turn-1)%cfg.Parts != cfg.Part-1 {
				continue
			}
			chosen := cfg.chosen(r, seed)
			if len(chosen) == 0 {
				continue
			}
			profile := r.profile(cfg.Dilation)
			measured, known := bounds[profile.Profile]
			if !known {
				if measured, err = calibrate(ctx, cfg.Root, profile, calibrations); err != nil {
					return 0, err
				}
				bounds[profile.Profile] = measured
				cfg.say("%s: l(b) is %.2f + %.3f·b ms, %.1f frames a second at best", r.setting(), millis(measured.Alpha), millis(measured.Beta), measured.capacity(1, cfg.Dilation))
			}
			for _, p := range chosen { // one after the other, so that what else the machine does meets all alike
				row, err := cfg.run(ctx, p, r, seed, measured)
				if err != nil {
					return 0, fmt.Errorf("%s, %s, %s, seed %d: %w", p, r.setting(), r, seed, err)
				}
				cfg.say("%s", row)
				rows = append(rows, *row)
			}
		}
	}
	if err := cfg.save("batch", rows); err != nil {
		return 0, err
	}
	return questionOf(cfg.Extent).report(cfg.Report, rows)
}

func questionOf(e Extent) question {
	return question{policies(Issue), func(r regime) []goal { return goalsOf(e, r) }}
}

// chosen gives the policies that are to play a regime with a seed.
func (cfg *Config) chosen(r regime, seed uint64) []policy {
	return slices.DeleteFunc(policies(cfg.Extent), func(p policy) bool {
		return cfg.Only != nil && !cfg.Only.MatchString(fmt.Sprintf("%s, %s, %s, seed %d", r.setting(), r, p, seed))
	})
}

func (cfg *Config) say(format string, args ...any) {
	_, _ = fmt.Fprintf(cfg.Progress, format+"\n", args...) // progress is no result
}

// save writes rows to the CSV file of a part of the benchmark.
func (cfg *Config) save(name string, rows []Row) (err error) {
	if cfg.Parts > 1 {
		name = fmt.Sprintf("%s-%dof%d", name, cfg.Part, cfg.Parts)
	}
	f, err := os.Create(filepath.Join(cfg.Files, name+".csv"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return writeRows(f, rows)
}

// Merge reports on runs of CSV files together.
func Merge(files []string, extent Extent, to io.Writer) (missed int, err error) {
	rows, err := load(files)
	if err != nil {
		return 0, err
	}
	return questionOf(extent).report(to, rows)
}

// load reads the rows of CSV files.
func load(files []string) (rows []Row, err error) {
	for _, name := range files {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		more, err := readRows(f)
		if err := errors.Join(err, f.Close()); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		rows = append(rows, more...)
	}
	return rows, nil
}

// run plays one trace on one policy.
func (cfg *Config) run(ctx context.Context, p policy, r regime, seed uint64, measured Profile) (_ *Row, err error) {
	profile := r.profile(cfg.Dilation)
	trace, err := batch.NewTrace(batch.Arrivals{
		Shape: r.shape, Offered: r.load * profile.capacity(r.instances, cfg.Dilation), Dilation: cfg.Dilation, Length: cfg.Length + profile.SLO, Seed: seed,
	})
	if err != nil {
		return nil, err
	}
	b, err := setUp(ctx, cfg.Root, p, r, cfg.Dilation, seed)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, b.stop()) }()
	path, err := b.open(ctx, p, r, cfg.Dilation, trace.Streams)
	if err != nil {
		return nil, err
	}
	record, busy, err := play(ctx, trace, profile.SLO, path)
	if err != nil {
		return nil, err
	}
	journal, err := b.server.journal(ctx)
	if err != nil {
		return nil, err
	}
	measures := record.Measure(cfg.WarmUp)
	row := rowOf(p, r, seed, cfg.Dilation, measures)
	row.Settings = settings(p, r)
	row.Capacity = measured.capacity(r.instances, cfg.Dilation)
	row.Bound, row.Busy = min(row.Offered, row.Capacity), busy
	row.saw(journal, measures.Wasted)
	if b.router != nil {
		if row.Predicted, err = b.router.capacity(ctx); err != nil {
			return nil, err
		}
	}
	row.Void = row.void(cfg.Dilation)
	return row, nil
}

// play replays a trace on a path, closes it, and gives the part of the processors' time that was used meanwhile.
func play(ctx context.Context, trace *batch.Trace, slo time.Duration, path batch.Path) (record *batch.Record, busy float64, err error) {
	before, err := readProcessors()
	if err != nil {
		return nil, 0, errors.Join(err, path.Close())
	}
	if record, err = batch.Replay(ctx, trace, slo, path); err != nil {
		return nil, 0, err
	}
	after, err := readProcessors()
	return record, after.since(before), err
}

// rowOf enters what was run and what came of it.
func rowOf(p policy, r regime, seed uint64, dilation float64, m batch.Measures) *Row {
	row := &Row{
		Alpha: millis(r.model.alpha), Beta: millis(r.model.beta), Instances: r.instances, Load: r.load, Shape: string(r.shape), Policy: string(p),
		Seed: seed, Dilation: dilation, SLO: millis(stretch(slo, dilation)), Streams: m.Streams,
		Offered: m.Offered, Goodput: m.Goodput, P50: millis(m.P50), P99: millis(m.P99), MeanAge: millis(m.MeanAge), WorstAge: millis(m.WorstAge),
		Share: m.Share, Jain: m.Jain, Lateness: millis(m.Lateness),
		Frames: m.Frames, Answered: m.Fates[batch.Answered], Superseded: m.Fates[batch.Superseded], Expired: m.Fates[batch.Expired], Shed: m.Fates[batch.Shed],
		TimedOut: m.Fates[batch.TimedOut], Failed: m.Fates[batch.Failed], Unanswered: m.Fates[batch.Unanswered],
	}
	if asked := row.Answered + row.TimedOut; asked > 0 {
		row.Late = float64(m.Late+row.TimedOut) / float64(asked)
	}
	return row
}

// saw enters what the model server did.
func (r *Row) saw(j stub.Journal, dropped map[uint64]bool) {
	r.InFlight, r.Overshoot = j.Most, overshoot(j.Batches)
	sizes := make(map[int]int)
	for _, b := range j.Batches {
		sizes[b.Size]++
		for _, head := range b.Heads {
			if dropped[head] {
				r.Wasted++
			}
		}
	}
	var list []string
	for _, size := range slices.Sorted(maps.Keys(sizes)) {
		r.Batch += float64(size*sizes[size]) / float64(len(j.Batches))
		list = append(list, fmt.Sprintf("%d:%d", size, sizes[size]))
	}
	r.Sizes = strings.Join(list, " ")
}

// String says what came of the run, for people who wait.
func (r *Row) String() string {
	text := fmt.Sprintf("α %g β %g G%d %.1f× %-8s seed %d  %-21s goodput %5.1f of %5.1f/s (%.2f), p50 %4.0f p99 %5.0f ms, age %4.0f/%5.0f ms, worst share %.2f, cpu %2.0f %%",
		r.Alpha, r.Beta, r.Instances, r.Load, r.Shape, r.Seed, r.Policy, r.Goodput, r.Bound, r.Goodput/r.Bound, r.P50, r.P99, r.MeanAge, r.WorstAge, r.Share, 100*r.Busy)
	if r.Void != "" {
		text += "  VOID: " + r.Void
	}
	return text
}
