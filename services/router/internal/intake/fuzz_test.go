package intake

import (
	"log/slog"
	"math"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/proto"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/pkg/wire"
	sluicev1 "github.com/sluice-dev/sluice/proto/gen/sluice/v1"
	"github.com/sluice-dev/sluice/services/router/internal/dispatch"
)

// strict is a dispatcher that fails the test when a frame breaks the rules that intake promises to keep.
type strict struct{ t *testing.T }

func (strict) Models() []media.Model {
	return []media.Model{
		{Name: "faces", InputID: 1, Deadline: 250 * ms}, {Name: "pose", InputID: 1, Deadline: 100 * ms}, {Name: "large", InputID: 2, Deadline: time.Second},
		{Name: "speech", InputID: 3, Deadline: 250 * ms}, {Name: "texts", InputID: 4, Deadline: 250 * ms},
	}
}

func (strict) Inputs() []media.Input {
	return []media.Input{
		{ID: 1, Form: media.PictureForm(small)},
		{ID: 2, Form: media.PictureForm(media.PictureInput{Width: 3, Height: 3, Fit: media.Crop, Color: media.BGR})},
		{ID: 3, Form: media.SoundForm(media.SoundInput{Rate: 8000, Window: 4, Hop: 2, Context: 1}), Window: 5},
		{ID: 4, Form: media.DocumentForm()},
	}
}

func (s strict) Submit(f *dispatch.Frame) {
	s.check(f)
	n := f.Payload.Len()
	if fits := map[uint32]bool{1: n == small.Bytes(), 2: n == 27, 3: n == 10, 4: n > 0 && n <= 4<<20}; !fits[f.InputID] {
		s.t.Errorf("submitted %d bytes for input %d", n, f.InputID)
	}
	if f.InputID < 3 && f.Placement.Width <= 0 {
		s.t.Errorf("submitted a picture that lies nowhere: %+v", f.Placement)
	}
	for _, due := range f.Due {
		f.Owner.Ended(f, media.Outcome{Stream: f.Stream, Sequence: f.Sequence, Model: due.Model, Drop: media.Superseded})
	}
	f.Free()
}

func (s strict) Drop(f *dispatch.Frame, reason media.DropReason) {
	s.check(f)
	for _, due := range f.Due {
		f.Owner.Ended(f, media.Outcome{Stream: f.Stream, Sequence: f.Sequence, Model: due.Model, Drop: reason})
	}
	f.Free()
}

func (strict) Forget(dispatch.Owner, string) {}
func (strict) Knows(string) bool             { return true }

func (s strict) check(f *dispatch.Frame) {
	seen := map[string]bool{}
	for _, due := range f.Due {
		if seen[due.Model] || due.Deadline.Sub(f.Arrived) > time.Second {
			s.t.Errorf("frame due for %q again or for %v", due.Model, due.Deadline.Sub(f.Arrived))
		}
		seen[due.Model] = true
	}
	for _, n := range []float64{f.Placement.X, f.Placement.Y, f.Placement.Width, f.Placement.Height} {
		if math.IsNaN(n) || math.IsInf(n, 0) {
			s.t.Errorf("placement %+v", f.Placement)
		}
	}
	if len(seen) == 0 || f.Stream == "" || f.Sequence == 0 {
		s.t.Errorf("frame without a model, stream or sequence: %+v", f.Frame)
	}
}

// FuzzAccept feeds a call whatever an edge could send as its frames.
func FuzzAccept(f *testing.F) {
	add := func(change func(*sluicev1.Frame)) {
		m := frame("camera", 1, 1, 200*ms, "faces", "pose")
		change(m)
		b, err := proto.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b, b)
	}
	add(func(*sluicev1.Frame) {})
	add(func(m *sluicev1.Frame) { m.Payload = nil })
	add(func(m *sluicev1.Frame) { m.InputId = new(uint32(2)) })
	add(func(m *sluicev1.Frame) { m.InputId = new(uint32(9)) })
	add(func(m *sluicev1.Frame) { m.Due[0].Remaining = new(math.Inf(-1)) })
	add(func(m *sluicev1.Frame) { m.Due[0].Remaining = new(1e300) })
	add(func(m *sluicev1.Frame) { m.Due[0].Model = new("pose") })
	add(func(m *sluicev1.Frame) { m.Placement.Width = new(math.Copysign(0, -1)) })
	add(func(m *sluicev1.Frame) { m.Clock = new(sluicev1.Outcome_Clock(-1)) })
	add(func(m *sluicev1.Frame) {
		m.InputId, m.Due, m.Placement, m.Payload, m.FirstSample = new(uint32(3)), m.GetDue()[:1], nil, make([]byte, 10), new(uint32(math.MaxUint32))
		m.Due[0].Model = new("speech")
	})
	add(func(m *sluicev1.Frame) {
		m.InputId, m.Due, m.Placement, m.Payload = new(uint32(4)), m.GetDue()[:1], nil, []byte("{}")
		m.Due[0].Model = new("texts")
	})
	f.Add([]byte{}, []byte{0xff})
	f.Fuzz(func(t *testing.T, first, second []byte) {
		s, err := New(Config{
			Dispatcher: strict{t}, Window: 1, Outbox: 4, Streams: 1, Registry: prometheus.NewRegistry(), Logger: slog.New(slog.DiscardHandler),
		})
		if err != nil {
			t.Fatal(err)
		}
		c := newCall(s, "s", nil)
		c.refit(strict{t}.Models(), strict{t}.Inputs())
		for i, b := range [][]byte{first, second} {
			if i > 0 && len(first)%2 == 0 { // the models change in between, which the edge does not know yet
				c.refit(strict{t}.Models()[1:], strict{t}.Inputs()[1:])
			}
			m := &sluicev1.Frame{}
			if proto.Unmarshal(b, m) != nil {
				continue
			}
			held := 1
			request := &wire.Request{
				Message: &sluicev1.StreamRequest{Body: &sluicev1.StreamRequest_Frame{Frame: m}},
				Payload: media.Payload{m.GetPayload()}, Release: func() { held-- },
			}
			m.Payload = nil
			err := c.accept(request, time.Now())
			if held != 0 {
				t.Errorf("the payload is held %d times after the end", held)
			}
			if err != nil {
				break // the call would be over
			}
		}
		if len(c.books.open) != 0 {
			t.Errorf("%d frames are open though all were answered", len(c.books.open))
		}
		counts, _ := c.books.state(time.Now())
		for _, stream := range counts {
			for _, m := range stream.Models {
				if m.InFlight != 0 || m.Accepted != m.Drops[media.Superseded]+m.Drops[media.Expired]+m.Drops[media.Overloaded] {
					t.Errorf("counts do not add up: %+v", m)
				}
			}
		}
	})
}
