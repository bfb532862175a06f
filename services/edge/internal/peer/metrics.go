package peer

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-dev/sluice/pkg/nack"
)

// metrics are what the tracks of all sessions add up to. They are safe for concurrent use; a nil one counts nothing.
type metrics struct {
	packets, requests, keyFrames, jumps prometheus.Counter
	recovered, reordered, givenUp       prometheus.Counter
}

// newMetrics makes the metrics and registers them; nil without a registry.
func newMetrics(registry prometheus.Registerer) (*metrics, error) {
	if registry == nil {
		return nil, nil //nolint:nilnil // nil metrics count nothing
	}
	counter := func(name, help string) prometheus.CounterOpts {
		return prometheus.CounterOpts{Name: "sluice_edge_" + name, Help: help}
	}
	missing := prometheus.NewCounterVec(counter("rtp_missing_total",
		"Packets that were missing, by what became of them: reordered (they came by themselves), recovered (they were sent again) or given_up."), []string{"end"})
	m := &metrics{
		packets:   prometheus.NewCounter(counter("rtp_packets_total", "Packets of tracks that arrived and were wanted.")),
		requests:  prometheus.NewCounter(counter("rtp_requests_total", "Packets that clients were asked to send again (NACK), each time counted.")),
		jumps:     prometheus.NewCounter(counter("rtp_jumps_total", "Gaps of more packets than are worth asking for.")),
		keyFrames: prometheus.NewCounter(counter("key_frame_requests_total", "Key frames that clients were asked for (PLI).")),
		recovered: missing.WithLabelValues("recovered"), reordered: missing.WithLabelValues("reordered"), givenUp: missing.WithLabelValues("given_up"),
	}
	for _, c := range []prometheus.Collector{m.packets, m.requests, m.jumps, m.keyFrames, missing} {
		if err := registry.Register(c); err != nil {
			return nil, fmt.Errorf("register the tracks' metrics: %w", err)
		}
	}
	return m, nil
}

func (m *metrics) arrived() {
	if m != nil {
		m.packets.Inc()
	}
}

func (m *metrics) askedForKeyFrame() {
	if m != nil {
		m.keyFrames.Inc()
	}
}

// repaired counts what a tracker did between two looks at its statistics.
func (m *metrics) repaired(before, now nack.Stats) {
	if m == nil || before == now {
		return
	}
	m.requests.Add(float64(now.Requests - before.Requests))
	m.recovered.Add(float64(now.Recovered - before.Recovered))
	m.reordered.Add(float64(now.Reordered - before.Reordered))
	m.givenUp.Add(float64(now.GivenUp - before.GivenUp))
	m.jumps.Add(float64(now.Jumps - before.Jumps))
}
