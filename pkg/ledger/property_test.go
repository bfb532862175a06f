package ledger

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/sluice-dev/sluice/pkg/media"
)

// world drives a ledger with random operations and keeps its own, naive books beside it.
type world struct {
	l     *Ledger
	now   time.Time
	owed  map[string]time.Time // open pairs with the time to give them up
	sent  map[string]bool
	ended map[string]int // outcomes by pair
	units map[string]uint32
	open  map[string]bool
}

var (
	streamNames = []string{"a", "b", "c"}
	modelNames  = []string{"m", "n"}
)

func key(stream string, sequence uint32, model string) string {
	return fmt.Sprint(stream, "/", sequence, "/", model)
}

func (w *world) took(t *rapid.T, outcomes ...media.Outcome) {
	for _, o := range outcomes {
		k := key(o.Stream, o.Sequence, o.Model)
		if _, ok := w.owed[k]; !ok {
			t.Fatalf("outcome %s for a pair that is owed none (%d before)", brief(o), w.ended[k])
		}
		ends := 0
		for _, is := range []bool{o.Result != nil, o.Drop != media.NotDropped, o.Error != media.NoError} {
			if is {
				ends++
			}
		}
		if ends != 1 || o.Session != "s" || o.Timings.Total < 0 {
			t.Fatalf("outcome %+v", o)
		}
		w.ended[k]++
		delete(w.owed, k)
	}
}

func (w *world) receive(t *rapid.T) {
	stream := rapid.SampledFrom(streamNames).Draw(t, "stream")
	var dues []media.Due
	for _, m := range rapid.SliceOfN(rapid.SampledFrom(modelNames), 0, 3).Draw(t, "models") {
		dues = append(dues, media.Due{Model: m, Deadline: w.now.Add(time.Duration(rapid.IntRange(-50, 300).Draw(t, "deadline")) * time.Millisecond)})
	}
	n, forced := w.l.Receive(stream, Unit{Arrival: w.now}, dues)
	w.took(t, forced...)
	if (n != 0) != w.open[stream] {
		t.Fatalf("Receive(%s) = %d while open = %v", stream, n, w.open[stream])
	}
	if n == 0 {
		return
	}
	w.units[stream]++
	if n != w.units[stream] {
		t.Fatalf("Receive(%s) = %d, want %d", stream, n, w.units[stream])
	}
	for _, d := range dues {
		if _, ok := w.owed[key(stream, n, d.Model)]; !ok {
			w.owed[key(stream, n, d.Model)] = d.Deadline.Add(grace)
		}
	}
}

func (w *world) pick(t *rapid.T) (stream string, sequence uint32, model string) {
	stream = rapid.SampledFrom(streamNames).Draw(t, "stream")
	last := int(w.units[stream])
	sequence = uint32(rapid.IntRange(max(0, last-20), last+1).Draw(t, "sequence"))
	return stream, sequence, rapid.SampledFrom(modelNames).Draw(t, "model")
}

func (w *world) finalise(t *rapid.T) {
	stream, sequence, model := w.pick(t)
	o := media.Outcome{Stream: stream, Sequence: sequence, Model: model}
	switch rapid.IntRange(0, 3).Draw(t, "end") {
	case 0:
		o.Result = &media.Result{}
	case 1:
		o.Drop = rapid.SampledFrom(media.DropReasons()).Draw(t, "reason")
	case 2:
		o.Error = rapid.SampledFrom(media.ErrorCodes()).Draw(t, "code")
	}
	_, owed := w.owed[key(stream, sequence, model)]
	got, ok := w.l.Finalise(o, w.now)
	if ok != owed {
		t.Fatalf("Finalise(%s) = %v, want %v", brief(o), ok, owed)
	}
	if ok {
		w.took(t, got)
	}
}

func (w *world) send(t *rapid.T) {
	stream, sequence, model := w.pick(t)
	w.l.Sent(stream, sequence, model, "r", w.now)
	w.sent[key(stream, sequence, model)] = true
}

