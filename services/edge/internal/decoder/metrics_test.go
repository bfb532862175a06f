package decoder_test

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sys/unix"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/services/edge/internal/decoder"
)

// values gives the values of a registry's counters and gauges by name, with the reason behind it where there is one.
func values(t *testing.T, registry *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[string]float64)
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := f.GetName()
			for _, l := range m.GetLabel() {
				name += " " + l.GetValue()
			}
			all[name] = m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return all
}

func measured(t *testing.T) (*prometheus.Registry, *decoder.Metrics) {
	t.Helper()
	registry := prometheus.NewRegistry()
	metrics, err := decoder.NewMetrics(registry)
	if err != nil {
		t.Fatal(err)
	}
	return registry, metrics
}

// TestMetricsOfProcesses has two decoders of an edge work, and ends one after the other.
func TestMetricsOfProcesses(t *testing.T) {
	registry, metrics := measured(t)
	var decoders []*decoder.Decoder
	for range 2 {
		decoders = append(decoders, open(t, func(c *decoder.Config) { c.Metrics = metrics }))
	}
	before := 0.0
	for _, d := range decoders {
		for i, u := range vp8Clip(t) {
			pictures, err := decode(d, 1, uint64(i), u, faces)
			if err != nil {
				t.Fatal(err)
			}
			release(pictures)
		}
		seconds := values(t, registry)["sluice_edge_decode_seconds_total"]
		if seconds <= before {
			t.Errorf("%v s after a clip, %v s before", seconds, before)
		}
		before = seconds
	}
	if got := values(t, registry); got["sluice_edge_decoders"] != 2 || got["sluice_edge_decoder_starts_total"] != 2 {
		t.Errorf("two processes run: %v", got)
	}
	for _, d := range decoders {
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
	}
	got := values(t, registry)
	if got["sluice_edge_decoders"] != 0 || got["sluice_edge_decoder_crashes_total ended"] != 0 {
		t.Errorf("both were closed: %v", got)
	}
	var children unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_CHILDREN, &children); err != nil {
		t.Fatal(err)
	}
	used := (time.Duration(children.Utime.Nano()) + time.Duration(children.Stime.Nano())).Seconds()
	if seconds := got["sluice_edge_decode_seconds_total"]; seconds < before || seconds > used {
		t.Errorf("%v s at the end, %v s before it; all children of this test used %v s", seconds, before, used)
	}
}

func TestMetricsOfCrashes(t *testing.T) {
	image := unit(media.PNG, encodePNG(t, noise(16, 16)))
	role := func(name string) func(*decoder.Config) {
		return func(c *decoder.Config) { c.Path = roleProgram(t, name) }
	}
	for reason, c := range map[string]struct {
		change func(*decoder.Config)
		kill   bool
		unit   media.AccessUnit
	}{
		"sandbox": {change: role("forbidden call"), unit: image},
		"answer":  {change: role("other tag"), unit: image},
		"ended":   {change: func(*decoder.Config) {}, kill: true, unit: image},
		"timeout": {change: func(c *decoder.Config) { c.Timeout = 50 * time.Millisecond }, unit: unit(media.JPEG, endlessJPEG(1920, 1080, 4<<20))},
	} {
		t.Run(reason, func(t *testing.T) {
			registry, metrics := measured(t)
			d := open(t, func(cfg *decoder.Config) { c.change(cfg); cfg.Metrics = metrics })
			if err := d.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
			if c.kill {
				if err := unix.Kill(d.PID(), unix.SIGKILL); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := decode(d, 1, 1, c.unit, faces); err == nil {
				t.Fatal("it was decoded")
			}
			got := values(t, registry)
			for _, other := range []string{"sandbox", "answer", "ended", "timeout"} {
				want := 0.0
				if other == reason {
					want = 1
				}
				if n := got["sluice_edge_decoder_crashes_total "+other]; n != want {
					t.Errorf("%s: %v, want %v", other, n, want)
				}
			}
			if got["sluice_edge_decoders"] != 0 {
				t.Errorf("%v processes are left", got["sluice_edge_decoders"])
			}
		})
	}
}
