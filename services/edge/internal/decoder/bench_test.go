package decoder_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/services/edge/internal/decoder"
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

// BenchmarkSessionMemory tells what a session's decoder takes of the machine's memory where there are sixteen, each decoding 720p to 640×360:
// the process's proportional set size, and of that what it shares with nobody.
func BenchmarkSessionMemory(b *testing.B) {
	const sessions = 16
	half := media.PictureInput{Width: 640, Height: 360, Fit: media.Stretch, Color: media.RGB}
	for name, units := range map[string][]media.AccessUnit{"VP8_720p": vp8Clip(b), "H264_720p": h264Clip(b, "1280x720", "bframes=0:cabac=0")} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				var decoders []*decoder.Decoder
				for range sessions {
					// Where the sandbox stands, only root may ask.
					d := open(b, func(c *decoder.Config) { c.Sandbox = decoder.Off })
					decoders = append(decoders, d)
				}
				for i, u := range units {
					for _, d := range decoders {
						pictures, err := decode(d, 1, uint64(i), u, half)
						if err != nil {
							b.Fatal(err)
						}
						release(pictures)
					}
				}
				sums := make(map[string]float64)
				for _, d := range decoders {
					for key, kilobytes := range rollup(b, d.PID()) {
						sums[key] += kilobytes / 1024 / sessions
					}
				}
				for _, d := range decoders { // only now, since what they share is counted in parts
					if err := d.Close(); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(sums["Pss"], "MiB-PSS")
				b.ReportMetric(sums["Pss_Shmem"], "MiB-PSS-shared-memory")
				b.ReportMetric(sums["Private_Dirty"], "MiB-private")
			}
		})
	}
}

// rollup reads the kilobytes in the kernel's summary of a process's memory.
func rollup(tb testing.TB, pid int) map[string]float64 {
	tb.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		tb.Fatal(err)
	}
	values := make(map[string]float64)
	for line := range strings.Lines(string(text)) {
		var key string
		var value float64
		if n, _ := fmt.Sscanf(line, "%s %f kB", &key, &value); n == 2 {
			values[strings.TrimSuffix(key, ":")] = value
		}
	}
	return values
}

// BenchmarkStart measures the start of a decoder process: the time, and the processor's.
func BenchmarkStart(b *testing.B) {
	var used time.Duration
	for b.Loop() {
		d := open(b, nil)
		if err := d.Start(b.Context()); err != nil {
			b.Fatal(err)
		}
		used += processTime(b, d.PID())
		if err := d.Close(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(used.Seconds()*1e3/float64(b.N), "decoder-ms/op")
}
