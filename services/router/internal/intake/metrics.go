package intake

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are the intake's metrics.
type metrics struct {
	sessions prometheus.Gauge
	frames   prometheus.Counter
	lost     prometheus.Counter
}

func newMetrics(registry prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		sessions: prometheus.NewGauge(prometheus.GaugeOpts{Name: "sluice_router_sessions", Help: "Open calls of edges, one for each session."}),
		frames: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "sluice_router_frames_received_total", Help: "Frames received from edges, each counted once however many models it is due for.",
		}),
		lost: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "sluice_router_outcomes_undelivered_total",
			Help: "Outcomes that were not sent because the session's call was over or too slow to take them. The edge reports such frames as ROUTER_LOST.",
		}),
	}
	for _, c := range []prometheus.Collector{m.sessions, m.frames, m.lost} {
		if err := registry.Register(c); err != nil {
			return nil, fmt.Errorf("register the intake's metrics: %w", err)
		}
	}
	return m, nil
}

func (m *metrics) undelivered(n int) { m.lost.Add(float64(n)) }
