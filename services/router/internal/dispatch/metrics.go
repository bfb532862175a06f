package dispatch

import (
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-dev/sluice/pkg/batch"
	"github.com/sluice-dev/sluice/pkg/media"
)

// metrics are the dispatcher's metrics. Their labels name models and the closed sets of reasons and codes, never sessions or streams.
type metrics struct {
	accepted, outcomes, late       *prometheus.CounterVec
	inFlight, batches              *prometheus.GaugeVec
	overloaded, capacity, demand   *prometheus.GaugeVec
	batchSize, queueTime, inferFor *prometheus.HistogramVec
}

// modelMetrics are the metrics of one model, looked up once.
type modelMetrics struct {
	accepted, late                 prometheus.Counter
	inFlight, batches              prometheus.Gauge
	overloaded, capacity, demand   prometheus.Gauge
	batchSize, queueTime, inferFor prometheus.Observer
	results                        prometheus.Counter
	drops                          [media.Draining + 1]prometheus.Counter
	errors                         [media.Internal + 1]prometheus.Counter
}

func newMetrics(registry prometheus.Registerer) (*metrics, error) {
	byModel := []string{"model"}
	seconds := []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5}
	m := &metrics{
		accepted: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sluice_router_accepted_total", Help: "Frames taken in, once for each model that they are due for.",
		}, byModel),
		outcomes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sluice_router_outcomes_total",
			Help: "What became of the accepted frames. kind is result, drop or error; reason is the drop's reason or the error's code. accepted = outcomes + in flight.",
		}, []string{"model", "kind", "reason"}),
		late: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sluice_router_late_answers_total", Help: "Frames answered by the model after their deadline; the answers were thrown away.",
		}, byModel),
		inFlight: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "sluice_router_in_flight", Help: "Accepted frames without an outcome.",
		}, byModel),
		batches: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "sluice_router_batches_in_flight", Help: "Batches that the backend has not given back, overdue ones included.",
		}, byModel),
		overloaded: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "sluice_router_overloaded", Help: "1 while more frames come than the model can answer in time.",
		}, byModel),
		capacity: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "sluice_router_capacity_frames", Help: "Frames a second that the model can answer in time, as far as is known; 0 when it is not.",
		}, byModel),
		demand: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "sluice_router_demand_frames", Help: "Frames a second that each stream is asked to keep to, for the model's overload; 0 when it may send all.",
		}, byModel),
		batchSize: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "sluice_router_batch_size", Help: "Frames in a batch.", Buckets: []float64{1, 2, 4, 8, 16, 32, 64},
		}, byModel),
		queueTime: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "sluice_router_queue_seconds", Help: "Arrival of a frame to the sending of its batch.", Buckets: seconds,
		}, byModel),
		inferFor: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "sluice_router_infer_seconds", Help: "Sending of a batch to the backend's giving it back.", Buckets: seconds,
		}, byModel),
	}
	for _, c := range []prometheus.Collector{m.accepted, m.outcomes, m.late, m.inFlight, m.batches, m.overloaded, m.capacity, m.demand, m.batchSize, m.queueTime, m.inferFor} {
		if err := registry.Register(c); err != nil {
			return nil, fmt.Errorf("register the dispatcher's metrics: %w", err)
		}
	}
	return m, nil
}

func (m *metrics) of(model string) *modelMetrics {
	mm := &modelMetrics{
		overloaded: m.overloaded.WithLabelValues(model), capacity: m.capacity.WithLabelValues(model), demand: m.demand.WithLabelValues(model),
		accepted: m.accepted.WithLabelValues(model), late: m.late.WithLabelValues(model), inFlight: m.inFlight.WithLabelValues(model),
		batches: m.batches.WithLabelValues(model), batchSize: m.batchSize.WithLabelValues(model), queueTime: m.queueTime.WithLabelValues(model),
		inferFor: m.inferFor.WithLabelValues(model), results: m.outcomes.WithLabelValues(model, "result", ""),
	}
	for _, r := range media.DropReasons() {
		mm.drops[r] = m.outcomes.WithLabelValues(model, "drop", r.String())
	}
	for _, c := range media.ErrorCodes() {
		mm.errors[c] = m.outcomes.WithLabelValues(model, "error", c.String())
	}
	return mm
}

// ended counts an outcome.
func (m *modelMetrics) ended(o media.Outcome) {
	m.inFlight.Dec()
	switch {
	case o.Drop != media.NotDropped:
		m.drops[o.Drop].Inc()
	case o.Error != media.NoError:
		m.errors[o.Error].Inc()
	default:
		m.results.Inc()
	}
}

// weighed shows how the model stands.
func (m *modelMetrics) weighed(load batch.Load, level float64) {
	over := 0.0
	if load.Overloaded {
		over = 1
	}
	m.overloaded.Set(over)
	m.capacity.Set(load.Capacity)
	m.demand.Set(level)
}

// sent counts a batch on its way.
func (m *modelMetrics) sent(f *flight, now time.Time) {
	m.batches.Inc()
	m.batchSize.Observe(float64(len(f.jobs)))
	for _, j := range f.jobs {
		m.queueTime.Observe(now.Sub(j.frame.Arrived).Seconds())
	}
}

// landed counts a batch that came back.
func (m *modelMetrics) landed(f *flight, now time.Time, late int) {
	m.batches.Dec()
	m.inferFor.Observe(now.Sub(f.sent).Seconds())
	m.late.Add(float64(late))
}
