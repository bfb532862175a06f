package session

import (
	"slices"
	"strings"
	"testing"

	"github.com/pion/rtp"
	"github.com/pion/rtp/codecs"

	"github.com/sluice-dev/sluice/pkg/media"
)

// The tests of this file are the edge cases of what real encoders make, through the real decoder process.

// packed gives a payloader of small packets.
func packed(p rtp.Payloader) func([]byte) [][]byte {
	return func(unit []byte) [][]byte { return p.Payload(400, unit) }
}

const (
	x264   = "-c:v libx264 -preset veryfast -b:v 600k -x264-params aud=1:repeat-headers=1:scenecut=0:keyint=30:"
	x265   = "-c:v libx265 -preset ultrafast -b:v 600k -x265-params log-level=none:aud=1:repeat-headers=1:scenecut=0:keyint=30:min-keyint=30:"
	vpx9   = "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -lag-in-frames 0 -b:v 600k -g 30"
	aomAV1 = "-c:v libaom-av1 -usage realtime -cpu-used 8 -lag-in-frames 0 -b:v 600k -g 30"
)

// shots are what the tests of this file have encoders make.
func shots() map[string]struct {
	codec   media.Codec
	encoder string
	payload func() rtp.Payloader
} {
	h264 := func() rtp.Payloader { return new(codecs.H264Payloader) }
	h265 := func() rtp.Payloader { return new(codecs.H265Payloader) }
	type shot = struct {
		codec   media.Codec
		encoder string
		payload func() rtp.Payloader
	}
	return map[string]shot{
		"VP8":                        {media.VP8, "-c:v libvpx -deadline realtime -cpu-used 8 -b:v 600k -g 30", func() rtp.Payloader { return &codecs.VP8Payloader{EnablePictureID: true} }},
		"VP9":                        {media.VP9, vpx9, func() rtp.Payloader { return new(codecs.VP9Payloader) }},
		"AV1":                        {media.AV1, aomAV1, func() rtp.Payloader { return new(codecs.AV1Payloader) }},
		"H.264":                      {media.H264, x264 + "bframes=0", h264},
		"H.264 of four slices":       {media.H264, x264 + "bframes=0:slices=4", h264},
		"H.264 with B pictures":      {media.H264, x264 + "bframes=3:b-adapt=0:b-pyramid=normal", h264},
		"H.264 in open groups":       {media.H264, x264 + "bframes=3:b-adapt=0:open-gop=1", h264},
		"H.265":                      {media.H265, x265 + "bframes=0", h265},
		"H.265 with B pictures":      {media.H265, x265 + "bframes=3:b-adapt=0:open-gop=0", h265},
		"H.265 in open groups":       {media.H265, x265 + "bframes=3:b-adapt=0:open-gop=1", h265},
		"H.265 with temporal layers": {media.H265, x265 + "bframes=3:b-adapt=0:open-gop=0:temporal-layers=1", h265},
		"H.264 refreshed bit by bit": {media.H264, x264 + "bframes=0:ref=3:intra-refresh=1", h264},
		"refreshed, with B pictures": {media.H264, x264 + "bframes=3:b-adapt=0:intra-refresh=1", h264},
	}
}

// TestRealEncoders is edge case 22 with what encoders made: whole, joined late, and with loss. Whatever comes out is the picture of its own
// timestamp, as it is when nothing is lost. It takes longer than all other edge cases together, so it is not named like them.
func TestRealEncoders(t *testing.T) {
	program := buildDecoder(t)
	for name, shot := range shots() {
		t.Run(name, func(t *testing.T) {
			units, display := shoot(t, shot.codec, shot.encoder)
			begin := func(rate float64) *screening {
				return newScreening(t, program, shot.codec, packed(shot.payload()), rate)
			}
			clean := begin(0)
			clean.send(units, nil)
			clean.checkPlaces(display)
			t.Logf("whole: %s; %d pictures, %d requests", run(clean.words), len(clean.pictures), clean.requests)
			checkWhole(t, clean, units)

			late := begin(0)
			late.seq = 65500
			late.send(units[10:], nil)
			late.checkSame(clean)
			t.Logf("joined late: %s; %d requests", run(late.words), late.requests)
			_, asks := late.runner.gate.Next()
			// A decoder that began at a recovery point may lack the pictures that B pictures, or commands about old ones, refer to. Then nothing
			// can be had until a key frame, and one is asked for.
			none := recovers(name) && asks && len(late.pictures) == 0
			if late.words[0] != "DAMAGED" || late.requests == 0 || len(late.pictures) < 20 && !none {
				t.Errorf("joined late: %d pictures, %d key frames asked for: %s", len(late.pictures), late.requests, run(late.words))
			}

			lossy := begin(0)
			lossy.send(units, func(unit, packet int) bool {
				return unit == 20 && packet == 0 || unit == 41 && packet == 1 || unit == 51 && packet == 0
			})
			lossy.checkSame(clean)
			t.Logf("with loss: %s; %d requests", run(lossy.words), lossy.requests)
			least := 30
			if recovers(name) {
				least = 10 // of those before the loss
			}
			if n := len(lossy.pictures); n >= len(clean.pictures) || n < least {
				t.Errorf("with loss: %d pictures: %s", n, run(lossy.words))
			}
			if slices.Contains(late.words, "DECODER") || slices.Contains(lossy.words, "DECODER") {
				t.Errorf("what is lost became an error: %s; %s", run(late.words), run(lossy.words))
			}
		})
	}
}

