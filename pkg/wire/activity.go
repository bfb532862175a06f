package wire

import (
	"time"

	"github.com/sluice-dev/sluice/pkg/media"
	sluicev1 "github.com/sluice-dev/sluice/proto/gen/sluice/v1"
)

// ActivityToProto translates how busy streams are, as of now; what never happened is absent.
func ActivityToProto(streams []media.StreamActivity, now time.Time) []*sluicev1.StreamActivity {
	var ms []*sluicev1.StreamActivity
	for _, s := range streams {
		m := &sluicev1.StreamActivity{Stream: new(s.Stream), UnitRate: new(s.Units), UnitAge: age(s.Newest, now)}
		for _, a := range s.Models {
			m.Models = append(m.Models, &sluicev1.ModelActivity{
				Model: new(a.Model), ResultRate: new(a.Results), DropRate: new(a.Drops), ErrorRate: new(a.Errors),
				ResultAge: age(a.Newest, now), LatencyP50: seconds(a.P50), LatencyP95: seconds(a.P95),
			})
		}
		ms = append(ms, m)
	}
	return ms
}

// age gives the seconds since a moment, nil for none.
func age(moment, now time.Time) *float64 {
	if moment.IsZero() {
		return nil
	}
	return new(max(0, now.Sub(moment).Seconds()))
}
