package ledger

import (
	"testing"
	"time"

	"github.com/sluice-dev/sluice/pkg/media"
)

// BenchmarkUnit is one unit's whole life, due for two models, with eight more units in flight.
func BenchmarkUnit(b *testing.B) {
	l := New("s", grace)
	if err := l.OpenStream("camera", []string{"faces", "classes"}); err != nil {
		b.Fatal(err)
	}
	dues := make([]media.Due, 2)
	result := &media.Result{}
	now := start
	b.ReportAllocs()
	for b.Loop() {
		now = now.Add(33 * time.Millisecond)
		dues[0] = media.Due{Model: "faces", Deadline: now.Add(250 * time.Millisecond)}
		dues[1] = media.Due{Model: "classes", Deadline: now.Add(500 * time.Millisecond)}
		n, _ := l.Receive("camera", Unit{Arrival: now}, dues)
		for _, d := range dues {
			l.Sent("camera", n, d.Model, "r", now)
			if n > 8 {
				l.Finalise(media.Outcome{Stream: "camera", Sequence: n - 8, Model: d.Model, Result: result}, now)
			}
		}
		l.Expire(now)
	}
}
