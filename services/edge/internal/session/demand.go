package session

import (
	"maps"

	"github.com/sluice-dev/sluice/pkg/media"
)

// demands are what overloaded models can use of the session's streams. They are immutable.
type demands map[demandKey]media.Demand

// demandKey names a model of a stream; an empty model stands for all of them.
type demandKey struct{ stream, model string }

// with gives the demands with one more, or without it where it limits nothing.
func (d demands) with(one media.Demand) demands {
	next, key := maps.Clone(d), demandKey{one.Stream, one.Model}
	if one.MaxFramerate <= 0 {
		delete(next, key)
		return next
	}
	if next == nil {
		next = make(demands)
	}
	next[key] = one
	return next
}

// of gives what a model can use of a stream; false when that is all.
func (d demands) of(stream, model string) (media.Demand, bool) {
	if one, limited := d[demandKey{stream, model}]; limited {
		return one, true
	}
	one, limited := d[demandKey{stream: stream}]
	return one, limited
}

// limit gives the units a second that a model can use of a stream; zero means all.
func (w *wants) limit(stream, model string) float64 {
	d, _ := w.demands.of(stream, model)
	return d.MaxFramerate
}

// demand gives what all of a stream's models together can use of it: no limits unless one of them is overloaded, for then whatever is not looked at costs nobody but
// the client. rate is what the fastest of them takes, zero meaning every unit.
func (w *wants) demand(stream string, models []media.Model, rate float64) media.Demand {
	together, limited := media.Demand{Stream: stream}, false
	for _, m := range models {
		d, ok := w.demands.of(stream, m.Name)
		limited = limited || ok
		if d.MaxWidth == 0 || d.MaxHeight == 0 {
			picture := w.inputs[m.InputID].Picture
			d.MaxWidth, d.MaxHeight = picture.Width, picture.Height
		}
		together.MaxWidth, together.MaxHeight = max(together.MaxWidth, d.MaxWidth), max(together.MaxHeight, d.MaxHeight)
	}
	if !limited || rate == 0 {
		return media.Demand{Stream: stream}
	}
	together.MaxFramerate = rate
	return together
}
