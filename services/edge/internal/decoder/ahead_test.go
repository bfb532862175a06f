package decoder_test

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/services/edge/internal/decoder"
)

// TestUnitsThatNobodyWantsWaitForTheNext takes one unit in a few as a picture. It must be what it is when every unit is one, also where more wait than go
// with one request.
func TestUnitsThatNobodyWantsWaitForTheNext(t *testing.T) {
	for _, c := range []struct {
		name  string
		units []media.AccessUnit
	}{
		{"VP8", vp8Clip(t)},
		{"VP9", vp9Clip(t)},
		{"AV1", av1Clip(t)},
		{"H.264", h264Clip(t, "1280x720", "bframes=0")},
		{"H.264 with B pictures", h264Clip(t, "1280x720", "bframes=2")},
		{"H.265", h265Clip(t, "1280x720", "bframes=0")},
	} {
		t.Run(c.name, func(t *testing.T) {
			all := wanted(t, c.units, 1)
			for _, every := range []int{3, 10} {
				some := wanted(t, c.units, every)
				for i, picture := range some {
					if !bytes.Equal(picture, all[i]) {
						t.Errorf("unit %d is another picture when one in %d is wanted", i, every)
					}
				}
				// Of B pictures' clips, the last few never come out.
				if want := (len(c.units) + every - 1) / every; len(some) < want-2 || len(some) > want {
					t.Errorf("%d pictures of %d that are wanted", len(some), want)
				}
			}
		})
	}
}

// wanted decodes a clip, wanting one unit in a few, and gives the pictures by their units' numbers.
func wanted(t *testing.T, units []media.AccessUnit, every int) map[int][]byte {
	t.Helper()
	d, pictures := open(t, nil), make(map[int][]byte)
	for i, u := range units {
		var targets []media.PictureInput
		if i%every == 0 {
			targets = append(targets, faces)
		}
		out, err := decode(d, 1, uint64(i), u, targets...)
		if err != nil {
			t.Fatalf("unit %d: %v", i, err)
		}
		for _, p := range out {
			pictures[int(p.Tag)] = slices.Clone(p.Payload)
		}
		release(out)
	}
	return pictures
}

// TestAUnitThatWaitedAndIsBroken: the unit that depends on it is damaged, and the stream goes on at its next key unit.
func TestAUnitThatWaitedAndIsBroken(t *testing.T) {
	const broken, next, nextKey = 4, 5, 15
	d := open(t, nil)
	for i, u := range vp8Clip(t) {
		var targets []media.PictureInput
		want := ""
		switch {
		case i == broken:
			u.Data = u.Data[:3]
		case i == next:
			targets, want = append(targets, faces), "DAMAGED"
		case i > next && i < nextKey:
			want = "DAMAGED"
		case i == 0 || i == nextKey:
			targets = append(targets, faces)
		}
		pictures, err := decode(d, 1, uint64(i), u, targets...)
		var e *decoder.Error
		if errors.As(err, &e); reason(err) != want || want != "" && !e.NeedKey {
			t.Fatalf("unit %d: %v, want %q", i, err, want)
		}
		if n := release(pictures); want == "" && n != len(targets) {
			t.Fatalf("unit %d gave %d pictures, want %d", i, n, len(targets))
		}
	}
}

// TestUnitsThatWaitWhenTheProcessEnds are forgotten with it.
func TestUnitsThatWaitWhenTheProcessEnds(t *testing.T) {
	const killed, next, nextKey = 7, 8, 15
	d := open(t, nil)
	for i, u := range vp8Clip(t) {
		var targets []media.PictureInput
		want := ""
		switch {
		case i == killed:
			if err := unix.Kill(d.PID(), unix.SIGKILL); err != nil {
				t.Fatal(err)
			}
		case i == next:
			targets, want = append(targets, faces), "DECODER"
		case i > next && i < nextKey:
			want = "DAMAGED"
		case i == 0 || i == nextKey:
			targets = append(targets, faces)
		}
		pictures, err := decode(d, 1, uint64(i), u, targets...)
		if reason(err) != want {
			t.Fatalf("unit %d: %v, want %q", i, err, want)
		}
		if n := release(pictures); want == "" && n != len(targets) {
			t.Fatalf("unit %d gave %d pictures, want %d", i, n, len(targets))
		}
	}
}
