package uplink

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-dev/sluice/pkg/media"
)

// metrics count what the pool's uplinks do. None has a label of a session or stream.
type metrics struct {
	connections, calls, routers prometheus.Gauge
	sent, lost                  prometheus.Counter
	drops, refused              *prometheus.CounterVec
}

// newMetrics makes the metrics and registers them, if there is a registry.
func newMetrics(r prometheus.Registerer) (*metrics, error) {
	const prefix = "sluice_edge_uplink_"
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Name: prefix + name, Help: help})
	}
	counter := func(name, help string) prometheus.CounterOpts {
		return prometheus.CounterOpts{Name: prefix + name, Help: help}
	}
	m := &metrics{
		connections: gauge("connections", "Connections for frames to routers; with several routers behind the target, connections to all of them."),
		calls:       gauge("calls", "Calls to routers, those being opened or finished included."),
		routers:     gauge("routers", "Addresses that the routers' target stands for."),
		sent:        prometheus.NewCounter(counter("frames_sent_total", "Frames handed to a router.")),
		lost:        prometheus.NewCounter(counter("calls_lost_total", "Calls that ended without another one in their place.")),
		drops: prometheus.NewCounterVec(counter("drops_total",
			"Units given up by the uplink, counted once for each model, by reason."), []string{"reason"}),
		refused: prometheus.NewCounterVec(counter("outcomes_refused_total",
			"Outcomes of routers that were thrown away: malformed, of a foreign session, or for a unit that was not sent."), []string{"why"}),
	}
	for _, reason := range media.DropReasons() {
		m.drops.WithLabelValues(reason.String()) // shown before the first of them, so that a rate sees that one too
	}
	if r == nil {
		return m, nil
	}
	var errs []error
	for _, c := range []prometheus.Collector{m.connections, m.calls, m.routers, m.sent, m.lost, m.drops, m.refused} {
		errs = append(errs, r.Register(c))
	}
	return m, errors.Join(errs...)
}
