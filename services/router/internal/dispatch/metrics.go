package dispatch

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-dev/sluice/pkg/batch"
	"github.com/sluice-dev/sluice/pkg/media"
)

// The states of an instance.
const (
	well    = iota // ready, and its last batch was answered
	failing        // ready, but its last batch was not answered, or with nonsense
	away           // not ready
	instanceStates
)

// Why a batch was run again.
const (
	whyLost    = iota // its instance was lost
	whyRefused        // the model refused it
	whys
)

// What the policy said.
const (
	decidedSend   = iota
	decidedExpire // only that frames are not worth sending
	decidedWait   // nothing, with an instance that could take a batch
	decidedFull   // that no instance can take a batch now
	decisions
)

// metrics are the dispatcher's metrics. Their labels name models and closed sets of words, never sessions or streams.
type metrics struct {
	accepted, outcomes, late, again, givenUp, decisions *prometheus.CounterVec
	inFlight, batches, instances                        *prometheus.GaugeVec
	overloaded, capacity, demand, pressure              *prometheus.GaugeVec
	batchSize, queueTime, inferFor, forecast            *prometheus.HistogramVec
}

// modelMetrics are the metrics of one model, looked up once.
type modelMetrics struct {
	accepted, late, givenUp                  prometheus.Counter
	inFlight, batches                        prometheus.Gauge
	overloaded, capacity, demand, pressure   prometheus.Gauge
	batchSize, queueTime, inferFor, forecast prometheus.Observer
	results                                  prometheus.Counter
	drops                                    [media.Draining + 1]prometheus.Counter
	errors                                   [media.Internal + 1]prometheus.Counter
	reruns                                   [whys]prometheus.Counter
	decisions                                [decisions]prometheus.Counter
	instances                                [instanceStates]prometheus.Gauge
}

func newMetrics(registry prometheus.Registerer) (*metrics, error) {
	var all []prometheus.Collector
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		v := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "sluice_router_" + name, Help: help}, append([]string{"model"}, labels...))
		all = append(all, v)
		return v
	}
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		v := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "sluice_router_" + name, Help: help}, append([]string{"model"}, labels...))
		all = append(all, v)
		return v
	}
	histogram := func(name, help string, buckets ...float64) *prometheus.HistogramVec {
		v := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "sluice_router_" + name, Help: help, Buckets: buckets}, []string{"model"})
		all = append(all, v)
		return v
	}
	seconds := []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5}
	m := &metrics{
		accepted: counter("accepted_total", "Frames taken in, once for each model that they are due for."),
		outcomes: counter("outcomes_total",
			"What became of the accepted frames. kind is result, drop or error; reason is the drop's reason or the error's code. accepted = outcomes + in flight.",
			"kind", "reason"),
		late: counter("late_answers_total", "Frames answered by the model after their deadline; the answers were thrown away."),
		again: counter("batches_again_total",
			"Batches that were run again, whole or in part. reason is lost (the instance did not answer) or refused (the model's answer was an error).", "reason"),
		givenUp:   counter("batches_given_up_total", "Batches that were cancelled because they were overdue and another instance was there."),
		decisions: counter("decisions_total", "What the scheduler decided: send, expire, wait (no frame is worth a batch) or full (no instance can take one).", "decision"),
		inFlight:  gauge("in_flight", "Accepted frames without an outcome."),
		batches:   gauge("batches_in_flight", "Batches that the backend has not given back, overdue ones included."),
		instances: gauge("instances",
			"Instances of the model by state: well, failing (ready, but the last batch had no answer, or one that another instance does not give) or away (not ready).", "state"),
		overloaded: gauge("overloaded", "1 while more frames come than the model can answer in time."),
		capacity:   gauge("capacity_frames", "Frames a second that the model can answer in time, as far as is known; 0 when it is not."),
		pressure: gauge("model_pressure",
			"Frames a second that the model's streams would send if nothing were demanded of them, as a multiple of capacity_frames; 0 while that is not known."),
		demand:    gauge("demand_frames", "Frames a second that each stream is asked to keep to, for the model's overload; 0 when it may send all."),
		batchSize: histogram("batch_size", "Frames in a batch.", 1, 2, 4, 8, 16, 32, 64),
		queueTime: histogram("queue_seconds", "Arrival of a frame to the sending of its batch.", seconds...),
		inferFor:  histogram("infer_seconds", "Sending of a batch to the backend's giving it back.", seconds...),
		forecast: histogram("forecast_ratio", "What a batch took, as a multiple of what the scheduler expected; batches that did not run are not counted.",
			.5, .75, .9, 1, 1.1, 1.33, 2, 4),
	}
	for _, c := range all {
		if err := registry.Register(c); err != nil {
			return nil, fmt.Errorf("register the dispatcher's metrics: %w", err)
		}
	}
	return m, nil
}

