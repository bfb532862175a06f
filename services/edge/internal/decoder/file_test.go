package decoder_test

import (
	"bytes"
	"image/jpeg"
	"math"
	"testing"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/services/edge/internal/decoder"
)

func file(width, height int) media.PictureInput {
	return media.PictureInput{Width: width, Height: height, Encoding: media.EncodedJPEG}
}

// opened reads a JPEG by Go's decoder, as rows of R,G,B bytes.
func opened(t *testing.T, data []byte) (pixels []byte, width, height int) {
	t.Helper()
	m, err := jpeg.Decode(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	width, height = m.Bounds().Dx(), m.Bounds().Dy()
	for y := range height {
		for x := range width {
			r, g, b, _ := m.At(x, y).RGBA()
			pixels = append(pixels, byte(r>>8), byte(g>>8), byte(b>>8))
		}
	}
	return pixels, width, height
}

// peak gives the peak signal-to-noise ratio of two pictures in dB.
func peak(a, b []byte) float64 {
	var sum float64
	for i := range a {
		d := float64(a[i]) - float64(b[i])
		sum += d * d
	}
	return 10 * math.Log10(255*255*float64(len(a))/max(sum, 1e-9))
}

// TestPicturesAsFiles asks for files of sources of all kinds, and for their pixels at the same size: both must be the same picture, upright, never
// larger than its source.
func TestPicturesAsFiles(t *testing.T) {
	photo := encodeJPEG(t, quadrants(640, 480))
	for _, c := range []struct {
		name          string
		unit          media.AccessUnit
		in            media.PictureInput
		width, height int
	}{
		{"VP8, scaled down", vp8Clip(t)[0], file(640, 640), 640, 360},
		{"VP8, as it is", vp8Clip(t)[0], file(4000, 3000), 1280, 720},
		{"H.265, odd size", h265Clip(t, "1280x720", "bframes=0")[0], file(853, 479), 852, 479},
		{"PNG", unit(media.PNG, encodePNG(t, quadrants(321, 123))), file(1000, 1000), 321, 123},
		{"PNG of 16 pixels a side", unit(media.PNG, encodePNG(t, quadrants(16, 16))), file(64, 64), 16, 16},
		{"JPEG, turned", unit(media.JPEG, oriented(photo, 6)), file(320, 320), 240, 320},
		{"JPEG, turned and mirrored", unit(media.JPEG, oriented(photo, 5)), file(320, 320), 240, 320},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := open(t, nil)
			pictures, err := decode(d, 1, 1, c.unit, c.in, native(c.width, c.height))
			if err != nil || len(pictures) != 2 {
				t.Fatalf("%d pictures, %v", len(pictures), err)
			}
			defer release(pictures)
			got, width, height := opened(t, pictures[0].Payload)
			if width != c.width || height != c.height {
				t.Fatalf("a file of %d×%d pixels, want %d×%d", width, height, c.width, c.height)
			}
			if p := pictures[0].Placement; p.X != 0 || p.Y != 0 || int(p.Width) != width || int(p.Height) != height {
				t.Errorf("it says that the picture is at %+v", p)
			}
			if !media.PictureForm(c.in).Fits(len(pictures[0].Payload)) {
				t.Errorf("a file of %d bytes is not of the form", len(pictures[0].Payload))
			}
			if psnr := peak(got, pictures[1].Payload); psnr < 26 { // the sharpest colours at odd places lose most
				t.Errorf("the file differs from the pixels: %.1f dB", psnr)
			}
		})
	}
}

// TestFilesAreLikeThoseOfTheirQuality compares the files of a natural-looking picture with Go's at quality 85.
func TestFilesAreLikeThoseOfTheirQuality(t *testing.T) {
	d := open(t, nil)
	pictures, err := decode(d, 1, 1, vp8Clip(t)[0], file(1280, 720), native(1280, 720))
	if err != nil || len(pictures) != 2 {
		t.Fatalf("%d pictures, %v", len(pictures), err)
	}
	defer release(pictures)
	got, _, _ := opened(t, pictures[0].Payload)
	source := noise(1280, 720)
	for i := range 1280 * 720 {
		copy(source.Pix[4*i:], pictures[1].Payload[3*i:3*i+3])
	}
	var peer bytes.Buffer
	if err := jpeg.Encode(&peer, source, &jpeg.Options{Quality: 85}); err != nil {
		t.Fatal(err)
	}
	theirs, _, _ := opened(t, peer.Bytes())
	ours, other := peak(got, pictures[1].Payload), peak(theirs, pictures[1].Payload)
	t.Logf("ours: %d bytes, %.1f dB; Go's: %d bytes, %.1f dB", len(pictures[0].Payload), ours, peer.Len(), other)
	if ours < other-1.5 || len(pictures[0].Payload) > peer.Len()*3/2 {
		t.Errorf("ours: %d bytes, %.1f dB; Go's: %d bytes, %.1f dB", len(pictures[0].Payload), ours, peer.Len(), other)
	}
}

// TestFilesOfManySizes asks for several in one go, again and again, beside one for which there is no room.
func TestFilesOfManySizes(t *testing.T) {
	d := open(t, func(c *decoder.Config) { c.Slots = 8 })
	loud := unit(media.PNG, encodePNG(t, noise(400, 400)))
	for i := range 5 {
		pictures, err := decode(d, 1, uint64(i), loud, file(400, 400), file(100, 200), faces, file(8, 8))
		if reason(err) != "UNSUPPORTED" || len(pictures) != 3 {
			t.Fatalf("%d pictures, %v; want three, and no room for a file in 8×8×3 bytes", len(pictures), err)
		}
		for _, p := range pictures {
			want, ok := map[int][2]int{0: {400, 400}, 1: {100, 100}}[p.Target]
			if !ok {
				continue
			}
			if _, w, h := opened(t, p.Payload); w != want[0] || h != want[1] {
				t.Errorf("target %d is of %d×%d, want %v", p.Target, w, h, want)
			}
		}
		release(pictures)
	}
}
