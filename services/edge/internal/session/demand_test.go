package session

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluice-dev/sluice/pkg/media"
)

// twoModels are faces, which takes every picture, and poses, which takes larger ones, 10 a second.
func twoModels() *wants {
	catalog := faces()
	catalog.Models = append(catalog.Models, media.Model{Name: "poses", InputID: 2, Rate: 10, Deadline: 2 * time.Second, Ready: true})
	catalog.Inputs = append(catalog.Inputs, media.Input{
		ID: 2, Form: media.PictureForm(media.PictureInput{Width: 64, Height: 16, Fit: media.Letterbox, Color: media.RGB}),
	})
	return newWants(catalog.Models, catalog.Inputs)
}

func TestDemandOfAllModelsTogether(t *testing.T) {
	t.Parallel()
	limit := func(stream, model string, rate float64) media.Demand {
		return media.Demand{Stream: stream, Model: model, MaxFramerate: rate}
	}
	nothing := media.Demand{Stream: "camera"}
	for _, c := range []struct {
		name    string
		demands []media.Demand
		want    media.Demand
	}{
		{"none", nil, nothing},
		{"of another stream", []media.Demand{limit("other", "faces", 3)}, nothing},
		{"of one, but another takes every picture", []media.Demand{limit("camera", "poses", 3)}, nothing},
		{"of the fastest", []media.Demand{limit("camera", "faces", 12)}, media.Demand{Stream: "camera", MaxFramerate: 12, MaxWidth: 64, MaxHeight: 32}},
		{"of the fastest, below the other's rate", []media.Demand{limit("camera", "faces", 3)}, media.Demand{Stream: "camera", MaxFramerate: 10, MaxWidth: 64, MaxHeight: 32}},
		{"of both", []media.Demand{limit("camera", "faces", 3), limit("camera", "poses", 4)}, media.Demand{Stream: "camera", MaxFramerate: 4, MaxWidth: 64, MaxHeight: 32}},
		{"of all", []media.Demand{limit("camera", "", 5)}, media.Demand{Stream: "camera", MaxFramerate: 5, MaxWidth: 64, MaxHeight: 32}},
		{"with a size of its own", []media.Demand{{Stream: "camera", Model: "faces", MaxFramerate: 12, MaxWidth: 100, MaxHeight: 50}},
			media.Demand{Stream: "camera", MaxFramerate: 12, MaxWidth: 100, MaxHeight: 50}},
		{"over again", []media.Demand{limit("camera", "faces", 3), limit("camera", "poses", 4), limit("camera", "faces", 0)}, nothing},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			live := &fixedWants{w: twoModels()}
			b := newBook("s", func(media.Outcome) {})
			defer b.close()
			s, err := newStream("camera", content{kind: media.KindPicture}, nil, live, b)
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range c.demands {
				next := *live.w
				next.demands = live.w.demands.with(d)
				live.w = &next
			}
			s.refresh()
			if s.told != c.want {
				t.Errorf("told %+v, want %+v", s.told, c.want)
			}
			if want := c.want != nothing; want != (len(live.demands) == 1) {
				t.Errorf("the client was told %+v", live.demands)
			}
			s.refresh()
			if len(live.demands) > 1 {
				t.Error("the client was told twice")
			}
		})
	}
}

// TestDemandThinsBeforeConversion has a router demand a tenth of a camera's pictures: the others are decoded for the sake of those after them, but neither due nor
// converted.
func TestDemandThinsBeforeConversion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, faces(), 1e9)
		second := func() {
			for range 30 {
				b.frame(b.seq == 0, 20)
				synctest.Wait()
				<-time.After(time.Second / 30)
			}
		}
		converted := func() (n int) {
			b.decoder.mu.Lock()
			defer b.decoder.mu.Unlock()
			for _, u := range b.decoder.units {
				n += len(u.Targets)
			}
			return n
		}
		demand := func(rate float64) {
			next := *b.live.w
			next.demands = next.demands.with(media.Demand{Stream: "camera", Model: "faces", MaxFramerate: rate})
			b.live.w = &next
		}
		second()
		demand(3)
		before := converted()
		second()
		if n := converted() - before; n < 2 || n > 4 {
			t.Errorf("%d pictures converted in a second, want 3", n)
		}
		c := b.book.counts()[0]
		if n := int(c.NotDue); n < 26 || n > 28 || c.Received != c.NotDue+c.Accepted {
			t.Errorf("counts: %+v, want 27 of 60 not due", c)
		}
		demand(0)
		before = converted()
		second()
		if n := converted() - before; n < 29 {
			t.Errorf("%d pictures converted in a second without a demand, want 30", n)
		}
		want := []media.Demand{{Stream: "camera", MaxFramerate: 3, MaxWidth: 32, MaxHeight: 32}, {Stream: "camera"}}
		if !slices.Equal(b.live.demands, want) {
			t.Errorf("the client was told %+v, want %+v", b.live.demands, want)
		}
		b.stop()
	})
}

// TestDemandOutlivesNewNeeds has the router change a model's needs while one is overloaded.
func TestDemandOutlivesNewNeeds(t *testing.T) {
	t.Parallel()
	s := fromUplink{&Session{tell: func() {}}}
	catalog := faces()
	s.Demand(media.Demand{Stream: "camera", Model: "faces", MaxFramerate: 3}) // before there is anything to limit
	s.Opened(catalog.Models, catalog.Inputs)
	if got := s.current().limit("camera", "faces"); got != 0 {
		t.Errorf("limited to %v before any demand", got)
	}
	s.Demand(media.Demand{Stream: "camera", Model: "faces", MaxFramerate: 3})
	s.Opened(catalog.Models, catalog.Inputs)
	if got := s.current().limit("camera", "faces"); got != 3 {
		t.Errorf("limited to %v after the needs changed, want 3", got)
	}
	s.Demand(media.Demand{Stream: "camera", Model: "faces"})
	if n := len(s.current().demands); n != 0 {
		t.Errorf("%d demands are kept after the last one ended", n)
	}
}