func (m *metrics) of(model string) *modelMetrics {
	mm := &modelMetrics{
		accepted: m.accepted.WithLabelValues(model), late: m.late.WithLabelValues(model), givenUp: m.givenUp.WithLabelValues(model),
		inFlight: m.inFlight.WithLabelValues(model), batches: m.batches.WithLabelValues(model),
		overloaded: m.overloaded.WithLabelValues(model), capacity: m.capacity.WithLabelValues(model), demand: m.demand.WithLabelValues(model),
		pressure:  m.pressure.WithLabelValues(model),
		batchSize: m.batchSize.WithLabelValues(model), queueTime: m.queueTime.WithLabelValues(model),
		inferFor: m.inferFor.WithLabelValues(model), forecast: m.forecast.WithLabelValues(model),
		results: m.outcomes.WithLabelValues(model, "result", ""),
	}
	for _, r := range media.DropReasons() {
		mm.drops[r] = m.outcomes.WithLabelValues(model, "drop", r.String())
	}
	for _, c := range media.ErrorCodes() {
		mm.errors[c] = m.outcomes.WithLabelValues(model, "error", c.String())
	}
	for i, word := range [whys]string{whyLost: "lost", whyRefused: "refused"} {
		mm.reruns[i] = m.again.WithLabelValues(model, word)
	}
	for i, word := range [decisions]string{decidedSend: "send", decidedExpire: "expire", decidedWait: "wait", decidedFull: "full"} {
		mm.decisions[i] = m.decisions.WithLabelValues(model, word)
	}
	for i, word := range [instanceStates]string{well: "well", failing: "failing", away: "away"} {
		mm.instances[i] = m.instances.WithLabelValues(model, word)
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
func (m *modelMetrics) weighed(load batch.Load, level, pressure float64) {
	over := 0.0
	if load.Overloaded {
		over = 1
	}
	m.overloaded.Set(over)
	m.capacity.Set(load.Capacity)
	m.demand.Set(level)
	m.pressure.Set(pressure)
}

// surveyed shows how many instances are in each state.
func (m *modelMetrics) surveyed(states [instanceStates]int) {
	for i, n := range states {
		m.instances[i].Set(float64(n))
	}
}

// decided counts a decision.
func (m *modelMetrics) decided(d batch.Decision) {
	switch {
	case len(d.Send) > 0:
		m.decisions[decidedSend].Inc()
	case len(d.Expire) > 0:
		m.decisions[decidedExpire].Inc()
	case d.Instance == batch.NoInstance:
		m.decisions[decidedFull].Inc()
	default:
		m.decisions[decidedWait].Inc()
	}
}

// again counts a batch that is run again.
func (m *modelMetrics) again(why int) { m.reruns[why].Inc() }

// sent counts a batch on its way.
func (m *modelMetrics) sent(f *flight) {
	m.batches.Inc()
	m.batchSize.Observe(float64(len(f.seats)))
	for i := range f.seats {
		m.queueTime.Observe(f.sent.Sub(f.seats[i].job.frame.Arrived).Seconds())
	}
}

// landed counts a batch that came back.
func (m *modelMetrics) landed(f *flight, late int) {
	took := f.ended.Done.Sub(f.sent).Seconds()
	m.batches.Dec()
	m.inferFor.Observe(took)
	m.late.Add(float64(late))
	if f.expected.After(f.sent) && f.ended.End == batch.Ran {
		m.forecast.Observe(took / f.expected.Sub(f.sent).Seconds())
	}
}
