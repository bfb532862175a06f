package serve

import (
	"net/http"
	"net/http/pprof"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// AdminConfig configures the admin endpoints.
type AdminConfig struct {
	// Pprof also serves /debug/pprof/, which can slow the process down and shows its memory: off unless asked for.
	Pprof bool
	// Registry is served at /metrics.
	Registry *prometheus.Registry
	// Ready tells why the process is not ready, nil when it is. It is called for every request to /readyz and must answer at once.
	Ready func() error
}

// NewRegistry gives a metrics registry with the metrics of the Go runtime and the process in it, and sluice_build_info.
func NewRegistry() *prometheus.Registry {
	r := prometheus.NewRegistry()
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "sluice_build_info", Help: "Always 1. What runs is in the labels.",
		ConstLabels: prometheus.Labels{"version": Version(), "go": runtime.Version()},
	})
	build.Set(1)
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), build)
	return r
}

// readiness is the metric that says what /readyz does.
func readiness(ready func() error) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "sluice_ready", Help: "1 while /readyz says that the process is ready."}, func() float64 {
		if ready() != nil {
			return 0
		}
		return 1
	})
}

// Admin serves /livez (the process runs; it depends on nothing else), /readyz (200, or 503 with the reason) and /metrics.
func Admin(cfg AdminConfig) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok\n")) })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if err := cfg.Ready(); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		_, _ = w.Write([]byte("ok\n"))
	})
	// It can only be there already, where a process has two admin servers; it says the same then.
	_ = cfg.Registry.Register(readiness(cfg.Ready))
	mux.Handle("GET /metrics", promhttp.HandlerFor(cfg.Registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4, Timeout: 10 * time.Second}))
	if cfg.Pprof {
		mux.HandleFunc("GET /debug/pprof/", pprof.Index)
		mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
		mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
		mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	}
	return mux
}

// AdminServer wraps the admin endpoints in a server with time limits that no slow client can hold up.
func AdminServer(cfg AdminConfig) *http.Server {
	return &http.Server{
		Handler: Admin(cfg), ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, IdleTimeout: 60 * time.Second,
		MaxHeaderBytes: 16 << 10,
	}
}
