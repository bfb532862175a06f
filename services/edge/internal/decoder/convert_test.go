package decoder_test

import (
	"bytes"
	"image"
	"image/color"
	"math"
	"slices"
	"testing"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/services/edge/internal/decoder"
)

// picture decodes one image to one form and gives a copy of the payload.
func picture(tb testing.TB, d *decoder.Decoder, u media.AccessUnit, in media.PictureInput) ([]byte, media.Placement) {
	tb.Helper()
	pictures, err := decode(d, 9, 1, u, in)
	if err != nil || len(pictures) != 1 {
		tb.Fatalf("decoding %v to %+v gave %d pictures and %v, want one", u.Codec, in, len(pictures), err)
	}
	defer pictures[0].Release()
	return slices.Clone(pictures[0].Payload), pictures[0].Placement
}

// rgb gives an image's pixels as a payload of its own size, without alpha.
func rgb(m image.Image) []byte {
	var out []byte
	b := m.Bounds()
	for y := b.Min.Y; y < b.Max.Y; y++ {
		for x := b.Min.X; x < b.Max.X; x++ {
			c, ok := m.At(x, y).(color.NRGBA) // converting would lose bits to alpha
			if !ok {
				c = color.NRGBAModel.Convert(m.At(x, y)).(color.NRGBA)
			}
			out = append(out, c.R, c.G, c.B)
		}
	}
	return out
}

// swapped exchanges the first and last channel.
func swapped(payload []byte) []byte {
	out := slices.Clone(payload)
	for i := 0; i < len(out); i += 3 {
		out[i], out[i+2] = out[i+2], out[i]
	}
	return out
}

// redraw copies an image to another kind.
func redraw[M interface {
	image.Image
	Set(x, y int, c color.Color)
}](from image.Image, to M,
) M {
	for y := range from.Bounds().Dy() {
		for x := range from.Bounds().Dx() {
			to.Set(x, y, from.At(x, y))
		}
	}
	return to
}

// TestLosslessPicturesAreExact compares payloads with the pictures that were encoded, byte by byte.
func TestLosslessPicturesAreExact(t *testing.T) {
	const width, height = 61, 47
	source, area := noise(width, height), image.Rect(0, 0, width, height)
	transparent := noise(width, height)
	for i := 3; i < len(transparent.Pix); i += 4 {
		transparent.Pix[i] = byte(i) | 1
	}
	palette := make(color.Palette, 0, 256)
	for i := range 256 {
		palette = append(palette, color.NRGBA{byte(i), byte(255 - i), byte(i * 7), 255})
	}
	d := open(t, nil)
	for _, c := range []struct {
		name string
		m    image.Image
	}{
		{"RGB", source},
		{"RGBA, alpha left out", transparent},
		{"RGB of 16 bits", redraw(source, image.NewNRGBA64(area))},
		{"grey", redraw(source, image.NewGray(area))},
		{"grey of 16 bits", redraw(source, image.NewGray16(area))},
		{"palette", redraw(source, image.NewPaletted(area, palette))},
		{"palette of two", redraw(source, image.NewPaletted(area, color.Palette{color.Black, color.White}))},
	} {
		t.Run(c.name, func(t *testing.T) {
			file, want := encodePNG(t, c.m), rgb(c.m)
			in := native(width, height)
			if got, _ := picture(t, d, unit(media.PNG, file), in); !bytes.Equal(got, want) {
				t.Errorf("payload in RGB differs: begins %v, want %v", got[:12], want[:12])
			}
			in.Color = media.BGR
			if got, _ := picture(t, d, unit(media.PNG, file), in); !bytes.Equal(got, swapped(want)) {
				t.Error("payload in BGR differs")
			}
		})
	}
	t.Run("WebP", func(t *testing.T) {
		const arguments = "-f lavfi -i testsrc2=size=322x182 -frames:v 1 -pix_fmt bgra"
		file := clip(t, arguments+" -c:v libwebp -lossless 1 -f webp -")
		want := clip(t, arguments+" -f rawvideo -pix_fmt rgb24 -")
		if got, _ := picture(t, d, unit(media.WebP, file), native(322, 182)); !bytes.Equal(got, want) {
			t.Error("payload differs")
		}
	})
}

