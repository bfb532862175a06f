package session

import (
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-dev/sluice/pkg/media"
)

// metrics are the sessions' numbers. The counters are the ledgers' own, read when somebody asks, so that the two cannot differ.
type metrics struct {
	latency *prometheus.HistogramVec
	stages  *prometheus.HistogramVec
	started prometheus.Counter
	refused *prometheus.CounterVec
	limit   prometheus.Gauge
	connect prometheus.Histogram
	// The stages' own histograms, looked up once.
	receive, decode, convert, queue, infer prometheus.Observer
}

func newMetrics(limit int) *metrics {
	m := &metrics{
		latency: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "sluice_edge_result_seconds",
			Help:    "Time from the arrival of a unit's first packet to its result.",
			Buckets: []float64{.005, .01, .02, .03, .05, .075, .1, .15, .2, .3, .5, 1, 2},
		}, []string{"model"}),
		stages: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "sluice_edge_stage_seconds",
			Help: "What units that got a result spent in the stages: receive (first to last packet), decode, convert, queue (at the router), infer. " +
				"What is left of sluice_edge_result_seconds is the way to the router and back.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1},
		}, []string{"stage"}),
		started: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "sluice_edge_sessions_started_total", Help: "Sessions that were started.",
		}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sluice_edge_sessions_refused_total", Help: "Sessions that were refused, by the code told to the client.",
		}, []string{"code"}),
		connect: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "sluice_edge_connect_seconds",
			Help:    "Time from a session's start to its connection (ICE and DTLS). Sessions that were started and are not in here never connected.",
			Buckets: []float64{.05, .1, .25, .5, 1, 2.5, 5, 10, 30},
		}),
		limit: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "sluice_edge_sessions_limit", Help: "Sessions that may be alive at once (limits.sessions).",
		}),
	}
	m.limit.Set(float64(limit))
	for _, code := range []Code{ // shown before the first of them, so that a rate sees that one too
		CodeInvalidSDP, CodeTooLarge, CodeNothingSent, CodeUnsupportedCodec, CodeUnknownModel, CodeTooManySessions, CodeDraining, CodeNoRouter,
		CodeRequestTimeout, CodeInternal,
	} {
		m.refused.WithLabelValues(string(code))
	}
	m.receive, m.decode, m.convert = m.stages.WithLabelValues("receive"), m.stages.WithLabelValues("decode"), m.stages.WithLabelValues("convert")
	m.queue, m.infer = m.stages.WithLabelValues("queue"), m.stages.WithLabelValues("infer")
	return m
}

// register shows the metrics in a registry.
func (m *metrics) register(registry prometheus.Registerer) error {
	for _, c := range []prometheus.Collector{m.latency, m.stages, m.started, m.refused, m.limit, m.connect} {
		if err := registry.Register(c); err != nil {
			return fmt.Errorf("register the sessions' metrics: %w", err)
		}
	}
	return nil
}

func (m *metrics) observe(o media.Outcome) {
	if o.Result == nil {
		return
	}
	m.latency.WithLabelValues(o.Model).Observe(o.Timings.Total.Seconds())
	for _, stage := range [...]struct {
		histogram prometheus.Observer
		took      time.Duration
	}{
		{m.receive, o.Timings.Receive}, {m.decode, o.Timings.Decode}, {m.convert, o.Timings.Convert}, {m.queue, o.Timings.Queue}, {m.infer, o.Timings.Infer},
	} {
		if stage.took > 0 { // else the unit did not need the stage
			stage.histogram.Observe(stage.took.Seconds())
		}
	}
}

// collector gives the manager's totals to Prometheus.
type collector struct {
	manager *Manager
	// The descriptions, by what they count.
	sessions, draining, received, notDue, notSampled, accepted, outcomes, inFlight, late *prometheus.Desc
}

func newCollector(m *Manager) *collector {
	describe := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("sluice_edge_"+name, help, labels, nil)
	}
	return &collector{
		manager:    m,
		sessions:   describe("sessions", "Sessions that are alive."),
		draining:   describe("draining", "1 while the edge takes no new sessions and has told its clients to go elsewhere."),
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
	draining := 0.0
	if t.draining {
		draining = 1
	}
	send(c.draining, prometheus.GaugeValue, draining)
	send(c.received, prometheus.CounterValue, float64(t.received))
	send(c.notDue, prometheus.CounterValue, float64(t.notDue))
	for i := range t.models {
		m := &t.models[i]
		send(c.notSampled, prometheus.CounterValue, float64(m.notSampled), m.model)
		send(c.accepted, prometheus.CounterValue, float64(m.accepted), m.model)
		send(c.outcomes, prometheus.CounterValue, float64(m.results), m.model, "result", "")
		send(c.inFlight, prometheus.GaugeValue, float64(m.inFlight), m.model)
		send(c.late, prometheus.CounterValue, float64(m.late), m.model)
		for _, reason := range media.DropReasons() {
			send(c.outcomes, prometheus.CounterValue, float64(m.drops[reason]), m.model, "drop", reason.String())
		}
		for _, code := range media.ErrorCodes() {
			send(c.outcomes, prometheus.CounterValue, float64(m.errors[code]), m.model, "error", code.String())
		}
	}
}
