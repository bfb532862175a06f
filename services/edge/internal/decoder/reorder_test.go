package decoder_test

import (
	"bytes"
	"testing"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/services/edge/internal/decoder"
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

// TestRotatedVideoIsTurnedUpright turns a phone while it sends: every picture must be turned by its own rotation, also one that comes out after
// units of another.
func TestRotatedVideoIsTurnedUpright(t *testing.T) {
	for codec, units := range map[string][]media.AccessUnit{
		"VP8": vp8Clip(t), "H.264 with B pictures": h264Clip(t, "1280x720", "bframes=3:b-adapt=0"), "H.265": h265Clip(t, "1280x720", "bframes=2"),
	} {
		t.Run(codec, func(t *testing.T) {
			d, plain := open(t, func(c *decoder.Config) { c.Slots = 64 }), open(t, func(c *decoder.Config) { c.Slots = 64 })
			rotations := []uint16{0, 90, 270, 180, 90, 7}
			want := make(map[uint64][]byte)
			for i, u := range units {
				pictures, err := decode(plain, 1, uint64(i), u, native(320, 180))
				if err != nil {
					t.Fatal(err)
				}
				for _, p := range pictures {
					want[p.Tag] = bytes.Clone(p.Payload)
				}
				release(pictures)
			}
			seen := 0
			for i, u := range units {
				u.Rotation = rotations[i/2%len(rotations)]
				pictures, err := decode(d, 1, uint64(i), u, native(180, 320), native(320, 180))
				if err != nil {
					t.Fatal(err)
				}
				for _, p := range pictures {
					rotation := rotations[p.Tag/2%uint64(len(rotations))]
					width, height := 320, 180
					if rotation == 90 || rotation == 270 {
						width, height = 180, 320
					}
					if p.Placement.SourceWidth != width*4 || p.Placement.SourceHeight != height*4 {
						t.Errorf("unit %d, turned by %d degrees, is of %d×%d", p.Tag, rotation, p.Placement.SourceWidth, p.Placement.SourceHeight)
					}
					if (p.Target == 0) != (width == 180) {
						continue // the form that is not of the picture's shape
					}
					seen++
					if got := turned(want[p.Tag], rotation); !bytes.Equal(got, p.Payload) {
						t.Errorf("unit %d is not turned by %d degrees", p.Tag, rotation)
					}
				}
				release(pictures)
			}
			if seen < len(units)-4 {
				t.Errorf("%d of %d pictures came out", seen, len(units))
			}
		})
	}
}

// turned turns a picture of 320×180 clockwise.
func turned(pixels []byte, degrees uint16) (out []byte) {
	const width, height = 320, 180
	turns := map[uint16]func(x, y int) (int, int){
		90:  func(x, y int) (int, int) { return y, height - 1 - x },
		180: func(x, y int) (int, int) { return width - 1 - x, height - 1 - y },
		270: func(x, y int) (int, int) { return width - 1 - y, x },
	}
	from, w, h := turns[degrees], width, height
	if from == nil {
		return pixels
	}
	if degrees != 180 {
		w, h = height, width
	}
	for y := range h {
		for x := range w {
			sx, sy := from(x, y)
			p := at(pixels, width, sx, sy)
			out = append(out, p[:]...)
		}
	}
	return out
}
