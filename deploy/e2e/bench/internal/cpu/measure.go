package cpu

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/sluice-dev/sluice/deploy/e2e/bench/internal/proc"
)

// reading is one measurement.
type reading struct {
	// cost is the processor time for a second of a stream, which is 30 frames decoded.
	cost time.Duration
	// slowest is the frame rate of the slowest stream, mean that of all.
	slowest, mean float64
	// memory is the proportional set size of all processes together, in bytes.
	memory int64
}

// measure runs streams on a fresh server and reads what they cost.
func (w *workplace) measure(ctx context.Context, s system, codec string, streams int) (_ reading, err error) {
	server, err := s.start(ctx, w, codec)
	if err != nil {
		return reading{}, fmt.Errorf("%s: %w", s.name, err)
	}
	defer func() { err = errors.Join(err, server.stop()) }()
	if err := server.add(ctx, streams); err != nil {
		return reading{}, fmt.Errorf("%s: %w\n%s", s.name, err, server.words())
	}
	if err := pass(ctx, settle); err != nil {
		return reading{}, err
	}
	r, err := read(ctx, server, w.cfg.Window)
	if err != nil {
		err = fmt.Errorf("%w\n%s", err, server.words())
	}
	return r, err
}

// read measures what runs for a while.
func read(ctx context.Context, s server, window time.Duration) (r reading, err error) {
	pids := s.processes()
	before, err := used(pids)
	if err != nil {
		return r, err
	}
	begin := s.counts()
	if err := pass(ctx, window); err != nil {
		return r, err
	}
	after, err := used(pids)
	if err != nil {
		return r, err
	}
	var frames uint64
	var rates []float64
	for i, end := range s.counts() {
		if i >= len(begin) {
			break
		}
		n := end.decoded - begin[i].decoded
		frames += n
		rates = append(rates, perSecond(n, end.at.Sub(begin[i].at)))
	}
	if frames == 0 {
		return r, errors.New("not one frame was decoded")
	}
	r.cost = time.Duration(float64(after-before) / float64(frames) * rate)
	r.slowest = slices.Min(rates)
	for _, f := range rates {
		r.mean += f / float64(len(rates))
	}
	for _, pid := range pids {
		bytes, err := proc.TreePSS(pid)
		if err != nil {
			return r, err
		}
		r.memory += bytes
	}
	return r, nil
}

// perSecond is a frame rate; zero when there was no time between the frames.
func perSecond(frames uint64, apart time.Duration) float64 {
	if apart <= 0 {
		return 0
	}
	return float64(frames) / apart.Seconds()
}

// used is the processor time of all processes.
func used(pids []int) (total time.Duration, err error) {
	for _, pid := range pids {
		t, err := proc.TreeCPU(pid)
		if err != nil {
			return 0, err
		}
		total += t
	}
	return total, nil
}

// cell is a place in the table.
type cell struct {
	system, codec string
	streams       int
}

// cells are the readings of each, by round.
type cells map[cell][]reading

// table measures all systems in turn, again and again, so that what else the machine does meets all alike.
func (w *workplace) table(ctx context.Context) (cells, error) {
	all := make(cells)
	for round := range w.cfg.Rounds {
		for _, codec := range w.cfg.Codecs {
			for _, streams := range []int{w.cfg.Few, w.cfg.Many} {
				for _, s := range w.systems {
					if streams == w.cfg.Many && s.name != limitName && s.name != edgeName {
						continue // more than they can take on two cores, where each would drop what it likes
					}
					r, err := w.measure(ctx, s, codec, streams)
					if err != nil {
						return nil, fmt.Errorf("%s, %d streams of %s: %w", s.name, streams, codec, err)
					}
					c := cell{s.name, codec, streams}
					all[c] = append(all[c], r)
					w.say("round %d/%d: %-9s %2d × %-4s: %5.1f ms a stream-second, slowest %.1f fps", round+1, w.cfg.Rounds, s.name, streams, codec, millis(r.cost), r.slowest)
				}
			}
		}
	}
	return all, nil
}

func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// fluent is the frame rate that every stream must have.
const fluent = 29.5

// search gives the largest number of streams of a codec that a system decodes at full rate: it adds some until that fails, then tries the numbers between from the top, each on a fresh
// server.
func (w *workplace) search(ctx context.Context, s system, codec string) (int, error) {
	good, bad, err := w.climb(ctx, s, codec)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", s.name, err)
	}
	for bad-good > 1 {
		try := (good + bad) / 2
		r, err := w.measure(ctx, s, codec, try)
		if err != nil {
			return 0, fmt.Errorf("%s, %d streams: %w", s.name, try, err)
		}
		w.say("search: %-9s %2d × %-4s: slowest %.1f fps", s.name, try, codec, r.slowest)
		if r.slowest >= fluent {
			good = try
		} else {
			bad = try
		}
	}
	return good, nil
}

// climb adds streams to one server until it is not fluent any more.
func (w *workplace) climb(ctx context.Context, s system, codec string) (good, bad int, err error) {
	server, err := s.start(ctx, w, codec)
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, server.stop()) }()
	for streams, more := s.begins, s.begins; streams <= w.cfg.Most; streams, more = streams+s.step, s.step {
		if err := server.add(ctx, more); err != nil {
			w.say("search: %-9s %2d × %-4s: %v", s.name, streams, codec, err)
			return good, streams, nil
		}
		if err := pass(ctx, settle); err != nil {
			return 0, 0, err
		}
		r, err := read(ctx, server, w.cfg.Window)
		if err != nil {
			return 0, 0, err
		}
		w.say("search: %-9s %2d × %-4s: slowest %.1f fps", s.name, streams, codec, r.slowest)
		if r.slowest < fluent {
			return good, streams, nil
		}
		good = streams
	}
	return good, good + 1, nil
}