// recovers names the shots with B pictures and recovery points in place of key frames.
func recovers(name string) bool {
	return name == "H.264 in open groups" || name == "refreshed, with B pictures"
}

// checkWhole holds what became of units of which none was lost against what must: each is a result, but for those that the decoder had to hold
// back until one that was sent later had gone up, and the last few, which it holds still.
func checkWhole(t *testing.T, s *screening, units []encoded) {
	t.Helper()
	reorders := !slices.IsSortedFunc(units, func(a, b encoded) int { return a.shown - b.shown })
	for i, word := range s.words {
		if s.stamps[i] != stampOf(units[i].shown) && word != "" {
			t.Errorf("unit %d has the timestamp %d, want %d", i, s.stamps[i], stampOf(units[i].shown))
		}
		held := reorders && (word == "SUPERSEDED" || i >= len(units)-8)
		if word != "result" && !held {
			t.Errorf("unit %d is %s: %s", i, word, run(s.words))
			return
		}
	}
	if s.requests != 0 {
		t.Errorf("%d key frames asked for although nothing is missing", s.requests)
	}
	if !slices.IsSortedFunc(s.order, func(a, b uint32) int { return int(int32(a - b)) }) {
		t.Errorf("the pictures came in another order than they are shown")
	}
	if least := len(units) / 2; len(s.pictures) < least {
		t.Errorf("%d pictures, want at least %d", len(s.pictures), least)
	}
}

// TestEdgeCase22ParameterSetsInTheFirstSecondOnly joins a stream after them, until they come again.
func TestEdgeCase22ParameterSetsInTheFirstSecondOnly(t *testing.T) {
	program := buildDecoder(t)
	for _, name := range []string{"H.264", "H.265"} {
		t.Run(name, func(t *testing.T) {
			shot := shots()[name]
			units, display := shoot(t, shot.codec, shot.encoder)
			isSet := func(nal []byte) bool { return slices.Contains([]byte{7, 8}, nal[0]&0x1f) }
			if shot.codec == media.H265 {
				isSet = func(nal []byte) bool { return slices.Contains([]byte{32, 33, 34}, nal[0]>>1) }
			}
			var sets [][]byte
			for i := range units {
				nals := nalsOf(units[i].data)
				if i == 0 {
					for _, nal := range nals {
						if isSet(nal) {
							sets = append(sets, nal)
						}
					}
				}
				if len(units[i].data) == 0 {
					t.Fatal("an empty unit")
				}
				if i > 0 {
					units[i].data = joined(slices.DeleteFunc(nals, isSet))
				}
			}
			whole := newScreening(t, program, shot.codec, packed(shot.payload()), 0)
			whole.send(units, nil)
			checkWhole(t, whole, units)

			s := newScreening(t, program, shot.codec, packed(shot.payload()), 0)
			s.send(units[5:60], nil)
			if got := run(s.words); got != "DAMAGED 55" {
				t.Errorf("without parameter sets: %s", got)
			}
			if _, asks := s.runner.gate.Next(); !asks || s.requests == 0 {
				t.Errorf("asked for a key frame %d times, and goes on asking: %v", s.requests, asks)
			}
			units[60].data = joined(slices.Concat(sets, nalsOf(units[60].data)))
			s.send(units[60:], nil)
			if got := run(s.words); got != "DAMAGED 55, result 30" {
				t.Errorf("with parameter sets in the 60th unit: %s", got)
			}
			s.checkPlaces(display)
			s.checkSame(whole)
		})
	}
}

// TestOnlyNeededUnitsOfRealEncodersAreDecoded wants few pictures of streams with units that nothing depends on.
func TestOnlyNeededUnitsOfRealEncodersAreDecoded(t *testing.T) {
	program := buildDecoder(t)
	for name, most := range map[string]int{"H.264 with B pictures": 60, "H.265 with B pictures": 60, "H.265 with temporal layers": 60, "H.264": 90} {
		t.Run(name, func(t *testing.T) {
			shot := shots()[name]
			units, display := shoot(t, shot.codec, shot.encoder)
			clean := newScreening(t, program, shot.codec, packed(shot.payload()), 0)
			clean.send(units, nil)
			s := newScreening(t, program, shot.codec, packed(shot.payload()), 6)
			s.send(units, nil)
			s.checkPlaces(display)
			s.checkSame(clean)
			results := strings.Count(strings.Join(s.words, " "), "result")
			t.Logf("%d of %d units decoded for %d pictures", s.decoder.units, len(units), results)
			if s.decoder.units > most || results < 14 {
				t.Errorf("%d units decoded for %d pictures: %s", s.decoder.units, results, run(s.words))
			}
		})
	}
}
