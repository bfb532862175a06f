// Package loss measures what packet loss costs: a live encoder publishes through a bad path to the real edge, and every picture that the edge delivers is held, byte for byte, against
// the decode of the same stream without loss.
package loss

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"

	"github.com/sluice-dev/sluice/deploy/e2e/bench/internal/edge"
	"github.com/sluice-dev/sluice/deploy/e2e/bench/internal/sink"
)

// Config says which cells are played.
type Config struct {
	// Root is the repository's root, Native the folder of the C programs.
	Root, Native string
	Codecs       []string
	Losses       []float64
	Trips        []time.Duration
	// Length is how long a cell's stream is.
	Length time.Duration
	// Together is how many cells are played at once.
	Together int
	// Progress receives a line for each cell as it is done, Report the table.
	Progress, Report io.Writer
}

// Run plays all cells and prints the table. missed counts the cells that did not reach their goal or delivered a damaged picture.
func Run(ctx context.Context, cfg Config) (missed int, err error) {
	b := newBoard()
	router, err := sink.Start(sink.Config{Width: width, Height: height, Rate: 1000, Window: 64, Deadline: time.Second, Hash: true, Frame: b.note})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, router.Close()) }()
	e, err := edge.Start(ctx, cfg.Root, net.IPv4(127, 0, 0, 1), router.Address())
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, e.Stop()) }()
	outcomes, err := playAll(ctx, cfg, e, b)
	if err != nil {
		return 0, err
	}
	for _, o := range outcomes {
		if !o.Met() {
			missed++
		}
	}
	_, err = fmt.Fprintln(cfg.Report, render(cfg, outcomes))
	return missed, err
}

// playAll plays the cells, some at once, and gives their outcomes in order.
func playAll(ctx context.Context, cfg Config, e *edge.Edge, b *board) ([]Outcome, error) {
	var cells []Cell
	for _, trip := range cfg.Trips {
		for _, loss := range cfg.Losses {
			for _, codec := range cfg.Codecs {
				cells = append(cells, Cell{codec, loss, trip})
			}
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	outcomes, failures := make([]Outcome, len(cells)), make([]error, len(cells))
	places := make(chan struct{}, max(cfg.Together, 1))
	var (
		players sync.WaitGroup
		mu      sync.Mutex
		done    int
	)
	for i, c := range cells {
		places <- struct{}{}
		if ctx.Err() != nil {
			break
		}
		players.Go(func() {
			defer func() { <-places }()
			r := &run{Cell: c, native: cfg.Native, edge: e, board: b, length: cfg.Length}
			outcomes[i], failures[i] = r.play(ctx, uint64(i))
			if failures[i] != nil {
				failures[i] = fmt.Errorf("%s, %g %% loss, %s: %w", c.Codec, c.Loss*100, c.Trip, failures[i])
				cancel()
				return
			}
			mu.Lock()
			defer mu.Unlock()
			done++
			o := outcomes[i]
			_, _ = fmt.Fprintf(cfg.Progress, "loss %3d/%d: %-4s %3.0f %% loss %3d ms: %5.1f %% of frames, %d damaged\n",
				done, len(cells), c.Codec, c.Loss*100, c.Trip.Milliseconds(), o.share()*100, o.Damaged)
		})
	}
	players.Wait()
	return outcomes, errors.Join(failures...)
}

func render(cfg Config, outcomes []Outcome) string {
	t := table.NewWriter()
	t.SetStyle(table.StyleLight)
	t.Style().Format.Header = text.FormatDefault
	t.SetTitle("Packet loss: %d×%d at %d fps, %d kbit/s, key frame every %d s, PLI answered; %s a cell",
		width, height, rate, kilobits, keyEvery/rate, cfg.Length)
	t.AppendHeader(table.Row{"RTT", "loss", "codec", "in 1 s %", "goal %", "damaged", "delay p50", "p99 ms", "recover p50", "max ms", "lost pkts", "PLI/lost", "NACK/lost", "", "of the others"})
	var columns []table.ColumnConfig
	for n := 4; n <= 13; n++ {
		columns = append(columns, table.ColumnConfig{Number: n, Align: text.AlignRight})
	}
	t.SetColumnConfigs(columns)
	for i, o := range outcomes {
		if i > 0 && (o.Loss != outcomes[i-1].Loss || o.Trip != outcomes[i-1].Trip) {
			t.AppendSeparator()
		}
		t.AppendRow(row(o))
	}
	return t.Render() + "\nin 1 s: pictures decoded within a second of capture. damaged: pictures at the router that differ from the loss-free decode of the same stream.\n" +
		"recover: from the capture of the first picture lost to the delivery of the next good one. Loss is independent, of each direction; retransmissions and requests get lost too.\n" +
		"PLI and NACK: messages that the edge sent, for each media packet lost."
}

func row(o Outcome) table.Row {
	each := func(n uint64) string {
		if o.Lost == 0 {
			return "–"
		}
		return fmt.Sprintf("%.2f", float64(n)/float64(o.Lost))
	}
	millis := func(d time.Duration) string {
		if d == 0 {
			return "–"
		}
		return fmt.Sprint(d.Milliseconds())
	}
	goal, verdict := "–", ""
	if o.Goal() > 0 {
		goal, verdict = fmt.Sprintf("%.0f", o.Goal()*100), "met"
	}
	if !o.Met() {
		verdict = "MISSED"
	}
	return table.Row{
		fmt.Sprintf("%d ms", o.Trip.Milliseconds()), fmt.Sprintf("%g %%", o.Loss*100), o.Codec,
		fmt.Sprintf("%.1f", o.share()*100), goal, o.Damaged, millis(quantile(o.Delays, 0.5)), millis(quantile(o.Delays, 0.99)),
		millis(quantile(o.Recoveries, 0.5)), millis(quantile(o.Recoveries, 1)), o.Lost, each(o.Plis), each(o.Nacks), verdict, reasons(o),
	}
}

// reasons says what became of the frames that were not delivered, as the edge tells it.
func reasons(o Outcome) string {
	var parts []string
	for _, reason := range slices.Sorted(maps.Keys(o.Reasons)) {
		parts = append(parts, fmt.Sprintf("%d %s", o.Reasons[reason], strings.ToLower(reason)))
	}
	if o.Superseded > 0 {
		parts = append(parts, fmt.Sprintf("(%d superseded)", o.Superseded))
	}
	if o.Late > 0 {
		parts = append(parts, fmt.Sprintf("%d late", o.Late))
	}
	if o.Tardy > 0 {
		parts = append(parts, fmt.Sprintf("(encoder late %d times)", o.Tardy))
	}
	return strings.Join(parts, ", ")
}
