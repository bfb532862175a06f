package session

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/transport/v5/vnet"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/services/edge/internal/uplink"
)

// The tests of this file are the edge cases of simulcast.

// taking gives a catalog of one model that takes pictures of a size, ten a second.
func taking(width, height int) uplink.Catalog {
	c := faces()
	c.Models[0].Rate = 10
	c.Inputs[0].Form = media.PictureForm(media.PictureInput{Width: width, Height: height, Fit: media.Letterbox, Color: media.RGB})
	return c
}

// only checks that all pictures are of one layer, and that there are enough of them.
func only(t *testing.T, what string, pictures []scenePicture, layer, least int) {
	t.Helper()
	for _, p := range pictures {
		if p.layer != layer {
			t.Errorf("%s: picture %d is of layer %d, want %d", what, p.number, p.layer, layer)
			return
		}
	}
	if len(pictures) < least {
		t.Errorf("%s: %d pictures, want %d", what, len(pictures), least)
	}
}

func TestEdgeCase09ALayerVanishesAndReturns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const low, top, middle = 0, 1, 2
		s := beginScene(t, taking(1280, 720))
		defer s.end()
		s.run(2 * time.Second)
		settled := time.Now()
		s.run(3 * time.Second)
		only(t, "while all is well", s.since(settled), top, 85)

		s.layers[top].stops = true
		vanished := time.Now()
		s.run(4 * time.Second)
		fallen := s.since(vanished.Add(100 * time.Millisecond))
		only(t, "after the top vanished", fallen, middle, 85)
		if len(fallen) == 0 || fallen[0].at.Sub(vanished) > time.Second {
			t.Fatalf("it took more than a second to fall back: %+v", fallen)
		}

		s.layers[top].stops = false
		back := time.Now()
		s.run(6 * time.Second)
		up := s.since(back)
		i := slices.IndexFunc(up, func(p scenePicture) bool { return p.layer == top })
		if i < 0 {
			t.Fatal("it never went back up")
		}
		if after := up[i].at.Sub(back); after < 2*time.Second || after > 3*time.Second {
			t.Errorf("back up after %v", after)
		}
		only(t, "from then on", up[i:], top, 85)
		for j := 1; j < len(up); j++ {
			if pause := up[j].at.Sub(up[j-1].at); pause > 70*time.Millisecond {
				t.Errorf("going up cost %v without a picture", pause)
			}
		}

		s.session.Close("test")
		counts := checkCounts(t, s.session)
		if c := counts["camera"].Models[0]; len(counts) != 1 || c.Drops != [media.Draining + 1]uint32{} || c.Errors != [media.Internal + 1]uint32{} {
			t.Errorf("%d streams; %+v", len(counts), c)
		}
		s.checkFrames(t, vanished, fallen[0].at)
		for i, l := range s.layers {
			keys, packets := l.asked()
			if keys > 4 || packets > 0 {
				t.Errorf("layer %d was asked for %d key frames and %d times for packets", i, keys, packets)
			}
		}
		t.Logf("fell back after %v", fallen[0].at.Sub(vanished))
	})
}

// checkFrames checks that frames went up ten a second, but for the time of an outage, each named after the layer that it shows.
func (s *staging) checkFrames(t *testing.T, from, until time.Time) {
	t.Helper()
	frames := s.rig.uplinks[0].frames
	var last scenePicture
	for i, f := range frames {
		p, ok := s.sent[f.RTP]
		switch {
		case !ok:
			t.Errorf("frame %d has %+v, which was never sent", i, f.RTP)
		case i == 0:
		case f.Sequence <= frames[i-1].Sequence:
			t.Errorf("frame %d has sequence %d after %d", i, f.Sequence, frames[i-1].Sequence)
		case p.at.After(until) || p.at.Before(from):
			if gap := p.at.Sub(last.at); (gap < 60*time.Millisecond || gap > 140*time.Millisecond) && last.at.Sub(from).Abs() > time.Second {
				t.Errorf("frame %d is of %v after the one before", i, gap)
			}
		}
		last = p
	}
	if len(frames) < 130 || len(frames) > 155 {
		t.Errorf("%d frames in 15 s", len(frames))
	}
}

func TestEdgeCase09TheLayerIsTheOneThatTheModelsNeed(t *testing.T) {
	for name, c := range map[string]struct{ width, height, layer int }{
		"small": {300, 300, 0}, "middle": {640, 360, 2}, "large": {700, 700, 1}, "larger than all": {4000, 4000, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := beginScene(t, taking(c.width, c.height))
				defer s.end()
				s.run(2 * time.Second)
				from := time.Now()
				s.run(2 * time.Second)
				only(t, "after two seconds", s.since(from), c.layer, 55)
				other := taking(64, 64)
				s.session.wants.Store(newWants(other.Models, other.Inputs))
				s.run(time.Second)
				from = time.Now()
				s.run(time.Second)
				only(t, "when the model wants less", s.since(from), 0, 28)
			})
		})
	}
}

// lose takes every twentieth packet of the media away.
func (s *staging) lose() {
	passed := 0
	s.network.router.AddChunkFilter(func(c vnet.Chunk) bool { // called from one goroutine
		b := c.UserData()
		if len(b) < 12 || b[0]>>6 != 2 || b[1]&0x7f != 96 {
			return true
		}
		passed++
		return passed%20 != 0
	})
}

func TestEdgeCase09OnlyTheLayerInUseIsRepaired(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const inUse = 2
		s := beginScene(t, taking(640, 360))
		defer s.end()
		s.run(3 * time.Second)
		s.lose()
		from := time.Now()
		s.run(5 * time.Second)
		only(t, "with losses", s.since(from.Add(100*time.Millisecond)), inUse, 140)
		for i, l := range s.layers {
			keys, packets := l.asked()
			if packets > 0 != (i == inUse) {
				t.Errorf("layer %d was asked for packets %d times", i, packets)
			}
			if keys > 1 {
				t.Errorf("layer %d was asked for %d key frames", i, keys)
			}
		}
	})
}

func TestEdgeCase09LayersOfAnnouncedSizes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const inUse = 2
		s := beginSceneWith(t, taking(640, 360), withRepairNames, strings.NewReplacer(
			"a=rid:x send", "a=rid:x send max-width=320;max-height=180",
			"a=rid:a send", "a=rid:a send max-width=1280;max-height=720",
			"a=rid:m send", "a=rid:m send max-width=640;max-height=360",
		).Replace)
		defer s.end()
		if !strings.Contains(s.answer, "a=simulcast:recv x;m\r\n") || strings.Contains(s.answer, "a=rid:a ") {
			t.Errorf("the answer is\n%s", s.answer)
		}
		s.layers[1].stops = true // as a client does that reads the answer
		s.run(time.Second)
		from := time.Now()
		s.run(2 * time.Second)
		only(t, "after a second", s.since(from), inUse, 55)
		for i, l := range s.layers {
			if keys, _ := l.asked(); keys > 1 || i != inUse && keys > 0 {
				t.Errorf("layer %d was asked for %d key frames", i, keys)
			}
		}
	})
}
