package peer

import (
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-dev/sluice/pkg/nack"
)

// TestMetricsOfRepair looks at the statistics of a track three times, the last time at those of a new tracker.
func TestMetricsOfRepair(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	m, err := newMetrics(registry)
	if err != nil {
		t.Fatal(err)
	}
	first := nack.Stats{Requests: 5, Recovered: 3, Reordered: 1, GivenUp: 1}
	second := nack.Stats{Requests: 6, Recovered: 4, Reordered: 1, GivenUp: 1, Jumps: 1}
	m.repaired(nack.Stats{}, first)
	m.repaired(first, second)
	m.repaired(second, second)
	m.repaired(nack.Stats{}, nack.Stats{Requests: 1, GivenUp: 1})
	m.arrived()
	m.askedForKeyFrame()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		for _, one := range f.GetMetric() {
			name := strings.TrimPrefix(f.GetName(), "sluice_edge_")
			for _, l := range one.GetLabel() {
				name += " " + l.GetValue()
			}
			got[name] = one.GetCounter().GetValue()
		}
	}
	for name, want := range map[string]float64{
		"rtp_packets_total": 1, "rtp_requests_total": 7, "rtp_jumps_total": 1, "key_frame_requests_total": 1,
		"rtp_missing_total recovered": 4, "rtp_missing_total reordered": 1, "rtp_missing_total given_up": 2,
	} {
		if got[name] != want {
			t.Errorf("%s is %v, want %v", name, got[name], want)
		}
	}
	if _, err := newMetrics(registry); err == nil {
		t.Error("the same metrics could be registered twice")
	}
	var none *metrics // of an endpoint without a registry
	none.repaired(nack.Stats{}, first)
	none.arrived()
	none.askedForKeyFrame()
}
