package cpu

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// overloadLength is how long the edge is given more than it can take.
const overloadLength = 12 * time.Second

// overloaded is what the edge does with more streams than it can take.
type overloaded struct {
	streams int
	// early and late are the lags in the first and the last third.
	early, late []time.Duration
	// edge is the edge's own part of all of them.
	edge []time.Duration
	// frames is the rate of converted pictures, three frames for each, of the slowest stream and the mean.
	slowest, mean float64
	// drops are the outcomes that are no results, by reason.
	drops map[string]int
}

func (w *workplace) overload(ctx context.Context, streams int, codec string) (_ overloaded, err error) {
	o := overloaded{streams: streams}
	s, err := startEdge(ctx, w, codec)
	if err != nil {
		return o, err
	}
	defer func() { err = errors.Join(err, s.stop()) }() //nolint:contextcheck // what runs is stopped also when ctx is what ended
	if err := s.add(ctx, streams); err != nil {
		return o, err
	}
	if err := pass(ctx, 2*settle); err != nil { // that many handshakes at once are a load of their own
		return o, err
	}
	before, err := outcomes(ctx, s.Admin)
	if err != nil {
		return o, err
	}
	begin := time.Now()
	r, err := read(ctx, s, overloadLength)
	if err != nil {
		return o, err
	}
	if o.drops, err = outcomes(ctx, s.Admin); err != nil {
		return o, err
	}
	for reason := range o.drops {
		if o.drops[reason] -= before[reason]; o.drops[reason] == 0 {
			delete(o.drops, reason)
		}
	}
	o.slowest, o.mean = r.slowest, r.mean
	for _, l := range s.lags(begin) {
		o.edge = append(o.edge, l.edge)
		switch third := overloadLength / 3; {
		case l.at.Sub(begin) < third:
			o.early = append(o.early, l.took)
		case l.at.Sub(begin) >= 2*third:
			o.late = append(o.late, l.took)
		}
	}
	w.say("overload: edge %d × %s: lag %s at first, %s in the end; within the edge %s", streams, codec, lagText(o.early), lagText(o.late), lagText(o.edge))
	return o, nil
}

// outcomes gives the edge's counts of what is no result, by reason.
func outcomes(ctx context.Context, admin string) (map[string]int, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, admin+"/metrics", http.NoBody)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(response.Body)
	if err != nil {
		return nil, err
	}
	counts := make(map[string]int)
	for _, m := range families["sluice_edge_outcomes_total"].GetMetric() {
		labels := make(map[string]string)
		for _, l := range m.GetLabel() {
			labels[l.GetName()] = l.GetValue()
		}
		if labels["kind"] != "result" {
			counts[labels["reason"]] += int(m.GetCounter().GetValue())
		}
	}
	return counts, nil
}

// quantile gives the nearest-rank quantile, zero of nothing.
func quantile(values []time.Duration, q float64) time.Duration {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}

func lagText(lags []time.Duration) string {
	return fmt.Sprintf("p50 %.0f, p99 %.0f, max %.0f ms", millis(quantile(lags, 0.5)), millis(quantile(lags, 0.99)), millis(quantile(lags, 1)))
}
