package decoder

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Why a process ended before its Decoder did.
const (
	whySandbox = "sandbox" // it asked for what its system-call filter forbids
	whyTimeout = "timeout" // it did not answer in time
	whyAnswer  = "answer"  // its answer could not be true
	whyEnded   = "ended"   // it ended by itself or was killed
)

// Metrics are what the decoders of an edge add up to. They are safe for concurrent use; a nil one counts nothing.
type Metrics struct {
	seconds prometheus.Counter
	running prometheus.Gauge
	starts  prometheus.Counter
	crashes *prometheus.CounterVec
}

// NewMetrics makes the metrics and registers them.
func NewMetrics(registry prometheus.Registerer) (*Metrics, error) {
	m := &Metrics{
		seconds: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "sluice_edge_decode_seconds_total",
			Help: "Processor time of the decoder processes, those that have ended included. Of a running one it is counted up to its last unit but one.",
		}),
		running: prometheus.NewGauge(prometheus.GaugeOpts{Name: "sluice_edge_decoders", Help: "Decoder processes that run."}),
		starts:  prometheus.NewCounter(prometheus.CounterOpts{Name: "sluice_edge_decoder_starts_total", Help: "Decoder processes that were started."}),
		crashes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sluice_edge_decoder_crashes_total",
			Help: "Decoder processes that ended before their session did. reason is sandbox (a forbidden system call), timeout (no answer in time), answer (one that cannot be true) or ended.",
		}, []string{"reason"}),
	}
	for _, why := range []string{whySandbox, whyTimeout, whyAnswer, whyEnded} {
		m.crashes.WithLabelValues(why) // shown before the first of them, so that a rate sees that one too
	}
	for _, c := range []prometheus.Collector{m.seconds, m.running, m.starts, m.crashes} {
		if err := registry.Register(c); err != nil {
			return nil, fmt.Errorf("register the decoders' metrics: %w", err)
		}
	}
	return m, nil
}

func (m *Metrics) started() {
	if m != nil {
		m.starts.Inc()
		m.running.Inc()
	}
}

func (m *Metrics) ended() {
	if m != nil {
		m.running.Dec()
	}
}

func (m *Metrics) spent(d time.Duration) {
	if m != nil && d > 0 {
		m.seconds.Add(d.Seconds())
	}
}

func (m *Metrics) crashed(state *os.ProcessState, cause error) {
	if m != nil {
		m.crashes.WithLabelValues(whyCrashed(state, cause)).Inc()
	}
}

// whyCrashed says in one word what ended a process, given how it ended and what its Decoder noticed.
func whyCrashed(state *os.ProcessState, cause error) string {
	switch {
	case violated(state):
		return whySandbox
	case errors.Is(cause, os.ErrDeadlineExceeded):
		return whyTimeout
	case isGone(cause):
		return whyEnded
	default:
		return whyAnswer
	}
}
