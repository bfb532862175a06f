package contest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/sluice-dev/sluice/deploy/e2e/bench/internal/batch"
	"github.com/sluice-dev/sluice/deploy/e2e/bench/internal/triton"
)

// The policies of a real Triton: to it frames are sent one by one, as they come.
const (
	// realDefault is its dynamic batcher as its documentation begins: a largest batch and dynamic_batching {}.
	realDefault policy = "Triton, default"
	// realTuned is the best of tunings for the very load.
	realTuned policy = "Triton, tuned"
	// realTrial is a run that the best was chosen by.
	realTrial policy = "Triton, trial"
)

// realLoads are the overloads.
func realLoads(e Extent) []float64 {
	if e == Smoke {
		return []float64{1.5}
	}
	return []float64{1.5, 3}
}

const (
	// plain is the model that has no batcher; the router calls it.
	plain = "stub"
	// untuned is the model of realDefault.
	untuned = "default"
	// trialSeed is of traces that no run has that counts.
	trialSeed = 1000
	// trialPart is the length of a trial, as a part of a run's.
	trialPart = 0.5
	// asGood is how far below the best goodput of all trials a setting may be for its ages to decide.
	asGood = 0.99
)

// tunings are the settings that Triton's documentation leaves to measurement, undilated: how long requests may be delayed for a larger batch, how long they may have waited before they are refused,
// and a smaller largest batch. Without a timeout no setting answers anything in time under overload, which realDefault shows.
func tunings(e Extent) (list []triton.Batching) {
	const ms = time.Millisecond
	if e == Smoke {
		return []triton.Batching{{Dynamic: true, Max: maxBatch, Timeout: 30 * ms}, {Dynamic: true, Max: maxBatch, Timeout: 50 * ms}}
	}
	for _, timeout := range []time.Duration{20 * ms, 30 * ms, 40 * ms, 50 * ms, 60 * ms} {
		list = append(list, triton.Batching{Dynamic: true, Max: maxBatch, Timeout: timeout})
	}
	return append(list,
		triton.Batching{Dynamic: true, Max: maxBatch, Timeout: 40 * ms, Delay: 10 * ms},
		triton.Batching{Dynamic: true, Max: maxBatch / 2, Timeout: 40 * ms},
		triton.Batching{Dynamic: true, Max: maxBatch / 2, Timeout: 60 * ms},
	)
}

func tunedName(i int) string { return fmt.Sprintf("tuned-%d", i) }

// RunTriton compares sluice-router, in front of a real Triton that does not batch, with frames sent straight to the same Triton's own batcher, under overload. It writes the runs to a CSV file, and
// reports; see [Run]. A part of the runs is one of the loads.
func RunTriton(ctx context.Context, cfg Config) (missed int, err error) {
	if err := cfg.check(); err != nil {
		return 0, err
	}
	first := models()[0]
	profile := regime{model: first}.profile(cfg.Dilation)
	var all []triton.Model
	for i, b := range tunings(cfg.Extent) {
		b.Delay, b.Timeout = stretch(b.Delay, cfg.Dilation), stretch(b.Timeout, cfg.Dilation)
		all = append(all, triton.Model{Name: tunedName(i), Batching: b})
	}
	all = append(all, triton.Model{Name: plain, Batching: triton.Batching{Max: maxBatch}}, triton.Model{Name: untuned, Batching: triton.Batching{Dynamic: true, Max: maxBatch}})
	server, err := triton.Start(ctx, triton.Config{Root: cfg.Root, Alpha: profile.Alpha, Beta: profile.Beta, Width: width, Models: all})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, server.Stop()) }()
	measured, err := calibrateAt(ctx, server.Address, profile, calibrations)
	if err != nil {
		return 0, err
	}
	cfg.say("Triton: l(b) is %.2f + %.3f·b ms, %.1f frames a second at best", millis(measured.Alpha), millis(measured.Beta), measured.capacity(1, cfg.Dilation))
	rows, err := (&tritonBench{cfg: cfg, address: server.Address, model: first, measured: measured}).run(ctx)
	if err != nil {
		return 0, err
	}
	if err := cfg.save("triton", rows); err != nil {
		return 0, err
	}
	return reportTriton(cfg.Report, cfg.Extent, rows)
}

// MergeTriton reports on runs of CSV files of RunTriton together.
func MergeTriton(files []string, extent Extent, to io.Writer) (missed int, err error) {
	rows, err := load(files)
	if err != nil {
		return 0, err
	}
	return reportTriton(to, extent, rows)
}

// tritonBench is a running Triton and what it can do.
type tritonBench struct {
	cfg      Config
	address  string
	model    model
	measured Profile
}

// run plays all loads, or the part's.
func (t *tritonBench) run(ctx context.Context) (rows []Row, err error) {
	for i, load := range realLoads(t.cfg.Extent) {
		if i%t.cfg.Parts != t.cfg.Part-1 {
			continue
		}
		r := regime{t.model, 1, load, batch.Periodic}
		trials, best, err := t.tune(ctx, r)
		if err != nil {
			return nil, err
		}
		rows = append(rows, trials...)
		for _, seed := range t.cfg.Seeds {
			for _, c := range []contender{{fresh, plain, ""}, {realDefault, untuned, ""}, best} {
				row, err := t.play(ctx, r, c, seed, t.cfg.Length)
				if err != nil {
					return nil, err
				}
				rows = append(rows, *row)
			}
		}
	}
	return rows, nil
}

