package media

import "testing"

func TestPlace(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name       string
		in         PictureInput
		w, h       int
		x, y, W, H float64
	}{
		{"letterbox 16:9 into 4:3", PictureInput{Width: 320, Height: 240, Fit: Letterbox, Color: RGB}, 1280, 720, 0, 30, 320, 180},
		{"letterbox tall", PictureInput{Width: 320, Height: 256, Fit: Letterbox, Color: RGB}, 720, 1280, 88, 0, 144, 256},
		{"letterbox same", PictureInput{Width: 320, Height: 240, Fit: Letterbox, Color: RGB}, 320, 240, 0, 0, 320, 240},
		{"letterbox odd rest", PictureInput{Width: 320, Height: 241, Fit: Letterbox, Color: RGB}, 1280, 720, 0, 30, 320, 180},
		{"stretch", PictureInput{Width: 224, Height: 224, Fit: Stretch, Color: RGB}, 1280, 720, 0, 0, 224, 224},
		{"crop", PictureInput{Width: 224, Height: 224, Fit: Crop, Color: RGB}, 1280, 720, -87, 0, 398, 224},
		{"a file is scaled down", PictureInput{Width: 640, Height: 640, Encoding: EncodedJPEG}, 1280, 720, 0, 0, 640, 360},
		{"a file is not scaled up", PictureInput{Width: 640, Height: 640, Encoding: EncodedJPEG}, 100, 639, 0, 0, 100, 639},
		{"a file of a line", PictureInput{Width: 640, Height: 640, Encoding: EncodedJPEG}, 8000, 1, 0, 0, 640, 1},
		{"a line stays a line", PictureInput{Width: 320, Height: 240, Fit: Letterbox, Color: RGB}, 8000, 1, 0, 119, 320, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := Place(c.in, c.w, c.h)
			if p.X != c.x || p.Y != c.y || p.Width != c.W || p.Height != c.H || p.SourceWidth != c.w || p.SourceHeight != c.h {
				t.Errorf("Place(%+v, %d, %d) = %+v, want at (%g, %g) size %g×%g", c.in, c.w, c.h, p, c.x, c.y, c.W, c.H)
			}
		})
	}
}

func TestSenderReportUnixMillis(t *testing.T) {
	t.Parallel()
	// 1970-01-01 00:00:01.5 UTC.
	if got := (SenderReport{NTP: (2208988801 << 32) | 1<<31}).UnixMillis(); got != 1500 {
		t.Errorf("UnixMillis = %v, want 1500", got)
	}
}

func TestEveryReasonAndCodeHasAName(t *testing.T) {
	t.Parallel()
	for _, r := range DropReasons() {
		if r.String() == "" {
			t.Errorf("drop reason %d has no name", r)
		}
	}
	for _, c := range ErrorCodes() {
		if c.String() == "" {
			t.Errorf("error code %d has no name", c)
		}
	}
	if len(DropReasons()) != int(Draining) || len(ErrorCodes()) != int(Internal) {
		t.Error("a reason or code is missing from its list")
	}
}