// TestHalvingIsTheMeanOfFour compares box scaling with arithmetic, byte by byte.
func TestHalvingIsTheMeanOfFour(t *testing.T) {
	const width, height = 640, 360
	grey := redraw(noise(width, height), image.NewGray(image.Rect(0, 0, width, height)))
	in := media.PictureInput{Width: 320, Height: 256, Fit: media.Letterbox, Color: media.RGB}
	got, place := picture(t, open(t, nil), unit(media.PNG, encodePNG(t, grey)), in)
	top := int(place.Y)
	if place.Width != 320 || place.Height != 180 || place.X != 0 || top != 38 {
		t.Fatalf("placed at %+v", place)
	}
	for y := range in.Height {
		for x := range in.Width {
			want := 0
			if sy := 2 * (y - top); sy >= 0 && sy < height {
				sum := 2
				for _, p := range [4][2]int{{0, 0}, {1, 0}, {0, 1}, {1, 1}} {
					sum += int(grey.GrayAt(2*x+p[0], sy+p[1]).Y)
				}
				want = sum / 4
			}
			if p := at(got, in.Width, x, y); p != [3]byte{byte(want), byte(want), byte(want)} {
				t.Fatalf("pixel (%d, %d) is %s, want %d", x, y, describe(p), want)
			}
		}
	}
}

// TestFitsPlaceThePictureWhereTheySay looks at the middle of each quarter of a source, through the placement.
func TestFitsPlaceThePictureWhereTheySay(t *testing.T) {
	d := open(t, nil)
	for _, size := range [][2]int{{1280, 720}, {720, 1280}, {64, 48}, {853, 479}, {500, 20}} {
		source := quadrants(size[0], size[1])
		files := map[media.Codec][]byte{media.PNG: encodePNG(t, source), media.JPEG: encodeJPEG(t, source)}
		for _, in := range []media.PictureInput{
			{Width: 320, Height: 256, Fit: media.Letterbox, Color: media.RGB},
			{Width: 321, Height: 239, Fit: media.Letterbox, Color: media.RGB},
			{Width: 224, Height: 224, Fit: media.Stretch, Color: media.RGB},
			{Width: 225, Height: 223, Fit: media.Crop, Color: media.RGB},
			{Width: 101, Height: 33, Fit: media.Crop, Color: media.RGB},
		} {
			for codec, file := range files {
				payload, got := picture(t, d, unit(codec, file), in)
				if want := media.Place(in, size[0], size[1]); got != want {
					t.Errorf("%v %v to %+v: placed at %+v, want %+v", codec, size, in, got, want)
				}
				checkQuarters(t, payload, in, got)
				checkBorder(t, payload, in, got)
			}
		}
	}
}

func checkQuarters(t *testing.T, payload []byte, in media.PictureInput, place media.Placement) {
	t.Helper()
	for _, right := range []bool{false, true} {
		for _, low := range []bool{false, true} {
			x, y := int(place.X+place.Width*quarter(right)), int(place.Y+place.Height*quarter(low))
			if x < 0 || y < 0 || x >= in.Width || y >= in.Height {
				continue // cut away
			}
			c := quadrant(right, low)
			if want, got := [3]byte{c.R, c.G, c.B}, at(payload, in.Width, x, y); !near(got, want, 8) {
				t.Errorf("%+v placed at %+v: pixel (%d, %d) is %s, want %s", in, place, x, y, describe(got), describe(want))
			}
		}
	}
}

func quarter(second bool) float64 {
	if second {
		return 0.75
	}
	return 0.25
}

func checkBorder(t *testing.T, payload []byte, in media.PictureInput, place media.Placement) {
	t.Helper()
	left, top, right, bottom := int(place.X), int(place.Y), int(place.X+place.Width), int(place.Y+place.Height)
	for y := range in.Height {
		for x := range in.Width {
			inside := x >= left && x < right && y >= top && y < bottom
			if p := at(payload, in.Width, x, y); !inside && p != [3]byte{} {
				t.Fatalf("%+v placed at %+v: pixel (%d, %d) outside is %s, want black", in, place, x, y, describe(p))
			}
		}
	}
}

