package contest

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sluice-dev/sluice/deploy/e2e/bench/internal/stub"
)

// processors is the processor time of the whole machine, in ticks since it started.
type processors struct{ busy, all uint64 }

// readProcessors reads /proc/stat (proc_stat(5)). Time that a hypervisor took counts as busy: it is not there for the run.
func readProcessors() (p processors, err error) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return p, err
	}
	line, _, _ := strings.Cut(string(text), "\n")
	fields := strings.Fields(line)
	if len(fields) < 9 || fields[0] != "cpu" {
		return p, fmt.Errorf("/proc/stat begins with %q", line)
	}
	for i, field := range fields[1:9] { // user nice system idle iowait irq softirq steal
		ticks, err := strconv.ParseUint(field, 10, 64)
		if err != nil {
			return p, fmt.Errorf("/proc/stat: %w", err)
		}
		p.all += ticks
		if i != 3 && i != 4 {
			p.busy += ticks
		}
	}
	return p, nil
}

// since gives the part of the time that the processors were busy.
func (p processors) since(before processors) float64 {
	if p.all == before.all {
		return 0
	}
	return float64(p.busy-before.busy) / float64(p.all-before.all)
}

// overshoot gives the 99th percentile of how much longer batches took than they were to take, as a part of it.
func overshoot(batches []stub.Batch) float64 {
	parts := make([]float64, 0, len(batches))
	for _, b := range batches {
		if b.Planned > 0 {
			parts = append(parts, float64(b.Ended-b.Started)/float64(b.Planned)-1)
		}
	}
	if len(parts) == 0 {
		return 0
	}
	slices.Sort(parts)
	return parts[min(int(0.99*float64(len(parts))), len(parts)-1)]
}

// What makes a run void: the machine was not able to show what the run was about.
const (
	mostBusy = 0.70
	// mostLateness is undilated.
	mostLateness  = 2 * time.Millisecond
	mostOvershoot = 0.05
)

// void says why a run does not count, nothing if it does.
func (r *Row) void(dilation float64) string {
	var why []string
	if r.Busy >= mostBusy {
		why = append(why, fmt.Sprintf("processors %.0f %% busy", 100*r.Busy))
	}
	if r.Lateness >= millis(stretch(mostLateness, dilation)) {
		why = append(why, fmt.Sprintf("frames sent %.1f ms late", r.Lateness))
	}
	if r.Overshoot >= mostOvershoot {
		why = append(why, fmt.Sprintf("batches took %.1f %% longer than they were to", 100*r.Overshoot))
	}
	return strings.Join(why, ", ")
}
