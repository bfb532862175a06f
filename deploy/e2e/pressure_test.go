//go:build e2e

package e2e

import (
	"maps"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/sluice-dev/sluice/deploy/e2e/counter"
	"github.com/sluice-dev/sluice/deploy/e2e/stack"
)

const (
	// A picture takes the model so long, and slowness times as long while it is slow: it has time for all of a camera's 30 a second, and then for a third.
	picture  = 25 * time.Millisecond
	slowness = 4
	// fallLimit and riseLimit are how soon the browser must send less, and as much as before again.
	fallLimit, riseLimit = 3 * time.Second, 5 * time.Second
	// glance is the while over which rates are compared with what they were.
	glance = 600 * time.Millisecond
	// stay is how long the model stays slow: long enough to see that the browser keeps to what it was told.
	stay = 10 * time.Second
)

// The model becomes four times slower: the browser sends less than half the frames and bits within three seconds, the model is as busy as before, and all comes back within five seconds of its
// recovery. The camera encodes nothing that the model has no time for.
func TestPressureReachesTheCamera(t *testing.T) {
	site := pages(t)
	pace := new(counter.Pace)
	pace.Set(picture)
	s := stack.Start(t, stack.Options{
		Router: counter.ServeWith(t, counter.Options{Batch: 1, Pace: pace}), EdgeFlags: []string{"--http.origins", site},
	})
	d := keep(t, broadcast{edge: s, site: site, source: "camera", model: "counter"})
	before := d.steady(t)
	t.Logf("before: %.1f frames/s, %.0f kbit/s, %.1f results/s", before.frames, before.kilobits, before.results)

	slow := time.Now()
	pace.Set(slowness * picture)
	at := d.whenRates(t, fallLimit+busyGrace, "the browser sends half", slow, func(r rates) bool {
		return r.frames <= before.frames/2 && r.kilobits <= before.kilobits/2
	})
	t.Logf("%s after the model became slow, the last %s were at half", at.Sub(slow).Round(time.Millisecond), glance)
	kept := d.await(t, stay+time.Second, "the model has been slow for a while", func(e entry) bool { return e.time().Sub(slow) > stay })
	while := stay - fallLimit
	during, _ := d.rates(kept.time(), while)
	capacity := 1 / (slowness * picture).Seconds()
	t.Logf("while it was slow: told to send %.2f frames/s, sent %.1f, %.0f kbit/s, %.1f results/s of %.1f possible", d.demanded(), during.frames, during.kilobits, during.results, capacity)
	if during.frames > before.frames/2 || during.kilobits > before.kilobits/2 {
		t.Errorf("in the last %s of the slow model the browser sent %.1f frames/s and %.0f kbit/s: more than half of before", while, during.frames, during.kilobits)
	}
	if during.results < 0.85*capacity {
		t.Errorf("%.1f results/s, though the slow model has time for %.1f", during.results, capacity)
	}

	well := time.Now()
	pace.Set(picture)
	at = d.whenRates(t, riseLimit+busyGrace, "the browser sends as before", well, func(r rates) bool {
		return r.frames >= 0.85*before.frames && r.kilobits >= 0.7*before.kilobits && r.results >= 0.85*before.results
	})
	t.Logf("%s after it became well, the last %s were as before", at.Sub(well).Round(time.Millisecond), glance)
	for _, complaint := range d.close(t) {
		t.Errorf("the page: %s", complaint)
	}
}

// The same for what is more than one picture: of a simulcast's layers the one that is larger than the model's picture is not sent at all, of two videos each has its part.
func TestPressureOnLayersAndVideos(t *testing.T) {
	site := pages(t)
	for _, c := range []struct {
		name    string
		source  string
		layers  []layer
		picture time.Duration
		// share is what of its frames each video or layer may send while the model is slow; without one, its half.
		share map[string]float64
	}{
		{name: "simulcast", source: "card", layers: []layer{{"small", 2}, {"large", 1}}, picture: picture, share: map[string]float64{"large": 0.05}},
		{name: "two videos", source: "two cards", picture: picture / 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			pace := new(counter.Pace)
			pace.Set(c.picture)
			s := stack.Start(t, stack.Options{
				Router: counter.ServeWith(t, counter.Options{Batch: 1, Pace: pace}), EdgeFlags: []string{"--http.origins", site},
			})
			d := keep(t, broadcast{edge: s, site: site, source: c.source, model: "counter", layers: c.layers})
			before := d.steady(t)
			pace.Set(slowness * c.picture)
			slow := time.Now()
			at := d.whenRates(t, fallLimit+busyGrace, "the browser sends less", slow, func(r rates) bool {
				return all(before, func(name string, frames float64) bool {
					share, set := c.share[name]
					if !set {
						share = 0.5
					}
					return r.each[name] <= share*frames
				})
			})
			during, _ := d.rates(at, glance)
			well := time.Now()
			pace.Set(c.picture)
			back := d.whenRates(t, 2*riseLimit, "the browser sends as before", well, func(r rates) bool {
				return all(before, func(name string, frames float64) bool { return r.each[name] >= 0.8*frames })
			})
			t.Logf("frames/s before %v; while the model was slow, after %s, %v; again after %s", before.each, at.Sub(slow).Round(time.Millisecond), during.each, back.Sub(well).Round(time.Millisecond))
			if len(before.each) != 2 {
				t.Errorf("there are %d videos or layers, want 2", len(before.each))
			}
			for _, complaint := range d.close(t) {
				t.Errorf("the page: %s", complaint)
			}
		})
	}
}

// demanded gives the frames a second that the last demand asked for; 0 when there was none, or none is in force.
func (d *diary) demanded() float64 {
	for _, e := range slices.Backward(d.entries) {
		if e.Demand != nil {
			return e.Demand.MaxFramerate
		}
	}
	return 0
}

// steady waits until the browser sends its camera in full size, at a bitrate that does not grow any more, and gives the rates.
func (d *diary) steady(t *testing.T) (now rates) {
	t.Helper()
	const while, full, fast = 2 * time.Second, 640, 22 // of the camera's 30, on a machine that is busy with more
	d.await(t, 90*time.Second, "the browser sends all that it can", func(e entry) bool {
		if e.Sent == nil || e.Sent.Width < full {
			return false
		}
		var ok bool
		earlier, _ := d.rates(e.time().Add(-while), while)
		now, ok = d.rates(e.time(), while)
		return ok && slowest(now.each) >= fast && earlier.kilobits >= 0.9*now.kilobits
	})
	return now
}

// all tells whether what is said holds for each video or layer and the frames that it sent.
func all(before rates, holds func(name string, frames float64) bool) bool {
	for name, frames := range before.each {
		if !holds(name, frames) {
			return false
		}
	}
	return true
}

func slowest(each map[string]float64) float64 {
	return slices.Min(append(slices.Collect(maps.Values(each)), math.Inf(1)))
}

// whenRates waits until the rates of a glance, after a time, are such, and gives when that was.
func (d *diary) whenRates(t *testing.T, limit time.Duration, what string, after time.Time, such func(r rates) bool) time.Time {
	t.Helper()
	return d.await(t, limit, what, func(e entry) bool {
		if e.Sent == nil || e.time().Sub(after) < glance {
			return false
		}
		r, ok := d.rates(e.time(), glance)
		return ok && such(r)
	}).time()
}
