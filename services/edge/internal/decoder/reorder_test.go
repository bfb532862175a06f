package decoder_test

import (
	"testing"

	"github.com/sluice-dev/sluice/pkg/media"
)

// brightening gives clips with B pictures. Picture i of the display is of one grey, of luma 16+7*i.
func brightening(t *testing.T) map[string][]media.AccessUnit {
	t.Helper()
	const source = "-f lavfi -i color=black:size=320x240:rate=30,format=yuv420p,geq=lum=16+7*N:cb=128:cr=128 -frames:v 29 -pix_fmt yuv420p "
	return map[string][]media.AccessUnit{
		"H.264": annexBUnits(clip(t, source+"-c:v libx264 -preset veryfast -qp 10 -g 60 "+
			"-x264-params aud=1:repeat-headers=1:bframes=3:b-adapt=0:b-pyramid=none:scenecut=0:weightp=0 -f h264 -")),
		"H.265": hevcUnits(clip(t, source+"-c:v libx265 -preset ultrafast -x265-params aud=1:repeat-headers=1:keyint=60:scenecut=0:log-level=none:"+
			"qp=4:bframes=3:b-adapt=0:b-pyramid=0:weightp=0:open-gop=0 -f hevc -")),
	}
}

// displayed gives the place in the display of the unit i of brightening: I, then P and the three B pictures that it surpasses.
func displayed(i int) int {
	switch {
	case i == 0:
		return 0
	case i%4 == 1:
		return i + 3
	default:
		return i - 1
	}
}

// TestReorderedPicturesKeepTheirTags decodes B pictures: each unit's tag must come with its own picture, though later.
func TestReorderedPicturesKeepTheirTags(t *testing.T) {
	for codec, units := range brightening(t) {
		for name, every := range map[string]int{"every unit": 1, "every third": 3} {
			t.Run(codec+", "+name, func(t *testing.T) { checkReordered(t, units, every) })
		}
	}
}

// checkReordered decodes the units of brightening and asks for one in so many.
func checkReordered(t *testing.T, units []media.AccessUnit, every int) {
	t.Helper()
	d := open(t, nil)
	seen, late := make(map[uint64]bool), 0
	for i, u := range units {
		var targets []media.PictureInput
		if i%every == 0 {
			targets = append(targets, native(32, 24))
		}
		pictures, err := decode(d, 1, uint64(i), u, targets...)
		if err != nil {
			t.Fatalf("unit %d: %v", i, err)
		}
		for _, p := range pictures {
			if seen[p.Tag] || p.Tag%uint64(every) != 0 {
				t.Errorf("unit %d brought out a picture of unit %d", i, p.Tag)
			}
			seen[p.Tag] = true
			if p.Tag != uint64(i) {
				late++
			}
			if want := 7 * displayed(int(p.Tag)) * 255 / 219; !near(at(p.Payload, 32, 16, 12), [3]byte{byte(want), byte(want), byte(want)}, 3) {
				t.Errorf("unit %d came with the grey %d, want %d", p.Tag, p.Payload[0], want)
			}
		}
		release(pictures)
	}
	if late == 0 || len(seen) < (len(units)-4)/every {
		t.Errorf("%d pictures of %d units, %d of them after later units; want nearly all, and some late", len(seen), len(units), late)
	}
}
