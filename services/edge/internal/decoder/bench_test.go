package decoder_test

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sluice-dev/sluice/pkg/media"
)

// processTime gives the processor time that a process has used.
func processTime(tb testing.TB, pid int) time.Duration {
	tb.Helper()
	var t unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|2), &t); err != nil { // MAKE_PROCESS_CPUCLOCK(pid, CPUCLOCK_SCHED)
		tb.Fatal(err)
	}
	return time.Duration(t.Nano())
}

// BenchmarkDecode measures the processor time of edge and decoder process together for a second of 720p30, as fast as it goes and paced as
// live video is: between live frames the caches go cold.
func BenchmarkDecode(b *testing.B) {
	half := media.PictureInput{Width: 640, Height: 360, Fit: media.Stretch, Color: media.RGB}
	vp8, h264 := vp8Clip(b), h264Clip(b, "1280x720", "bframes=0:cabac=0")
	for _, c := range []struct {
		name    string
		units   []media.AccessUnit
		targets []media.PictureInput
		pace    time.Duration
	}{
		{"VP8_720p_no_picture", vp8, nil, 0},
		{"VP8_720p_to_320x256_letterbox", vp8, []media.PictureInput{faces}, 0},
		{"VP8_720p_to_320x256_letterbox_paced", vp8, []media.PictureInput{faces}, time.Second / 30},
		{"VP8_720p_to_640x360", vp8, []media.PictureInput{half}, 0},
		{"H264_720p_to_320x256_letterbox", h264, []media.PictureInput{faces}, 0},
	} {
		b.Run(c.name, func(b *testing.B) {
			d := open(b, nil)
			if err := d.Start(b.Context()); err != nil {
				b.Fatal(err)
			}
			var ticks <-chan time.Time
			if c.pace > 0 {
				ticker := time.NewTicker(c.pace)
				defer ticker.Stop()
				ticks = ticker.C
			}
			edge, process := processTime(b, unix.Getpid()), processTime(b, d.PID())
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				pictures, err := decode(d, 1, uint64(i), c.units[i%len(c.units)], c.targets...)
				if err != nil {
					b.Fatal(err)
				}
				for _, p := range pictures {
					p.Release()
				}
				if ticks != nil {
					<-ticks
				}
			}
			edge, process = processTime(b, unix.Getpid())-edge, processTime(b, d.PID())-process
			perSecond := 30 / float64(b.N) * 1e3
			b.ReportMetric(edge.Seconds()*perSecond, "edge-ms/30f")
			b.ReportMetric(process.Seconds()*perSecond, "decoder-ms/30f")
		})
	}
}