// TestBordersAreBlackInUsedSlots makes sure that no pixel of an earlier payload shines through.
func TestBordersAreBlackInUsedSlots(t *testing.T) {
	d := open(t, func(c *decoder.Config) { c.Slots = 1 })
	white := image.NewGray(image.Rect(0, 0, 320, 256))
	for i := range white.Pix {
		white.Pix[i] = 255
	}
	picture(t, d, unit(media.PNG, encodePNG(t, white)), faces)
	for _, size := range [][2]int{{1280, 720}, {720, 1280}, {31, 33}} {
		payload, place := picture(t, d, unit(media.PNG, encodePNG(t, quadrants(size[0], size[1]))), faces)
		checkBorder(t, payload, faces, place)
	}
}

// TestOrientationsAreTurnedUpright compares turned JPEGs with the same JPEG turned here, byte by byte.
func TestOrientationsAreTurnedUpright(t *testing.T) {
	const width, height = 67, 45
	d := open(t, nil)
	file := encodeJPEG(t, noise(width, height))
	stored, _ := picture(t, d, unit(media.JPEG, file), native(width, height))
	for orientation := 1; orientation <= 8; orientation++ {
		w, h := width, height
		if orientation >= 5 {
			w, h = height, width
		}
		got, place := picture(t, d, unit(media.JPEG, oriented(file, orientation)), native(w, h))
		if place.SourceWidth != w || place.SourceHeight != h {
			t.Errorf("orientation %d: the upright source is %d×%d, want %d×%d", orientation, place.SourceWidth, place.SourceHeight, w, h)
		}
		var want []byte
		for y := range h {
			for x := range w {
				sx, sy := storedAt(orientation, x, y, width, height)
				p := at(stored, width, sx, sy)
				want = append(want, p[:]...)
			}
		}
		if !bytes.Equal(got, want) {
			t.Errorf("orientation %d: payload differs", orientation)
		}
		checkTurnedAndFitted(t, d, file, orientation)
	}
}

// storedAt tells where EXIF's orientation keeps the upright pixel (x, y).
func storedAt(orientation, x, y, width, height int) (int, int) {
	switch orientation {
	case 2:
		return width - 1 - x, y
	case 3:
		return width - 1 - x, height - 1 - y
	case 4:
		return x, height - 1 - y
	case 5:
		return y, x
	case 6:
		return y, height - 1 - x
	case 7:
		return width - 1 - y, height - 1 - x
	case 8:
		return width - 1 - y, x
	default:
		return x, y
	}
}

// checkTurnedAndFitted checks that scaling, turning and placing agree on the picture's place.
func checkTurnedAndFitted(t *testing.T, d *decoder.Decoder, file []byte, orientation int) {
	t.Helper()
	for _, fit := range []media.Fit{media.Letterbox, media.Crop} {
		in := media.PictureInput{Width: 120, Height: 100, Fit: fit, Color: media.RGB}
		payload, place := picture(t, d, unit(media.JPEG, oriented(file, orientation)), in)
		checkBorder(t, payload, in, place)
	}
}

