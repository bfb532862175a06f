package decoder_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/services/edge/internal/decoder"
)

var faces = media.PictureInput{Width: 320, Height: 256, Fit: media.Letterbox, Color: media.RGB}

// testWriter sends the decoder's log to the test's.
type testWriter struct{ tb testing.TB }

func (w testWriter) Write(b []byte) (int, error) {
	w.tb.Logf("%s", b)
	return len(b), nil
}

// open makes a Decoder whose every part is at its default but for what change sets, and closes it with the test.
func open(tb testing.TB, change func(*decoder.Config)) *decoder.Decoder {
	tb.Helper()
	if err := lookAtSources(); err != nil {
		tb.Fatal(err)
	}
	cfg := decoder.Config{Path: program, Timeout: 2 * time.Second, Logger: slog.New(slog.NewTextHandler(testWriter{tb}, nil))}
	if change != nil {
		change(&cfg)
	}
	d, err := decoder.New(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := d.Close(); err != nil {
			tb.Error(err)
		}
	})
	return d
}

// lookAtSources asks for the files that only the program is made of. go test notices, and takes no older result when one has changed; TestMain
// would be too early for that.
var lookAtSources = sync.OnceValue(func() error {
	for _, dir := range []string{"../codec", "../sandbox", "../../cmd/sluice-decoder"} {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return err
		}
		for _, e := range entries {
			if _, err := os.Stat(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
})

// decode feeds one unit and releases nothing.
func decode(d *decoder.Decoder, stream uint32, tag uint64, unit media.AccessUnit, targets ...media.PictureInput) ([]decoder.Picture, error) {
	return d.Decode(context.Background(), decoder.Request{Stream: stream, Tag: tag, Unit: unit, Targets: targets})
}

// reason gives what a Decode came to, in the contract's words; "" for success.
func reason(err error) string {
	var e *decoder.Error
	switch {
	case err == nil:
		return ""
	case !errors.As(err, &e):
		return "not a decoder.Error: " + err.Error()
	case e.Drop != media.NotDropped:
		return e.Drop.String()
	default:
		return e.Code.String()
	}
}

func TestEveryUnitOfAClipBecomesAPicture(t *testing.T) {
	for _, c := range []struct {
		name  string
		units []media.AccessUnit
	}{
		{"VP8", vp8Clip(t)},
		{"VP9", vp9Clip(t)},
		{"AV1", av1Clip(t)},
		{"H.264 baseline", h264Clip(t, "1280x720", "bframes=0:cabac=0")},
		{"H.264 high, four slices", h264Clip(t, "1280x720", "bframes=0:slices=4")},
		{"H.264 1080p", h264Clip(t, "1920x1080", "bframes=0")},
		{"AV1 1080p", ivfUnits(clip(t, "-f lavfi -i testsrc2=size=1920x1080:rate=30 -frames:v 8 -pix_fmt yuv420p "+realtimeAV1))},
		{"H.265", h265Clip(t, "1280x720", "bframes=0")},
		{"H.265 four slices", h265Clip(t, "1280x720", "bframes=0:slices=4")},
		{"H.264 portrait", h264Clip(t, "1080x1920", "bframes=0")},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := open(t, nil)
			for i, unit := range c.units {
				pictures, err := decode(d, 1, uint64(i), unit, faces)
				if err != nil {
					t.Fatalf("unit %d: %v", i, err)
				}
				if len(pictures) != 1 || pictures[0].Tag != uint64(i) || pictures[0].Target != 0 {
					t.Fatalf("unit %d gave %+v, want its own picture alone", i, pictures)
				}
				if got := len(pictures[0].Payload); got != faces.Bytes() {
					t.Fatalf("payload of %d bytes, want %d", got, faces.Bytes())
				}
				pictures[0].Release()
			}
		})
	}
}
