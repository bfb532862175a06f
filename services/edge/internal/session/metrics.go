package session

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-dev/sluice/pkg/media"
)

// metrics are the sessions' numbers. The counters are the ledgers' own, read when somebody asks, so that the two cannot differ.
type metrics struct {
	latency *prometheus.HistogramVec
	started prometheus.Counter
	refused *prometheus.CounterVec
}

func newMetrics() *metrics {
	return &metrics{
		latency: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "sluice_edge_result_seconds",
			Help:    "Time from the arrival of a unit's first packet to its result.",
			Buckets: []float64{.005, .01, .02, .03, .05, .075, .1, .15, .2, .3, .5, 1, 2},
		}, []string{"model"}),
		started: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "sluice_edge_sessions_started_total", Help: "Sessions that were started.",
		}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sluice_edge_sessions_refused_total", Help: "Sessions that were refused, by the code told to the client.",
		}, []string{"code"}),
	}
}

func (m *metrics) observe(o media.Outcome) {
	if o.Result != nil {
		m.latency.WithLabelValues(o.Model).Observe(o.Timings.Total.Seconds())
	}
}

// collector gives the manager's totals to Prometheus.
type collector struct {
	manager *Manager
	// The descriptions, by what they count.
	sessions, received, notDue, notSampled, accepted, outcomes, inFlight, late *prometheus.Desc
}

func newCollector(m *Manager) *collector {
	describe := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("sluice_edge_"+name, help, labels, nil)
	}
	return &collector{
		manager:    m,
		sessions:   describe("sessions", "Sessions that are alive."),
		received:   describe("units_received_total", "Units that arrived, whole or known lost."),
		notDue:     describe("units_not_due_total", "Units that were due for no model."),
		notSampled: describe("not_sampled_total", "Units that were not due for a model that their stream feeds.", "model"),
		accepted:   describe("accepted_total", "Units that were due for a model.", "model"),
		outcomes:   describe("outcomes_total", "Final outcomes. kind is result, drop or error; reason is the drop's reason or the error's code. accepted = outcomes + in flight.", "model", "kind", "reason"),
		inFlight:   describe("in_flight", "Units without an outcome yet.", "model"),
		late:       describe("late_total", "Outcomes of routers that came too late and were thrown away.", "model"),
	}
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(to chan<- *prometheus.Desc) { prometheus.DescribeByCollect(c, to) }

// Collect implements prometheus.Collector.
func (c *collector) Collect(to chan<- prometheus.Metric) {
	t := c.manager.snapshot()
	send := func(d *prometheus.Desc, kind prometheus.ValueType, value float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, kind, value, labels...)
	}
	send(c.sessions, prometheus.GaugeValue, float64(t.sessions))
	send(c.received, prometheus.CounterValue, float64(t.received))
	send(c.notDue, prometheus.CounterValue, float64(t.notDue))
	for _, m := range t.models {
		send(c.notSampled, prometheus.CounterValue, float64(m.NotSampled), m.Model)
		send(c.accepted, prometheus.CounterValue, float64(m.Accepted), m.Model)
		send(c.outcomes, prometheus.CounterValue, float64(m.Results), m.Model, "result", "")
		send(c.inFlight, prometheus.GaugeValue, float64(m.InFlight), m.Model)
		send(c.late, prometheus.CounterValue, float64(m.Late), m.Model)
		for _, reason := range media.DropReasons() {
			send(c.outcomes, prometheus.CounterValue, float64(m.Drops[reason]), m.Model, "drop", reason.String())
		}
		for _, code := range media.ErrorCodes() {
			send(c.outcomes, prometheus.CounterValue, float64(m.Errors[code]), m.Model, "error", code.String())
		}
	}
}