// TestColoursFollowTheirMatrixAndRange compares decoded video with the formulas of BT.601 and BT.709.
func TestColoursFollowTheirMatrixAndRange(t *testing.T) {
	const width, height = 322, 182
	const source = "-f lavfi -i testsrc2=size=322x182:rate=30 -frames:v 1 -pix_fmt yuv420p "
	d := open(t, nil)
	for i, c := range []struct {
		name   string
		codec  media.Codec
		encode string
		matrix string
		full   bool
	}{
		{"VP8", media.VP8, "-c:v libvpx -f ivf", "601", false},
		{"VP9 untagged", media.VP9, "-c:v libvpx-vp9 -f ivf", "601", false},
		{"VP9 BT.709", media.VP9, "-c:v libvpx-vp9 -colorspace bt709 -f ivf", "709", false},
		{"VP9 BT.709 full range", media.VP9, "-c:v libvpx-vp9 -colorspace bt709 -color_range pc -f ivf", "709", true},
		{"AV1 untagged", media.AV1, "-c:v libaom-av1 -usage realtime -cpu-used 8 -f ivf", "601", false},
		{"AV1 BT.709", media.AV1, "-c:v libaom-av1 -usage realtime -cpu-used 8 -colorspace bt709 -f ivf", "709", false},
		{"H.264 untagged", media.H264, "-c:v libx264 -bf 0 -f h264", "601", false},
		{"H.264 BT.709", media.H264, "-c:v libx264 -bf 0 -x264-params colormatrix=bt709 -f h264", "709", false},
		{"H.264 BT.709 full range", media.H264, "-c:v libx264 -bf 0 -x264-params colormatrix=bt709:fullrange=on -f h264", "709", true},
		{"H.264 BT.601 full range", media.H264, "-c:v libx264 -bf 0 -x264-params colormatrix=smpte170m:fullrange=on -f h264", "601", true},
		{"H.265 untagged", media.H265, "-c:v libx265 -preset ultrafast -x265-params bframes=0:log-level=none -f hevc", "601", false},
		{"H.265 BT.709 full range", media.H265, "-c:v libx265 -preset ultrafast -x265-params bframes=0:log-level=none:colormatrix=bt709:range=full -f hevc", "709", true},
		{"JPEG", media.JPEG, "-c:v mjpeg -q:v 2 -pix_fmt yuvj420p -f image2pipe", "601", true},
		{"JPEG of limited range", media.JPEG, "-c:v mjpeg -q:v 2 -strict -1 -f image2pipe", "601", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			file := clip(t, source+c.encode+" -")
			planes := raw(t, file, c.codec)
			data := file
			if bytes.HasPrefix(file, []byte("DKIF")) {
				data = ivfUnits(file)[0].Data
			}
			pictures, err := decode(d, uint32(i), 1, unit(c.codec, data), native(width, height))
			if err != nil || len(pictures) != 1 {
				t.Fatalf("%d pictures, %v", len(pictures), err)
			}
			defer pictures[0].Release()
			compareColours(t, pictures[0].Payload, planes, width, height, c.matrix, c.full)
		})
	}
}

// raw gives ffmpeg's decoded planes, as they are stored.
func raw(t *testing.T, file []byte, codec media.Codec) []byte {
	t.Helper()
	format := map[media.Codec]string{media.VP8: "ivf", media.VP9: "ivf", media.AV1: "ivf", media.H264: "h264", media.H265: "hevc", media.JPEG: "mjpeg"}[codec]
	name := t.TempDir() + "/clip"
	writeFile(t, name, file)
	return ffmpeg(t, "-f "+format+" -i "+name+" -f rawvideo -")
}

func compareColours(t *testing.T, payload, planes []byte, width, height int, matrix string, full bool) {
	t.Helper()
	half := (width + 1) / 2
	luma, chroma := width*height, half*((height+1)/2)
	if len(planes) != luma+2*chroma {
		t.Fatalf("the reference has %d bytes, want %d of 4:2:0", len(planes), luma+2*chroma)
	}
	var worst [3]float64
	for y := range height {
		for x := range width {
			c := (y/2)*half + x/2
			want := toRGB(float64(planes[y*width+x]), float64(planes[luma+c]), float64(planes[luma+chroma+c]), matrix, full)
			got := at(payload, width, x, y)
			for i := range want {
				worst[i] = max(worst[i], math.Abs(want[i]-float64(got[i])))
			}
		}
	}
	// libyuv works with six bits behind the point, and its factor for blue ends at 2: BT.709's 2.112 makes the purest blue 13 too weak.
	allowed := [3]float64{2.5, 2.5, 2.5}
	if matrix == "709" && !full {
		allowed[2] = 14
	}
	for i, w := range worst {
		if w > allowed[i] {
			t.Errorf("the largest difference from BT.%s (full range: %v) in channel %d is %.1f, want at most %.1f", matrix, full, i, w, allowed[i])
		}
	}
}

// toRGB follows ITU-R BT.601 and BT.709.
func toRGB(y, u, v float64, matrix string, full bool) [3]float64 {
	kr, kb := 0.299, 0.114
	if matrix == "709" {
		kr, kb = 0.2126, 0.0722
	}
	u, v = u-128, v-128
	if !full {
		y, u, v = (y-16)*255/219, u*255/224, v*255/224
	}
	r, b := y+2*(1-kr)*v, y+2*(1-kb)*u
	g := (y - kr*r - kb*b) / (1 - kr - kb)
	clamp := func(v float64) float64 { return min(max(v, 0), 255) }
	return [3]float64{clamp(r), clamp(g), clamp(b)}
}