func (w *world) expire(t *rapid.T) {
	w.now = w.now.Add(time.Duration(rapid.IntRange(0, 200).Draw(t, "pass")) * time.Millisecond)
	out := w.l.Expire(w.now)
	w.took(t, out...)
	for _, o := range out {
		if o.Error == media.RouterLost && !w.sent[key(o.Stream, o.Sequence, o.Model)] {
			t.Fatalf("%s, but it was never sent", brief(o))
		}
	}
	for k, until := range w.owed {
		if !until.After(w.now) {
			t.Fatalf("%s is still open at %v, owed by %v", k, w.now.Sub(start), until.Sub(start))
		}
	}
}

// check holds the ledger against invariant 1: the counts add up, and in flight is what is owed.
func (w *world) check(t *rapid.T) {
	flying, first := 0, time.Time{}
	for _, until := range w.owed {
		flying++
		if first.IsZero() || until.Before(first) {
			first = until
		}
	}
	next, ok := w.l.Next()
	if ok != (flying > 0) || !next.Equal(first) {
		t.Fatalf("Next = %v, %v; the first of %d is owed by %v", next, ok, flying, first)
	}
	for _, s := range w.l.Counts() {
		if s.Received != w.units[s.Stream] || s.Received != s.NotDue+s.Accepted {
			t.Fatalf("stream counts %+v, %d units", s, w.units[s.Stream])
		}
		for _, m := range s.Models {
			sum := m.Results + m.InFlight
			for _, n := range m.Drops {
				sum += n
			}
			for _, n := range m.Errors {
				sum += n
			}
			if m.Accepted != sum || m.Accepted+m.NotSampled != s.Received {
				t.Fatalf("%s: model counts %+v do not add up to %d", s.Stream, m, s.Received)
			}
			flying -= int(m.InFlight)
		}
	}
	if flying != 0 {
		t.Fatalf("in flight differs from what is owed by %d", flying)
	}
}

func TestEveryInterleavingAddsUp(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w := &world{
			l: New("s", grace), now: start, owed: map[string]time.Time{}, sent: map[string]bool{}, ended: map[string]int{},
			units: map[string]uint32{}, open: map[string]bool{},
		}
		t.Repeat(map[string]func(*rapid.T){
			"open": func(t *rapid.T) {
				stream := rapid.SampledFrom(streamNames).Draw(t, "stream")
				if err := w.l.OpenStream(stream, modelNames); err != nil {
					t.Fatal(err)
				}
				w.open[stream] = true
			},
			"close": func(t *rapid.T) {
				stream := rapid.SampledFrom(streamNames).Draw(t, "stream")
				w.took(t, w.l.CloseStream(stream, w.now)...)
				w.open[stream] = false
			},
			"flood": func(t *rapid.T) { // so many that units leave the window
				for range rapid.IntRange(1, 40).Draw(t, "units") * 20 {
					w.now = w.now.Add(time.Microsecond)
					n, forced := w.l.Receive("a", Unit{Arrival: w.now}, []media.Due{{Model: "m", Deadline: w.now.Add(time.Minute)}})
					w.took(t, forced...)
					if n != 0 {
						w.units["a"]++
						w.owed[key("a", n, "m")] = w.now.Add(time.Minute + grace)
					}
				}
			},
			"receive":  w.receive,
			"receive2": w.receive,
			"finalise": w.finalise,
			"sent":     w.send,
			"expire":   w.expire,
			"":         w.check,
		})
		w.took(t, w.l.Close(w.now)...)
		w.check(t)
		if len(w.owed) != 0 {
			t.Fatalf("after Close %d pairs have no outcome", len(w.owed))
		}
		for k, n := range w.ended {
			if n != 1 {
				t.Fatalf("%s had %d outcomes", k, n)
			}
		}
	})
}