// contender is who decides, and by which of Triton's models.
type contender struct {
	policy          policy
	model, settings string
}

// tune tries all settings at a load and gives the best: that with the least age of information among those with almost the best goodput.
func (t *tritonBench) tune(ctx context.Context, r regime) (trials []Row, best contender, err error) {
	for i, b := range tunings(t.cfg.Extent) {
		row, err := t.play(ctx, r, contender{realTrial, tunedName(i), b.String()}, trialSeed, time.Duration(trialPart*float64(t.cfg.Length)))
		if err != nil {
			return nil, best, err
		}
		trials = append(trials, *row)
	}
	most := 0.0
	for _, row := range trials {
		most = max(most, row.Goodput)
	}
	at := -1
	for i, row := range trials {
		if row.Goodput >= asGood*most && (at < 0 || row.MeanAge < trials[at].MeanAge) {
			at = i
		}
	}
	return trials, contender{realTuned, tunedName(at), trials[at].Settings}, nil
}

// play plays one trace on one contender.
func (t *tritonBench) play(ctx context.Context, r regime, c contender, seed uint64, length time.Duration) (_ *Row, err error) {
	profile := r.profile(t.cfg.Dilation)
	trace, err := batch.NewTrace(batch.Arrivals{
		Shape: r.shape, Offered: r.load * profile.capacity(1, t.cfg.Dilation), Dilation: t.cfg.Dilation, Length: length + profile.SLO, Seed: seed,
	})
	if err != nil {
		return nil, err
	}
	path, router, err := t.open(ctx, c, profile, trace.Streams)
	if err != nil {
		return nil, err
	}
	if router != nil {
		defer func() { err = errors.Join(err, router.stop()) }()
	}
	record, busy, err := play(ctx, trace, profile.SLO, path)
	if err != nil {
		return nil, fmt.Errorf("%s at %s, seed %d: %w", c.policy, r, seed, err)
	}
	measures := record.Measure(min(t.cfg.WarmUp, length/2))
	row := rowOf(c.policy, r, seed, t.cfg.Dilation, measures)
	row.Settings = c.settings
	row.Capacity = t.measured.capacity(1, t.cfg.Dilation)
	row.Bound, row.Busy = min(row.Offered, row.Capacity), busy
	if router != nil { // nothing behind it changes its batches
		row.Batch = measures.Batch
		if row.Predicted, err = router.capacity(ctx); err != nil {
			return nil, err
		}
	}
	row.Void = row.void(t.cfg.Dilation)
	t.cfg.say("%s %s", row, c.settings)
	return row, nil
}

// open opens the way to Triton: straight, or by way of a router that is started for it and must be stopped.
func (t *tritonBench) open(ctx context.Context, c contender, profile Profile, streams int) (path batch.Path, through *router, err error) {
	if c.policy != fresh {
		path, err = batch.OpenServer(ctx, t.address, batch.Model{Name: c.model, Width: width, Input: triton.Input, Output: triton.Output})
		return path, nil, err
	}
	if through, err = startRouter(ctx, t.cfg.Root, profile, 1, t.address); err != nil {
		return nil, nil, err
	}
	if path, err = batch.OpenRouter(ctx, through.address, frameModel(), streams, profile.SLO); err != nil {
		return nil, nil, errors.Join(err, through.stop())
	}
	return path, through, nil
}

// reportTriton reports on the runs that count.
func reportTriton(to io.Writer, e Extent, rows []Row) (missed int, err error) {
	for _, load := range realLoads(e) {
		for i := range rows {
			if row := &rows[i]; row.Load == load && row.Policy == string(realTuned) {
				if _, err := fmt.Fprintf(to, "Triton, tuned, at %.1f×: %s (undilated), the best of %d settings.\n", load, row.Settings, len(tunings(e))); err != nil {
					return 0, err
				}
				break
			}
		}
	}
	rows = slices.DeleteFunc(slices.Clone(rows), func(r Row) bool { return r.Policy == string(realTrial) })
	return question{[]policy{fresh, realDefault, realTuned}, func(r regime) []goal { return realGoals(e, r) }}.report(to, rows)
}

// realGoals are those of the study on Triton's rules, of the real one.
func realGoals(e Extent, r regime) []goal {
	if e == Smoke {
		return []goal{own("", "goodput, of the upper bound", false, 0.85, ofBound), own("", "worst share", false, 0.8, share)}
	}
	always := []goal{
		own("G7", "answers later than the SLO", true, 0.01, func(r Row) float64 { return r.Late }),
		own("", "failed frames", true, 0, func(r Row) float64 { return float64(r.Failed + r.Unanswered) }),
	}
	if r.load == 3 {
		return append([]goal{
			own("G5", "goodput, of the upper bound", false, 0.92, ofBound),
			than("G5", "mean age", realTuned, true, 0.70, meanAge),
			than("G5", "worst stream's age", realTuned, true, 0.40, worstAge),
			own("G5", "worst share", false, 0.88, share),
		}, always...)
	}
	return append([]goal{
		own("G3", "goodput, of the upper bound", false, 0.92, ofBound),
		than("G3", "goodput", realTuned, false, 0.94, goodput),
		than("G3", "goodput", realDefault, false, 10, goodput),
		than("G4", "mean age", realTuned, true, 0.80, meanAge),
		than("G4", "worst stream's age", realTuned, true, 0.70, worstAge),
		own("G4", "worst share", false, 0.90, share),
	}, always...)
}
